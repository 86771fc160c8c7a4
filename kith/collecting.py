"""Python's garbage collector, held off for a moment: `not_collecting`.

It looks through all objects whenever there are a quarter more than the last time. Where a million names are loaded, all
of which stay, it would look through them a dozen times and find nothing: a sixth of what a worker's start takes.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_holding_off = 0
_was_on = False


@contextmanager
def not_collecting() -> Iterator[None]:
    """While it lasts, in whichever threads, garbage that refers to itself waits. Where it was off, it stays off."""
    global _holding_off, _was_on  # noqa: PLW0603 (it is the process's: there is one collector)
    with _lock:
        if not _holding_off:
            _was_on = gc.isenabled()
            gc.disable()
        _holding_off += 1
    try:
        yield
    finally:
        with _lock:
            _holding_off -= 1
            if not _holding_off and _was_on:
                gc.enable()
