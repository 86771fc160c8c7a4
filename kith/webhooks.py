"""Webhooks: who is told of what by HTTP, how far each has been told, and what could not be delivered.

Nothing that is delivered is copied here. A webhook reads the two streams of the installation, events and decisions,
each from a place of its own; a dead letter names an entry of them. So whoever is forgotten is in no queue of
deliveries, and a delivery shows the record as it stands when it is sent.

The address and the secret that signs are kept sealed (kith.outward.seals); lists show the address without its path.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Literal, Protocol

from kith.jobs import Decision, Outcome
from kith.names import camera_name, gallery_name, printable_name
from kith.outward.errors import InvalidWebhook
from kith.watching.events import Event, EventKind

#: What a webhook may ask for: all of one stream, or one kind of it.
EVENT, DECISION = "event", "decision"
KINDS = (
    EVENT,
    *(f"{EVENT}.{kind}" for kind in EventKind),
    DECISION,
    *(f"{DECISION}.{outcome}" for outcome in Outcome),
)

Record = Event | Decision

_MARK = re.compile("[0-9a-f]{32}")


class Source(StrEnum):
    """The streams."""

    EVENTS = "events"
    RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a webhook is told. kinds: some of `KINDS`; of the others, empty is all. A record that is of no camera, or of
    nobody, is left out where cameras or subjects are named. subjects: by their marks (`mark_of`): a filter goes with a
    person through every change of name, and tells nobody who it was once they are forgotten.

    Raises InvalidWebhook, InvalidName.
    """

    kinds: tuple[str, ...] = (EVENT,)
    galleries: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            said = f"there is no kind {unknown[0][:50]!r}" if unknown else "no kind is named"
            raise InvalidWebhook(f"{said}; there are {', '.join(KINDS)}")
        for gallery in self.galleries:
            gallery_name(gallery)
        for camera in self.cameras:
            camera_name(camera)
        if not all(_MARK.fullmatch(each) for each in self.subjects):
            raise InvalidWebhook("a subject of a webhook is not named by a mark")

    def reads(self, source: Source) -> bool:
        """Whether anything of a stream can be wanted."""
        start = EVENT if source is Source.EVENTS else DECISION
        return any(kind.partition(".")[0] == start for kind in self.kinds)

    def takes(self, record: Record) -> bool:
        """Whether a record is wanted."""
        kind = kind_of(record)
        return (
            (kind in self.kinds or kind.partition(".")[0] in self.kinds)
            and (not self.galleries or record.gallery in self.galleries)
            and (not self.cameras or bool(set(cameras_of(record)) & set(self.cameras)))
            and (not self.subjects or _mark_in(record) in self.subjects)
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver. shown: its address without what may be secret. sealed: address and secret. by: who added it.
    paused_why: it is told nothing until it is resumed; what happens meanwhile is told then, as long as it is kept.

    Raises InvalidWebhook.
    """

    webhook_id: str
    name: str
    shown: str
    sealed: str = field(repr=False)
    wanted: Wanted
    created_ms: int
    by: str
    paused_why: str | None = None
    paused_ms: int = 0
    wire: Literal[1] = 1

    def __post_init__(self) -> None:
        if not printable_name(self.name):
            raise InvalidWebhook("the name of a webhook is not 1..100 characters without control characters")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a webhook has been told. events, results: the entries of the two streams that were dealt with last.

    step: counts the changes. head: the delivery (`Source:entry`) that failed and is tried again at next_ms, after so
    many attempts. since_ms: a replay was asked for then: what it goes back to is not given up for its age. redo_ms:
    dead letters from before are being delivered again. delivered, dead: counted. last_ms, last_status, last_fault: of
    the last attempt.
    """

    events: str
    results: str
    step: int = 0
    head: str | None = None
    attempts: int = 0
    next_ms: int = 0
    since_ms: int = 0
    redo_ms: int = 0
    delivered: int = 0
    dead: int = 0
    last_ms: int = 0
    last_status: int | None = None
    last_fault: str | None = None
    wire: Literal[1] = 1

    def at(self, source: Source) -> str:
        """The place in a stream."""
        return self.events if source is Source.EVENTS else self.results


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. It names an entry of a stream and repeats nothing of it."""

    delivery: str
    source: Source
    entry_id: str
    died_ms: int
    attempts: int
    why: str
    wire: Literal[1] = 1


class Noted(StrEnum):
    """What became of a step. CHANGED: not written, somebody else (a replay) has changed the progress. LOST: not
    written, another worker delivers now."""

    DONE = "done"
    CHANGED = "changed"
    LOST = "lost"


class Webhooks(Protocol):
    """Where they are kept. Raises StateUnavailable, StateFull. Safe to call from many threads and processes."""

    def add(self, webhook: Webhook, start: Progress, most: int) -> None:
        """Keep a new one. Raises InvalidWebhook when there are `most` already."""
        ...

    def get(self, webhook_id: str) -> Webhook:
        """Raises UnknownWebhook."""
        ...

    def all(self) -> list[Webhook]:
        """Oldest first."""
        ...

    def change(self, webhook_id: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        """Put what `change` makes of it in its place; it may be called again. Raises UnknownWebhook."""
        ...

    def remove(self, webhook_id: str) -> None:
        """With its progress and dead letters. Raises UnknownWebhook."""
        ...

    def progress(self) -> Mapping[str, Progress]:
        """Of all, by id."""
        ...

    def replay(self, webhook_id: str, change: Callable[[Progress], Progress]) -> Progress:
        """Put what `change` makes of the progress in its place, as the next step, whoever delivers; it may be called
        again. Raises UnknownWebhook."""
        ...

    def note(
        self,
        holder: str,
        webhook_id: str,
        seen: Progress,
        now: Progress,
        *,
        died: DeadLetter | None = None,
        revived: str | None = None,
        most_dead: int = 10_000,
    ) -> Noted:
        """Write the step of `holder`, who leads, that follows `seen`: the progress, with a dead letter that is new and
        one (by delivery) that is none any more. Past `most_dead` the oldest go. The same step again is done already."""
        ...

    def dead(self, webhook_id: str) -> list[DeadLetter]:
        """The one that died first first."""
        ...


def mark_of(subject_id: str) -> str:
    """What a filter keeps of a subject: 128 bits of a SHA-256 of the id, which is random and never given again."""
    return sha256(b"kith webhook subject\0" + subject_id.encode()).hexdigest()[:32]


def kind_of(record: Record) -> str:
    """`event.KIND` or `decision.OUTCOME`."""
    return f"{EVENT}.{record.kind}" if isinstance(record, Event) else f"{DECISION}.{record.outcome}"


def cameras_of(record: Record) -> tuple[str, ...]:
    """The cameras that a record is about."""
    if isinstance(record, Decision):
        return (record.seen.camera,) if record.seen else ()
    return (*record.cameras, record.camera) if record.camera else record.cameras


def _mark_in(record: Record) -> str | None:
    """The mark of whoever a record names."""
    subject_id = record.subject_id if isinstance(record, Event) else record.face.subject_id if record.face else None
    return None if subject_id is None or record.subject is None else mark_of(subject_id)
