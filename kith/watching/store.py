"""What a watcher has come to, kept: its state, how far it has read, and the events, all written in one step.

So a watcher that dies is followed by one that goes on exactly where it was: no event is lost, none told twice. One
leads at a time. Who leads is written with every step as well: a watcher that slept through its lease and does not know
yet that another leads writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kith.watching.events import Event
from kith.watching.evidence import Vector
from kith.watching.log import FROM_START
from kith.watching.state import Changes


class Committed(StrEnum):
    """What became of a step. DONE: written, now or before. LATE: not written, an event of it must not appear any more:
    load the state and take the same news again. LOST: not written, somebody else leads."""

    DONE = "done"
    LATE = "late"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Saved:
    """Of one gallery. records, vectors: of kith.watching.state. position: the news taken last. step: how many steps
    were written."""

    records: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    position: str = FROM_START
    step: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one gallery. step: its number, one more than the one before. position: the news taken last; taken:
    the ids of all that were taken in it, which are erased. deadline_ms: past it the events must not be told."""

    gallery: str
    step: int
    position: str
    changes: Changes
    events: Sequence[Event] = ()
    taken: Sequence[str] = ()
    deadline_ms: int | None = None


class WatchStore(Protocol):
    """Raises StateUnavailable when Redis is away, StateFull when it refuses writes."""

    def lead(self, holder: str, lease_s: float) -> int | None:
        """Lead, or go on leading, for so long: the store's time, Unix milliseconds; None while another does."""
        ...

    def leave(self, holder: str) -> None:
        """Lead no more."""
        ...

    def leader(self) -> str | None:
        """Who leads."""
        ...

    def load(self, gallery: str) -> Saved:
        """What the last step left. Vectors that cannot be opened, because their key is gone, are left out."""
        ...

    def records(self, gallery: str) -> Mapping[str, str]:
        """The records alone."""
        ...

    def position(self, gallery: str) -> str:
        """The news taken last."""
        ...

    def commit(self, holder: str, step: Step) -> Committed:
        """Write one step. The same step again, because its answer was lost, is done already."""
        ...

    def litter(self, gallery: str) -> Mapping[str, int]:
        """Pictures that are to be deleted, see kith.watching.state.Changes."""
        ...

    def swept(self, gallery: str, pictures: Sequence[str]) -> None:
        """They were."""
        ...

    def wipe(self, gallery: str) -> None:
        """Keep nothing of a gallery that is no more, nor news that wait for a watcher. Its events are of the log."""
        ...
