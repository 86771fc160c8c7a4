"""Deleting pictures that nothing needs any more, many of them: `Deleting`."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from kith.erasure import Erasure, asked_about
from kith.imagestore import ImageStore

#: Pictures deleted at a time: a store takes some milliseconds for each.
_AT_A_TIME = 16
#: What open jobs ask about is read anew after so many times as long as that took, or after so many seconds.
_OF_THE_TIME, _AT_LEAST_S = 4, 0.5


class Deleting:
    """A context. left: pictures that stay for open jobs, of which retention finds later whether they are free; it was
    told (Erasure.spare). Raises what the parts raise; pictures of the same call may be deleted by then."""

    def __init__(self, erasure: Erasure, store: ImageStore) -> None:
        self._erasure, self._store = erasure, store
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "kith-delete")
        self.left: set[str] = set()
        self._asked: set[str] = set()
        self._good_until_s = 0.0

    def delete(self, pictures: Collection[str]) -> int:
        """How many there were. Those that a template of any gallery is of stay, and those that open jobs ask about."""
        free = set(pictures)
        # In this order, see `asked_about`.
        waiting = free & self._jobs_ask_about()
        free -= self._erasure.in_use(free)
        waiting &= free
        self._erasure.spare(waiting)
        self.left |= waiting
        return sum(self._threads.map(self._store.delete, sorted(free - waiting)))

    def _jobs_ask_about(self) -> set[str]:
        # All open jobs are read for it: of thousands, once for each page of pictures would take most of the time.
        began_s = time.monotonic()
        if began_s >= self._good_until_s:
            self._asked = asked_about(self._erasure)
            took_s = time.monotonic() - began_s
            self._good_until_s = began_s + took_s + max(_AT_LEAST_S, _OF_THE_TIME * took_s)
        return self._asked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.shutdown()
