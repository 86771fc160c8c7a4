"""Galleries whose people pass through a process that does not follow them: a worker that only enrols holds no gallery,
but what it embedded lies about in its memory, and it must hear of it when somebody is forgotten.
"""

import threading

from kith.errors import UnknownGallery
from kith.forgotten_memory import ForgottenMemory
from kith.gallery import GalleryStore
from kith.journal import Op

#: Changes of one gallery read at most to find a forget among them. Of more, one is assumed.
_MOST_CHANGES = 1000
_PAGE = 200


class PassedThrough:
    """Safe to use from many threads; `look` by one at a time."""

    def __init__(self, store: GalleryStore, forgotten: ForgottenMemory) -> None:
        self._store, self._forgotten = store, forgotten
        self._lock = threading.Lock()
        #: Up to which change it is known who was forgotten.
        self._looked_to: dict[str, int] = {}

    def note(self, gallery: str, sequence: int) -> None:
        """People of `gallery` are about to pass through; `sequence` is its number before that."""
        with self._lock:
            self._looked_to.setdefault(gallery, sequence)

    def sequences(self) -> dict[str, int]:
        """Up to which change of each it is known who was forgotten."""
        with self._lock:
            return dict(self._looked_to)

    def look(self, followed: dict[str, int]) -> None:
        """Note who was forgotten since the last look. followed: galleries that the caller follows by now, and from
        which change on: what comes after it he hears himself. Raises StateUnavailable."""
        for gallery, known in self.sequences().items():
            newest = self._newest(gallery, known)
            with self._lock:
                if newest is None or newest >= followed.get(gallery, newest + 1):
                    del self._looked_to[gallery]
                else:
                    self._looked_to[gallery] = newest

    def _newest(self, gallery: str, known: int) -> int | None:
        """The number of the gallery, None where it is gone. Who was forgotten since change `known` is noted."""
        try:
            newest = self._store.info(gallery).sequence
            first = self._first_forget(gallery, known) if newest > known else None
        except UnknownGallery:
            self._forgotten.left(gallery, known + 1)
            return None
        if newest < known:
            # The store has lost changes, and we have lost track.
            first = newest + 1
        if first is not None:
            self._forgotten.left(gallery, first)
        return newest

    def _first_forget(self, gallery: str, after: int) -> int | None:
        """The first change after `after` that forgot somebody, or one before it; None where none did."""
        first, before = None, None
        for _ in range(_MOST_CHANGES // _PAGE):
            page = self._store.history(gallery, before=before, limit=_PAGE)
            new = [entry for entry in page if entry.sequence > after]
            first = next((entry.sequence for entry in reversed(new) if entry.op is Op.FORGET), first)
            if len(new) < _PAGE:
                return first
            before = new[-1].sequence
        return after + 1
