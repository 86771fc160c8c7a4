"""The results: a stream of decisions, in the order they were published, each exactly once.

Whoever wants them all reads from an id and remembers the last one. Whoever shares the work joins a group: each entry
goes to one consumer of the group, stays pending until acknowledged, and is taken over when its consumer is gone too
long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kith.jobs import Decision

#: Reads everything that is still kept.
FROM_START = "0"
#: Reads what is published from now on.
FROM_NOW = "$"


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision and its place in the stream (`milliseconds-number`, ascending)."""

    entry_id: str
    decision: Decision


def order_of(entry_id: str) -> tuple[int, int]:
    """By which the ids of one stream are in order."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


class Results(Protocol):
    """Raises StateUnavailable when Redis is away."""

    def position(self) -> str:
        """Id of the newest entry, `0-0` when there is none: read on from here."""
        ...

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> list[Entry]:
        """Up to `limit` entries after `entry_id`, waiting `block_s` for the first."""
        ...

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        """These entries; those that aged out are left out."""
        ...

    def join(self, group: str, start: str = FROM_START) -> None:
        """Create the group if it does not exist; `start` counts only then. The default skips nothing that is kept."""
        ...

    def take(
        self, group: str, consumer: str, *, limit: int = 100, block_s: float = 0.0, steal_after_s: float = 60.0
    ) -> list[Entry]:
        """Entries for this consumer: what it took and never acknowledged, what others left lying for `steal_after_s`,
        then new ones. Name the consumer stably: a new name at each start never meets its old pending entries."""
        ...

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        """Mark entries as handled; how many were pending."""
        ...

    def count(self) -> int:
        """How many entries are kept."""
        ...
