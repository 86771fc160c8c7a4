"""Rates within one process: for tests, and for what runs without Redis."""

import threading
import time
from collections.abc import Callable


class MemoryRates:
    """Implements kith.rates.Rates. clock: seconds, never backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, name: str, rate_per_s: float, burst: int, count: int = 1) -> float:
        with self._lock:
            now, each = self._clock(), 1 / rate_per_s
            due = max(self._due.get(name, 0.0), now) + count * each
            early = due - now - each * burst
            # Half a microsecond: what adding and taking away the same numbers may leave.
            if early > 5e-7:
                return early
            self._due[name] = due
            return 0.0
