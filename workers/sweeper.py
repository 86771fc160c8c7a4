"""Re-sends what the broker lost, retries what was put off, publishes what was left saved.

Re-sending a job that merely waits in a long queue would lengthen the queue, so `overdue` alone is no reason. A waiting
job counts as lost when its lane is empty, or when workers already start jobs that were sent well after it: lanes are
first in, first out, so it was overtaken, and that happens only to a message that is gone or held by a worker that is.
"""

import logging
from dataclasses import dataclass

from kith.errors import BrokerUnavailable
from kith.intake import JobQueue
from kith.jobs import Lane
from kith.ledger import Ledger, OpenJob, Stage
from kith.settings import Jobs
from workers.publisher import Publisher

_log = logging.getLogger(__name__)

#: Jobs looked at per round: one round stays short enough to notice a stop.
_PER_ROUND = 500


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round did."""

    resent: int = 0
    published: int = 0
    postponed: int = 0


class Sweeper:
    """One round per `sweep`. Several processes may sweep at once: `resend` lets exactly one of them win each job."""

    def __init__(self, ledger: Ledger, queue: JobQueue, publisher: Publisher, jobs: Jobs) -> None:
        self._ledger = ledger
        self._queue = queue
        self._publisher = publisher
        self._jobs = jobs

    def sweep(self) -> Swept:
        """Look at every job whose time has come. Raises StateUnavailable, BrokerUnavailable; the next round goes on."""
        overdue = self._ledger.overdue(_PER_ROUND)
        lost: list[OpenJob] = []
        published = postponed = 0
        lanes: dict[Lane, _LaneState] = {}
        for job in overdue:
            if job.stage is Stage.SAVED:
                published += self._publisher.publish(job.job_id)
            elif self._is_lost(job, lanes):
                lost.append(job)
            else:
                self._ledger.postpone(job)
                postponed += 1
        won = [job for job in lost if self._ledger.resend(job)]
        if won:
            _log.info("sending %d jobs again", len(won))
            self._queue.send_many([(job.payload, job.lane) for job in won])
        return Swept(len(won), published, postponed)

    def _is_lost(self, job: OpenJob, lanes: dict[Lane, "_LaneState"]) -> bool:
        if job.stage is Stage.DEFERRED:
            return True
        if job.stage is Stage.STARTED:
            timed_out = job.now_ms - job.started_ms > self._jobs.started_timeout_s * 1000
            return timed_out or not job.worker_alive
        lane = lanes.get(job.lane)
        if lane is None:
            lane = lanes[job.lane] = _LaneState(self._depth(job.lane), self._ledger.newest_started_ms(job.lane))
        overtaken = lane.newest_started_ms - job.sent_ms > self._jobs.resend_after_s * 1000
        return overtaken or lane.depth == 0

    def _depth(self, lane: Lane) -> int:
        try:
            return self._queue.depth(lane)
        except BrokerUnavailable:
            # Nothing can be sent now anyway; "not empty" leaves the jobs for the next round.
            return 1


@dataclass(frozen=True, slots=True)
class _LaneState:
    depth: int
    newest_started_ms: int
