"""How much is kept and how long it has waited, as numbers alone: what is asked every few seconds must cost little."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lengths:
    """oldest_waiting_s: by lane, how long the job that was sent first has waited for a worker, 0 for none. events: that
    are kept. news: of all cameras, waiting for the watcher. journals: by gallery, changes kept in its log."""

    oldest_waiting_s: Mapping[str, float]
    events: int
    news: int
    journals: Mapping[str, int]


class Measures(Protocol):
    """Raises StateUnavailable when Redis is away."""

    def lengths(self, galleries: Sequence[str]) -> Lengths:
        """As they are now; of the journals those of `galleries`, 0 for a gallery that is not there."""
        ...
