"""Where news of cameras stand in order until the watcher has taken them: one log per gallery.

Producers write to it, embed workers do in the step that publishes a decision (kith.ledger), one watcher reads. What it
has taken is erased with the step that writes what followed from it; what nobody takes is dropped by number and age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kith.watching.news import News

#: Reads everything that is still kept.
FROM_START = "0-0"


@dataclass(frozen=True, slots=True)
class Heard:
    """One piece of news and its place. entry_id: `milliseconds-number`, ascending within the gallery. news: None for
    what was erased, or cannot be read because a newer version wrote it."""

    gallery: str
    entry_id: str
    news: News | None

    @property
    def at_ms(self) -> int:
        """When it was told, by the log's own clock."""
        return int(self.entry_id.partition("-")[0])


class SightingLog(Protocol):
    """Raises StateUnavailable when Redis is away, StateFull when it refuses writes."""

    def tell(self, gallery: str, news: Sequence[News]) -> str:
        """Append, in this order; a batch is one step. The id of the last. Where nobody reads for long, the oldest are
        dropped. Raises InvalidName."""
        ...

    def galleries(self) -> list[str]:
        """The galleries anything was ever told of, by name."""
        ...

    def after(self, positions: Mapping[str, str], *, limit: int = 200, block_s: float = 0.0) -> dict[str, list[Heard]]:
        """Up to `limit` of each of these galleries after an entry id, waiting `block_s` for the first news of any;
        galleries without news are left out."""
        ...

    def waiting(self, gallery: str) -> int:
        """How many are kept."""
        ...

    def trim(self, gallery: str, keep_s: float) -> int:
        """Erase what was told longer ago; how many."""
        ...
