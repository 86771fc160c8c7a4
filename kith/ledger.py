"""The job ledger: which jobs were accepted and are not decided yet. The promise "accepted is decided" rests on it.

A job's life, each arrow one atomic step in Redis (kith/backends/ledger.lua):

    accept ──▶ sent ──start──▶ started ──save──▶ saved ──publish──▶ done (forgotten after a while)
                ▲                 │ defer                          any stage but saved ──bury──▶ dead letters
                └─────resend──────┴────▶ deferred

The broker only carries hints that a job is worth looking at. Whatever message it loses, the sweeper finds the job here
overdue and sends another; whatever message it delivers twice, `start` and `publish` notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from kith.errors import Rejected
from kith.jobs import Decision, EmbedJob, Lane
from kith.watching.news import Sighted


class Accepted(StrEnum):
    """The ledger's answer to a submission. Not accepted are FULL: too many jobs are open, OTHER: its id is that of a
    job that asks for something else (`EmbedJob.asked`), NO_ROOM: Redis refuses writes."""

    NEW = "new"
    OPEN = "open"
    DONE = "done"
    DEAD = "dead"
    FULL = "full"
    OTHER = "other"
    NO_ROOM = "no_room"


class IdempotencyKeyReused(Rejected):
    """This idempotency key stands for another request already; every request needs a key of its own."""


class Start(StrEnum):
    """The ledger's answer to a worker that holds a job's message.

    GO: do it. EDITED: do it by the ledger's payload, the message is out of date: somebody in it was forgotten since.
    RUNNING: a living worker is at it. SAVED: decided, only its publication is missing. FINISHED: published
    or buried. POISONED: started too often, bury it; it counts as started until then. ABSENT: no trace of it.
    """

    GO = "go"
    EDITED = "edited"
    RUNNING = "running"
    SAVED = "saved"
    FINISHED = "finished"
    POISONED = "poisoned"
    ABSENT = "absent"


class Published(StrEnum):
    """What became of a publication.

    NOW: the records are in the stream. BEFORE: nothing to publish, it was done before (or nothing is saved). LATE:
    nothing was done, the job's deadline has passed and its decisions must not appear as they are.
    """

    NOW = "now"
    BEFORE = "before"
    LATE = "late"


class Stage(StrEnum):
    """Where an open job stands."""

    SENT = "sent"
    STARTED = "started"
    DEFERRED = "deferred"
    SAVED = "saved"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """One open job whose time to be looked at has come. Times are Unix milliseconds of the ledger's own clock.

    score_ms: why it was handed out, when it was due or sent; `resend` and `postpone` do nothing once it has changed.
    """

    job_id: str
    stage: Stage
    lane: Lane
    payload: str
    score_ms: int
    sent_ms: int
    started_ms: int
    sends: int
    worker_alive: bool
    now_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that will not be decided, with its reason. `payload` is the message exactly as it came."""

    dead_id: str
    code: str
    reason: str
    payload: str
    lane: Lane
    buried_ms: int
    worker: str | None = None
    wire: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class JobState:
    """`state` is a stage, `done`, `dead`, `cancelled` or `unknown`; `entries` are ids in the results stream, `reason`
    why it died or was last deferred."""

    state: str
    entries: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """What a worker says of itself every few seconds. also: ids of the models it holds beside `model_id`.
    galleries: up to which change of each nobody who was forgotten is found, or left in its memory; epochs: of which
    gallery of that name, where it holds a copy."""

    worker_id: str
    role: str
    host: str
    pid: int
    started_ms: int
    seen_ms: int
    model_id: str | None = None
    model_name: str | None = None
    runtime: str | None = None
    lanes: tuple[str, ...] = ()
    batch_size: int | None = None
    batch_fill: float | None = None
    images: int = 0
    jobs: int = 0
    rss_mb: float | None = None
    galleries: dict[str, int] | None = None
    epochs: dict[str, str] | None = None
    also: tuple[str, ...] = ()
    wire: Literal[1] = 1


