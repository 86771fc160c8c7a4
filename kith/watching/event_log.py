"""The events as they are read: a stream, in the order they were told, each exactly once, with groups to share the work.

It is read as the results are (kith.results).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from kith.results import FROM_START
from kith.watching.events import Event


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One event and its place in the stream (`milliseconds-number`, ascending)."""

    entry_id: str
    event: Event


class EventLog(Protocol):
    """Raises StateUnavailable when Redis is away."""

    def position(self) -> str:
        """Id of the newest entry, `0-0` when there is none: read on from here."""
        ...

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> list[EventEntry]:
        """Up to `limit` entries after `entry_id`, waiting `block_s` for the first."""
        ...

    def fetch(self, entry_ids: Sequence[str]) -> list[EventEntry]:
        """These entries; those that aged out or were erased are left out."""
        ...

    def join(self, group: str, start: str = FROM_START) -> None:
        """Create the group if it does not exist; `start` counts only then."""
        ...

    def take(
        self, group: str, consumer: str, *, limit: int = 100, block_s: float = 0.0, steal_after_s: float = 60.0
    ) -> list[EventEntry]:
        """Entries for this consumer: its own unacknowledged ones, those left lying for `steal_after_s`, new ones."""
        ...

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        """Mark entries as handled; how many were pending."""
        ...

    def count(self) -> int:
        """How many entries are kept."""
        ...

    def of(self, gallery: str, after: str = FROM_START) -> Iterator[tuple[EventEntry, str]]:
        """All kept of one gallery after an entry, with their text as it stands."""
        ...

    def amend(self, entry_id: str, seen: str, text: str) -> bool:
        """Put another text in the place of one, '' to erase it; nothing is done when it is not as it was seen."""
        ...

    def trim(self) -> int:
        """Drop events past their age or number; how many. Telling does so too, but a quiet house tells nothing."""
        ...
