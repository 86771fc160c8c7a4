"""Between a camera and those who look: a buffer of a few frames where the newest wins.

A live frame that waited is worth less than the one behind it. So the buffer never makes the camera wait and never
grows; what does not fit is the oldest, and is counted. Of a recording that is played as fast as possible nothing may be
lost: there, the reader waits.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """size: items kept. lose: told of each that is dropped. patient: whoever puts waits for room instead."""

    def __init__(self, size: int, lose: Callable[[T], None], *, patient: bool = False) -> None:
        self._size, self._lose, self._patient = size, lose, patient
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Hand `item` over. Nothing happens once closed."""
        lost = None
        with self._changed:
            while self._patient and len(self._items) >= self._size and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if len(self._items) >= self._size:
                lost = self._items.popleft()
            self._items.append(item)
            self._changed.notify_all()
        if lost is not None:
            self._lose(lost)

    def get(self, timeout_s: float) -> T | None:
        """The oldest that is left, waiting for one; None when none came in time, or when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self, *, keep: bool = False) -> None:
        """No more items are taken in. keep: those inside may still be taken out."""
        with self._changed:
            self._closed = True
            if not keep:
                self._items.clear()
            self._changed.notify_all()

    @property
    def done(self) -> bool:
        """Closed, and nothing is left."""
        return self._closed and not self._items
