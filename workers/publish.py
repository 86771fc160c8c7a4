"""The publish worker: one record per decision into the results stream, however often a job's message comes.

python -m workers.publish [--config FILE] [--name NAME]
"""

import logging
import sys

from kith.errors import Retryable
from workers.announcer import job_ids_in
from workers.publisher import Publisher

_log = logging.getLogger(__name__)


class PublishWorker:
    """What one message means. `handle` is the Celery task."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.jobs = 0

    def handle(self, argument: str) -> None:
        """Publish the jobs of one message. No reason to hold on to it when Redis is away: the sweeper publishes what is
        saved."""
        for job_id in job_ids_in(argument):
            try:
                self.jobs += self._publisher.publish(job_id)
            except Retryable as away:
                _log.warning("job %s stays saved, the sweeper will publish it: %s", job_id, away)


def main() -> int:
    """Entry point; the exit code of the worker."""
    from workers.boot import run_publish  # noqa: PLC0415 (the composition root loads every backend)

    return run_publish(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