class Ledger(Protocol):
    """Every method raises StateUnavailable when Redis is away and StateFull when it refuses writes."""

    def accept_many(self, jobs: Sequence[EmbedJob]) -> list[Accepted]:
        """Open jobs before their messages are sent; see Accepted. Raises StateFull where not one of several, or the
        only one, has room."""
        ...

    def start(self, job_id: str, worker_id: str, delivery: str) -> Start:
        """Count one delivery and claim the job for a worker.

        delivery: a word of this delivery's own. Asked again with the same word, the ledger gives the same answer: a
        worker whose first question was heard and its answer lost is not told that somebody else is at it.
        """
        ...

    def save(self, job_id: str, decisions: Sequence[Decision]) -> bool:
        """Keep the decisions of all images until they are published; False when the job is not open any more."""
        ...

    def saved(self, job_id: str) -> list[Decision]:
        """The decisions waiting to be published, empty when there are none."""
        ...

    def publish(self, job_id: str, decisions: Sequence[Decision] = (), sightings: Sequence[Sighted] = ()) -> Published:
        """Append these decisions, or where there are none the saved ones, to the results and strike the job off, in one
        step; in the same step tell the watcher what a camera saw (kith.watching.log)."""
        ...

    def finish(self, job_id: str) -> None:
        """Strike off a job that is answered without a decision."""
        ...

    def cancel(self, job_id: str, *, force: bool = False) -> bool:
        """Strike off a job that nobody has begun to work on: nothing is decided, and the same job is not accepted
        again. False when there is no such open job. Raises TooLate for one that is being worked on, unless with
        `force`: what is decided about it then is published nowhere."""
        ...

    def trim_results(self) -> None:
        """Drop results past their age or number; publishing does so too, but an idle system publishes nothing."""
        ...

    def defer(self, job_id: str, reason: str, delivery: str) -> float | None:
        """Put the job off with growing backoff: seconds until it is sent again, None when its retries are used up."""
        ...

    def bury(self, letter: DeadLetter) -> bool:
        """Move the job to the dead letters; False when it was decided meanwhile."""
        ...

    def payload(self, job_id: str) -> str | None:
        """The message of an open job as it was accepted."""
        ...

    def overdue(self, limit: int) -> list[OpenJob]:
        """Started, deferred and saved jobs whose time has come, oldest first."""
        ...

    def lost(self, lane: Lane, *, lane_is_empty: bool, limit: int) -> list[OpenJob]:
        """Jobs of `lane` whose message must be lost, oldest first.

        That is: sent more than `jobs.resend_after_s` ago, and the queue is empty or workers have started jobs that were
        sent that much later.
        """
        ...

    def resend(self, job: OpenJob) -> bool:
        """Note that `job` is sent once more; False when another sweeper was faster or the job moved on."""
        ...

    def retract(self, job: OpenJob) -> None:
        """Note that `job`, just noted as sent, could not be sent: due again soon."""
        ...

    def postpone(self, job: OpenJob) -> None:
        """Look at `job` again later, nothing is wrong with it."""
        ...

    def state(self, job_id: str) -> JobState:
        """Where a job stands."""
        ...

    def open_count(self) -> int:
        """How many jobs are open."""
        ...

    def beat(self, beat: WorkerBeat) -> None:
        """Say that a worker lives; it counts as dead after three beats of silence."""
        ...

    def sign_off(self, worker_id: str) -> None:
        """Say that a worker ends in good order."""
        ...

    def workers(self) -> list[WorkerBeat]:
        """The living workers."""
        ...

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        """Dead letters, newest first."""
        ...

    def dead_letter(self, dead_id: str) -> DeadLetter | None:
        """One dead letter."""
        ...

    def dead_count(self) -> int:
        """How many dead letters there are."""
        ...

    def revive(self, dead_id: str) -> bool:
        """Open the job of a dead letter again, due at once, with fresh counters; False when there is none."""
        ...

    def drop(self, dead_id: str) -> bool:
        """Delete a dead letter for good; False when there is none."""
        ...
