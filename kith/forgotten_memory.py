"""What somebody forgotten has left in the memory of a process that follows galleries, and when it is wiped.

Soon after the change, and again when the last search that had begun before has let go of him: until then his vectors
are in use. Blocks of views are zeroed by themselves (kith.view); this is for all that is made of them.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from kith.free_memory import overwriting_freed
from kith.journal import Vectors
from kith.view import GalleryView
from kith.wiping import wipe_leftovers

_log = logging.getLogger(__name__)

#: Between the first wiping and the second, at least: threads that wait for news look up from it about once a second.
_SETTLE_S = 0.9


class Kept(Protocol):
    """What somebody keeps of galleries beside their views: a searcher's packed forms."""

    def renew(self, view: GalleryView) -> None:
        """Bring it up to `view`: somebody was forgotten."""
        ...

    def wipe(self) -> None:
        """Zero what is left of vectors in memory that is used again."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Left:
    """Who was forgotten by change `sequence` of a gallery, or later. arrays: he was in them, and searches of older
    views may still hold them."""

    gallery: str
    sequence: int
    arrays: tuple["weakref.ref[Vectors]", ...]

    def is_held(self) -> bool:
        return any(array() is not None for array in self.arrays)


class ForgottenMemory:
    """Safe to use from many threads. kept: what is kept beside views, if anything.

    What somebody left is wiped twice. The first time some of it may lie in memory that was handed out again and whose
    owner has not written to all of it; a buffer in which a thread waits for news is such memory, again and again the
    same. Until the second time what is freed is overwritten, and so such memory comes clean.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        #: To be wiped, waiting until nobody holds it, and wiped once, with the time of that.
        self._new: list[_Left] = []
        self._held: list[_Left] = []
        self._settling: list[tuple[_Left, float]] = []
        self._overwriting = ExitStack()

    def left(self, gallery: str, sequence: int, arrays: "Iterable[weakref.ref[Vectors]]" = ()) -> None:
        """Somebody was forgotten by change `sequence`, or later, who may be in `arrays`."""
        with self._lock:
            self._new.append(_Left(gallery, sequence, tuple(arrays)))

    def unwiped(self) -> dict[str, int]:
        """Gallery → the first change that forgot somebody of whom something may be left."""
        first: dict[str, int] = {}
        with self._lock:
            for each in (*self._new, *self._held, *(left for left, _ in self._settling)):
                first[each.gallery] = min(each.sequence, first.get(each.gallery, each.sequence))
        return first

    def wipe(self, newest: Callable[[str], GalleryView | None]) -> None:
        """Wipe what there is to wipe, if anything, in the caller's thread, one at a time: a tenth of a second at most.

        newest: a gallery's view, None where it is no longer followed.
        """
        now_s = time.monotonic()
        with self._lock:
            due = [*self._new, *(each for each in self._held if not each.is_held())]
            settled = [each for each, since_s in self._settling if now_s - since_s >= _SETTLE_S]
            # Asked before wiping: who lets go while it goes on has his wiped again.
            held = [each for each in due if each.is_held()]
        if not (due or settled):
            return
        try:
            self._wipe_kept({each.gallery for each in (*due, *settled)}, newest)
        except Exception:  # noqa: BLE001 (logged with its traceback)
            # A GPU may be full. Galleries are followed all the same, and the next call tries again.
            _log.exception("what is kept of somebody forgotten could not be taken out of the memory yet")
            return
        self._overwriting.close()
        wipe_leftovers()
        with self._lock:
            self._new = [each for each in self._new if each not in due]
            self._held = [*(each for each in self._held if each not in due), *held]
            self._settling = [(each, since_s) for each, since_s in self._settling if each not in settled]
            self._settling += [(each, time.monotonic()) for each in due if each not in held]
        if self._settling:
            self._overwriting.enter_context(overwriting_freed())

    def close(self) -> None:
        """Wipe no more."""
        self._overwriting.close()

    def _wipe_kept(self, galleries: set[str], newest: Callable[[str], GalleryView | None]) -> None:
        if self._kept is None:
            return
        for gallery in galleries:
            view = newest(gallery)
            if view is not None:
                # The next search would do it, but may not come for days.
                self._kept.renew(view)
        self._kept.wipe()
