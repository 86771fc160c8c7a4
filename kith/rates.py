"""How often somebody may do something: so many times a second on average, and so many at once after a pause.

The rule is the generic cell rate algorithm (ITU-T I.371): one number per name, the time at which all that was taken
would have been due. No window begins anew at a full minute, and what is refused costs nothing.
"""

from typing import Protocol


class Rates(Protocol):
    """Raises StateUnavailable. Safe to call from many threads and processes, which share what is taken."""

    def take(self, name: str, rate_per_s: float, burst: int, count: int = 1) -> float:
        """Take so many; 0.0 when they were there, else nothing is taken, and the seconds until they would be. More than
        `burst` are never there."""
        ...
