"""Re-sends what the broker lost, retries what was put off, publishes what was left saved.

Re-sending a job that merely waits in a long queue would lengthen the queue, so having waited long is no reason. A
waiting job counts as lost when its lane is empty, or when workers already start jobs that were sent well after it:
lanes are first in, first out, so it was overtaken, and that happens only to a message that is gone or held by a worker
that is. The ledger keeps the waiting jobs apart from the others: however many there are, no job that was put off queues
behind them.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kith.errors import BrokerUnavailable, Rejected
from kith.intake import JobQueue
from kith.jobs import LANES, Lane
from kith.ledger import Ledger, OpenJob, Stage
from kith.settings import Jobs
from workers.publisher import Publisher

_log = logging.getLogger(__name__)

#: Jobs read at a time; their messages come with them.
_AT_ONCE = 200
#: Reads of one sweep. Past it the next sweep goes on, so that a flood cannot keep a stop from being noticed.
_READS = 50


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    resent: int = 0
    published: int = 0
    postponed: int = 0

    def __add__(self, other: "Swept") -> "Swept":
        return Swept(self.resent + other.resent, self.published + other.published, self.postponed + other.postponed)


class Sweeper:
    """Several processes may sweep at once: `resend` lets exactly one of them win each job."""

    def __init__(self, ledger: Ledger, queue: JobQueue, publisher: Publisher, jobs: Jobs) -> None:
        self._ledger = ledger
        self._queue = queue
        self._publisher = publisher
        self._started_timeout_ms = jobs.started_timeout_s * 1000

    def sweep(self) -> Swept:
        """Look at every job whose time has come. Raises StateUnavailable, BrokerUnavailable; the next sweep goes on."""
        swept = self._until_short(lambda: self._ledger.overdue(_AT_ONCE), self._look_at)
        for lane in LANES:
            swept += self._look_for_lost(lane)
        return swept

    def _until_short(self, read: Callable[[], list[OpenJob]], handle: Callable[[Sequence[OpenJob]], Swept]) -> Swept:
        swept = Swept()
        for _ in range(_READS):
            jobs = read()
            swept += handle(jobs)
            if len(jobs) < _AT_ONCE:
                break
        return swept

    def _look_at(self, overdue: Sequence[OpenJob]) -> Swept:
        lost = [job for job in overdue if job.stage is not Stage.SAVED and self._is_over(job)]
        published = postponed = 0
        for job in overdue:
            if job.stage is Stage.SAVED:
                published += self._publish(job)
            elif not self._is_over(job):
                self._ledger.postpone(job)
                postponed += 1
        return self._send(lost) + Swept(published=published, postponed=postponed)

    def _is_over(self, job: OpenJob) -> bool:
        """Whether whatever kept a deferred or started job has ended."""
        if job.stage is not Stage.STARTED:
            return True
        return not job.worker_alive or job.now_ms - job.started_ms > self._started_timeout_ms

    def _publish(self, job: OpenJob) -> bool:
        try:
            return self._publisher.publish(job.job_id)
        except Rejected as unreadable:
            # Saved by a newer version than ours. It must not keep us from the other jobs, and is not ours to judge.
            _log.error("job %s is saved but this version cannot publish it: %s", job.job_id, unreadable)
            self._ledger.postpone(job)
            return False

    def _look_for_lost(self, lane: Lane) -> Swept:
        try:
            lane_is_empty = self._queue.depth(lane) == 0
        except BrokerUnavailable:
            # Nothing could be sent now anyway; overtaken jobs are noted as such and retracted, the others wait.
            lane_is_empty = False
        return self._until_short(
            lambda: self._ledger.lost(lane, lane_is_empty=lane_is_empty, limit=_AT_ONCE), self._send
        )

    def _send(self, jobs: Sequence[OpenJob]) -> Swept:
        won = [job for job in jobs if self._ledger.resend(job)]
        if not won:
            return Swept()
        try:
            self._queue.send_many([(job.payload, job.lane) for job in won])
        except BrokerUnavailable:
            for job in won:
                self._ledger.retract(job)
            raise
        _log.info("sent %d jobs again", len(won))
        return Swept(resent=len(won))
