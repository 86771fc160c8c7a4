"""Threads that do one thing again and again until they are told to stop; a part that is away delays them, nothing ends
them."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Self

from kith.errors import Retryable

_log = logging.getLogger(__name__)

#: Pauses after a failure, doubling while it goes on.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 5.0


class Loops:
    """steps: name and what to do; each waits by itself where there is nothing to do. Use as a context manager."""

    def __init__(self, steps: Sequence[tuple[str, Callable[[], object]]]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, step), name=name, daemon=True) for name, step in steps
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, step: Callable[[], object]) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            try:
                step()
                pause_s = 0.0
            except Retryable as away:
                pause_s = min(max(_FIRST_PAUSE_S, 2 * pause_s), _LAST_PAUSE_S)
                _log.warning("%s waits: %s", name, away)
            except Exception:  # noqa: BLE001 (a bug must cost one step, not the thread)
                pause_s = _LAST_PAUSE_S
                _log.exception("%s came upon something nobody foresaw", name)
