"""Who tells outward, and how far each reader of the streams has come: whoever follows a worker that died goes on
exactly there.

One tells at a time. Who leads is written with every step as well: a worker that slept through its lease and does not
know yet that another leads writes nothing.
"""

from typing import Protocol

from kith.webhooks import Noted


class Places(Protocol):
    """Raises StateUnavailable, StateFull. Safe to call from many threads."""

    def lead(self, holder: str, lease_s: float) -> bool:
        """Lead, or go on leading, for so long; whether one does."""
        ...

    def leave(self, holder: str) -> None:
        """Lead no more."""
        ...

    def leader(self) -> str | None:
        """Who leads."""
        ...

    def place(self, name: str) -> str | None:
        """What a reader wrote last, JSON of its own."""
        ...

    def move(self, holder: str, name: str, seen: str | None, text: str) -> Noted:
        """Write it, when it still is as it was seen. The same step again is done already."""
        ...
