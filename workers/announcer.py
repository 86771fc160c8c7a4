"""Between embed and publish workers: which bulk jobs are saved and wait to be published.

A message costs the broker and both workers the same whether it names one job or ten, so jobs wait a moment for company.
Nothing rests on these messages but speed: a job is safe once it is saved, and the sweeper publishes what
nobody announced.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence

from kith.errors import BrokerUnavailable
from kith.intake import JobQueue

_log = logging.getLogger(__name__)

#: How long a job may wait for others to be announced with it.
_COMPANY_S = 0.02


class Announcer:
    """Announces saved jobs. Safe to call from many threads."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._waiting: list[str] = []
        self._lock = threading.Lock()

    def announce(self, job_id: str) -> None:
        """Tell the publish workers, within `_COMPANY_S`."""
        with self._lock:
            self._waiting.append(job_id)
            if len(self._waiting) > 1:
                # The first of them is asleep in its own task, below, and takes this one along.
                return
        time.sleep(_COMPANY_S)
        with self._lock:
            together, self._waiting = self._waiting, []
        self._send(together)

    def _send(self, job_ids: Sequence[str]) -> None:
        try:
            self._queue.send_saved(argument_for(job_ids))
        except BrokerUnavailable as away:
            _log.warning("%s; the sweeper will publish %s", away, ", ".join(job_ids))


def argument_for(job_ids: Sequence[str]) -> str:
    """What a message says: the id of one job, or a JSON list of ids."""
    return job_ids[0] if len(job_ids) == 1 else json.dumps(job_ids)


def job_ids_in(argument: str) -> list[str]:
    """The ids in a message. An id that itself looks like a JSON list is mistaken for one, and left to the sweeper."""
    if argument.startswith("["):
        try:
            found = json.loads(argument)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(each, str) for each in found):
            return found
    return [argument]
