"""Pictures that nothing tells of any more: left behind where a job was never accepted after its pictures had been put,
where results were dropped by number before the time of their pictures, where state was lost.

A picture stays while anything in Redis holds its key (kith.erasure.Erasure.mentioned), and for a time of grace after it
was last put, in which its job may be on the way. What is put again meanwhile counts as new: its place is looked at once
more right before it is deleted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kith.audit import Action, AuditLog, Deed, Detail
from kith.erasure import Erasure, asked_about
from kith.imagestore import ImageStore, StoredImage
from kith.jobs import now_ms

_FOLDERS = 256
#: Images listed in one page, and removed under one entry of the audit log.
_PAGE = 1000
#: Candidates held at once; everything in Redis is read for each round of so many.
_ROUND = 200_000


Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Orphaned:
    """looked_at, size_bytes: of all pictures in the store. unused: those that nothing tells of, by key."""

    looked_at: int
    size_bytes: int
    unused: tuple[StoredImage, ...]


class Orphans:
    """Of a store that is one installation's alone: what another one refers to, it does not know. Raises what its parts
    raise; the same call again goes on."""

    def __init__(self, store: ImageStore, erasure: Erasure, audit: AuditLog, by: str) -> None:
        self._store, self._erasure, self._audit, self._by = store, erasure, audit, by

    def find(self, grace_s: float, tell: Tell = lambda *_: None) -> Orphaned:
        """Those last put more than `grace_s` seconds ago; changes nothing. tell: how far through the keys, of all."""
        before_ms = now_ms() - grace_s * 1000
        looked_at = size_bytes = 0
        unused: list[StoredImage] = []
        waiting: list[StoredImage] = []
        after = ""
        while page := self._store.listed(after=after, limit=_PAGE):
            after = page[-1].key
            looked_at += len(page)
            size_bytes += sum(each.size_bytes for each in page)
            waiting += [each for each in page if each.stored_ms < before_ms]
            if len(waiting) >= _ROUND:
                unused += self._without_mention(waiting)
                waiting = []
            # Keys are hashes, so their first two digits run from 00 to ff as evenly as a clock.
            tell(int(after[:2], 16), _FOLDERS)
        return Orphaned(looked_at, size_bytes, tuple(unused + self._without_mention(waiting)))

    def remove(self, images: Sequence[StoredImage], tell: Tell = lambda *_: None) -> int:
        """Delete those of `images` that are still as they were found and still nothing tells of; how many."""
        gone = 0
        for start in range(0, len(images), _ROUND):
            # Somebody may have thought about it for an hour since they were found.
            some = self._without_mention(images[start : start + _ROUND])
            for at in range(0, len(some), _PAGE):
                gone += self._delete(some[at : at + _PAGE])
                tell(start + at, len(images))
        return gone

    def _without_mention(self, images: Sequence[StoredImage]) -> list[StoredImage]:
        if not images:
            return []
        known = self._erasure.mentioned({each.key for each in images})
        return [each for each in images if each.key not in known]

    def _delete(self, images: Sequence[StoredImage]) -> int:
        asked = asked_about(self._erasure)
        # Before it is done: what cannot be recorded is not done.
        detail: Detail = {"what": "unused pictures", "count": len(images)}
        self._audit.record(Deed(self._by, Action.DELETED, detail=detail))
        gone = 0
        for each in images:
            # Who puts a picture and then asks about it makes it a new one by the first of the two.
            if each.key not in asked and self._store.listed(each.key, limit=1) == [each]:
                gone += self._store.delete(each.key)
        return gone
