"""What a camera's threads have counted since it was last reported: events, drops by reason, CPU time by stage."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Counts:
    """Safe to call from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """`number` more of `name`."""
        with self._lock:
            self._counted[name] += number

    def drop(self, reason: str, number: int = 1) -> None:
        """Frames or crops that nobody will look at, and why."""
        self.add(f"dropped_{reason}", number)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """The CPU time this thread spends within, as `us_STAGE`, microseconds. Every stage runs in the thread that
        asks for it, also the network (one thread a call), so that none is counted twice and none is missed."""
        began = time.thread_time_ns()
        try:
            yield
        finally:
            self.add(f"us_{stage}", (time.thread_time_ns() - began) // 1000)

    def take(self) -> dict[str, int]:
        """What was counted since the last call."""
        with self._lock:
            taken, self._counted = self._counted, Counter()
        return dict(taken)

    def give_back(self, taken: dict[str, int]) -> None:
        """What was taken could not be reported: it counts for the next report."""
        with self._lock:
            self._counted.update(taken)
