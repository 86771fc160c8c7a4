"""A stream that many read, each from a place of its own: what is new is read and parsed once, and kept for a while."""

import threading
from bisect import bisect_right
from collections import deque

from kith.outward.messages import Item, Stream, item_of, place

_PAGE = 500


class Feed:
    """The newest `keep` entries of a stream in memory; older ones are read where they are. Safe to read from many
    threads, `follow` is called by one."""

    def __init__(self, stream: Stream, keep: int = 2000) -> None:
        self._stream, self._keep = stream, keep
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        #: What is kept begins after this; None before the first look.
        self._start: str | None = None
        self._tip: str | None = None

    def follow(self, block_s: float) -> bool:
        """Look for what is new, waiting so long for the first; whether there was any. Raises StateUnavailable."""
        if self._tip is None:
            tip = self._stream.position()
            with self._lock:
                self._start = self._tip = tip
            return True
        found = [item_of(entry) for entry in self._stream.after(self._tip, limit=_PAGE, block_s=block_s)]
        with self._lock:
            for item in found:
                self._items.append(item)
                self._tip = item.entry_id
            while len(self._items) > self._keep:
                self._start = self._items.popleft().entry_id
        return bool(found)

    def forget(self) -> None:
        """Keep nothing: what was kept is not followed any more."""
        with self._lock:
            self._items.clear()
            self._start = self._tip = None

    def after(self, entry_id: str) -> list[Item]:
        """A page of what comes after an entry; none when there is nothing yet. Raises StateUnavailable."""
        with self._lock:
            if self._start is not None and place(entry_id) >= place(self._start):
                first = bisect_right(self._items, place(entry_id), key=lambda item: place(item.entry_id))
                return [self._items[at] for at in range(first, min(len(self._items), first + _PAGE))]
        return [item_of(entry) for entry in self._stream.after(entry_id, limit=_PAGE)]

    def fetch(self, entry_id: str) -> Item | None:
        """An entry as it stands now; None when it is no more. Raises StateUnavailable."""
        found = self._stream.fetch([entry_id])
        return item_of(found[0]) if found else None
