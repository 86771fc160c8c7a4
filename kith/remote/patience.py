"""How often, and after which pauses, something is tried again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from kith.errors import KithError


@dataclass(frozen=True, slots=True)
class Patience:
    """attempts: in all. total_s: no attempt begins later than this after the first. first_pause_s doubles with each
    attempt up to longest_pause_s; what is waited is drawn between nothing and that ("full jitter": callers that were
    turned away together do not come back together), and never less than the other side asked for."""

    attempts: int = 8
    total_s: float = 60.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0


#: For who follows a stream: an installation may be restarted or moved.
FOLLOWING = Patience(attempts=1_000_000, total_s=3600.0, longest_pause_s=30.0)


class Attempts:
    """At one thing."""

    def __init__(
        self,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
        drawn: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._patience, self._clock, self._drawn = patience, clock, drawn
        self._made, self._ends_s = 0, clock() + patience.total_s

    def pause_s(self, fault: KithError, asked_s: float | None = None) -> float:
        """Seconds until the next attempt. Raises `fault` when there is none."""
        self._made += 1
        patience = self._patience
        longest_s = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** min(self._made - 1, 60))
        pause_s = max(self._drawn(0.0, longest_s), asked_s or 0.0)
        if self._made >= patience.attempts or self._clock() + pause_s > self._ends_s:
            raise fault
        return pause_s
