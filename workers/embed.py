"""The embed worker: takes jobs from the lanes, has them recognised, hands the decisions over.

Those of bulk jobs are saved, and a publish worker is told. For a live or interactive job somebody waits, and what a
camera saw goes to the watcher with its vector, which is saved nowhere: such a job's worker publishes it itself, in the
step that would save it: one message and one process less on the way, and the same guarantee, for the ledger publishes
and strikes off in one step whoever asks.

python -m workers.embed [--config FILE] [--lanes live,interactive] [--name NAME]
"""

import hashlib
import logging
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry

from kith import wire
from kith.errors import (
    JobRejected,
    NotInLedger,
    PoisonedJob,
    RetriesExhausted,
    Retryable,
    StateFull,
    StateUnavailable,
)
from kith.intake import JobQueue
from kith.jobs import Decision, EmbedJob, Lane, now_ms
from kith.ledger import DeadLetter, Ledger, Start
from kith.metrics.jobs import EmbeddedJobs
from kith.watching.witness import Cover, plainly, sightings
from workers.announcer import Announcer
from workers.job_spans import JobSpans, NoJobSpans
from workers.memory import restart_with_one_heap
from workers.publisher import Publisher
from workers.unreadable import as_text, readable_parts

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Longest pause between attempts to reach Redis with a result in hand.
_MAX_PAUSE_S = 2.0


class Decider(Protocol):
    """What decides a job: kith.models_held.ModelsHeld, in tests a script."""

    def decide(self, job: EmbedJob) -> list[Decision]:
        """The decisions, in the order of the images; none for a job that is answered otherwise."""
        ...


class EmbedWorker:
    """What one message means. `handle` is the Celery task; many threads run it at once."""

    def __init__(
        self,
        recogniser: Decider,
        ledger: Ledger,
        queue: JobQueue,
        worker_id: str,
        cover: Cover = plainly,
        *,
        publisher: Publisher | None = None,
        measured: EmbeddedJobs | None = None,
        spans: JobSpans | None = None,
    ) -> None:
        """cover: vectors of faces that cameras saw, as they may stand in Redis. measured, spans: told what becomes of
        jobs."""
        self._recogniser = recogniser
        self._cover = cover
        self._ledger = ledger
        self._announcer = Announcer(queue)
        self._publisher = publisher or Publisher(ledger)
        self._measured = measured or EmbeddedJobs(CollectorRegistry())
        self._spans = spans or NoJobSpans()
        self._worker_id = worker_id
        self.jobs = 0
        self.images = 0

    def handle(self, message: object) -> None:
        """Do one job: on return it is decided for good, or the ledger knows when to try again, or why never."""
        payload = as_text(message)
        try:
            job = wire.from_json(EmbedJob, payload)
        except JobRejected as refusal:
            self._bury(*self._identity_of(payload), payload, refusal)
            return
        # Of this delivery, not of this job: asked again after a lost answer, the ledger knows that it is still us.
        delivery = uuid.uuid4().hex
        start = _insist(lambda: self._ledger.start(job.job_id, self._worker_id, delivery))
        if start in (Start.EDITED, Start.POISONED):
            # What the message still tells of somebody forgotten must end with it.
            payload = _insist(lambda: self._ledger.payload(job.job_id)) or payload
        if start is Start.EDITED:
            self._do(wire.from_json(EmbedJob, payload), payload, delivery)
        elif start is Start.GO:
            self._do(job, payload, delivery)
        elif start is Start.SAVED:
            self._announcer.announce(job.job_id)
        elif start is Start.POISONED:
            self._bury(job.job_id, job.lane, payload, PoisonedJob())
        elif start is Start.ABSENT:
            self._bury(job.job_id, job.lane, payload, NotInLedger())

    def _do(self, job: EmbedJob, payload: str, delivery: str) -> None:
        self._measured.begun(job)
        began_ns = time.time_ns()
        try:
            decisions = self._recogniser.decide(job)
            seen = sightings(decisions, self._cover)
        except JobRejected as refusal:
            self._bury(job.job_id, job.lane, payload, refusal)
            self._spans.failed(job, began_ns, refusal.code)
            return
        except Retryable as trouble:
            self._put_off(job, payload, delivery, trouble.code, trouble.reason)
            self._spans.failed(job, began_ns, trouble.code)
            return
        except Exception as bug:  # noqa: BLE001 (a bug must cost this job a delay, not the worker its thread)
            _log.exception("job %s failed in a way nobody foresaw", job.job_id)
            self._put_off(job, payload, delivery, "internal", f"internal: {type(bug).__name__}: {bug}")
            self._spans.failed(job, began_ns, "internal")
            return
        if not decisions:
            _insist(lambda: self._ledger.finish(job.job_id))
        elif job.lane is not Lane.BULK or seen:
            _insist(lambda: self._publisher.publish(job.job_id, decisions, seen))
        elif _insist(lambda: self._ledger.save(job.job_id, decisions)):
            self._announcer.announce(job.job_id)
        self._measured.decided(decisions)
        self._spans.decided(job, began_ns, decisions)
        self.jobs += 1
        self.images += len(job.images)

    def _put_off(self, job: EmbedJob, payload: str, delivery: str, code: str, reason: str) -> None:
        wait_s = _insist(lambda: self._ledger.defer(job.job_id, as_text(reason), delivery))
        if wait_s is None:
            self._bury(job.job_id, job.lane, payload, RetriesExhausted(f"retried as often as allowed, last: {reason}"))
        else:
            self._measured.put_off(code)
            # A signal, not a failure: the job is in good hands.
            _log.info("job %s put off for %.1f s: %s", job.job_id, wait_s, reason)

    def _identity_of(self, payload: str) -> tuple[str, Lane]:
        """Job id and lane of a message that cannot be read as a whole.

        Its word counts only where the ledger holds this very message under that id: a broken message must not take the
        place of the sound job whose id it happens to carry.
        """
        job_id, lane = readable_parts(payload)
        if job_id is None or _insist(partial(self._ledger.payload, job_id)) != payload:
            # From the content: the same broken message delivered twice is one dead letter.
            job_id = "unreadable-" + hashlib.sha256(payload.encode()).hexdigest()[:16]
        return job_id, lane

    def _bury(self, job_id: str, lane: Lane, payload: str, refusal: JobRejected) -> None:
        letter = DeadLetter(
            dead_id=job_id,
            code=refusal.code,
            reason=as_text(refusal.reason),
            payload=payload,
            lane=lane,
            buried_ms=now_ms(),
            worker=self._worker_id,
        )
        if _insist(lambda: self._ledger.bury(letter)):
            self._measured.buried(refusal.code)
            _log.warning("job %s is a dead letter: %s", job_id, refusal.reason)


def _insist(step: Callable[[], _T]) -> _T:
    """Run a ledger step until Redis answers.

    Without Redis there is nothing else this thread could usefully do, and with the decision in hand there is much to
    lose by giving up. Broken off only by the end of the process; then the job is redelivered.
    """
    pause_s = 0.1
    while True:
        try:
            return step()
        except (StateUnavailable, StateFull) as away:
            _log.warning("%s; trying again in %.1f s", away, pause_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def main() -> int:
    """Entry point; the exit code of the worker."""
    restart_with_one_heap()
    from workers.boot import run_embed  # noqa: PLC0415

    return run_embed(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
