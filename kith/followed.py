"""One gallery as it is followed: `Followed`, its replica and what of it is known to have been forgotten."""

import logging
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kith.errors import KithError, StateUnavailable, UnknownGallery
from kith.forgotten_memory import ForgottenMemory
from kith.gallery import GalleryStore
from kith.journal import Change, Op, Vectors
from kith.similarity.rows import whole
from kith.subjects import GalleryInfo
from kith.view import Replica

_log = logging.getLogger(__name__)

#: Seconds until a gallery that could not be read is tried again: at first, and at the most. Each time is twice as long.
_PAUSE_S, _PAUSE_MAX_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a replica is behind. changes: that it lacks, of those the store had when it was last asked. seconds: how
    long ago the moment is up to which it is known to lack none."""

    changes: int
    seconds: float


class Followed:
    """`lock` is held by whoever changes `replica`; readers take `replica.view` without it. half: see Replica."""

    def __init__(self, name: str, forgotten: ForgottenMemory, *, half: bool) -> None:
        self._name, self._forgotten, self._half = name, forgotten, half
        self.lock = threading.Lock()
        self.replica: Replica | None = None
        #: Up to which change it is noted who was forgotten: the view may be ahead for a moment.
        self.noted = 0
        self._newest = 0
        #: A change of the store, and when it was there; once the replica has it, it was complete up to then.
        self._awaited = 0, time.monotonic()
        self._complete_s = time.monotonic()
        #: How long it is let alone because it could not be read, and until when (monotonic); 0 where it could.
        self._pause_s = self._until_s = 0.0
        #: Arrays that the newest view no longer has, as far as searches of older ones still hold them.
        self._older: list[weakref.ref[Vectors]] = []

    @property
    def lag(self) -> Lag:
        """As far as the store was asked."""
        sequence = self.replica.view.sequence if self.replica else 0
        self._reached(sequence)
        return Lag(max(0, self._newest - sequence), time.monotonic() - self._complete_s)

    def compared(self, newest: int, asked_s: float) -> None:
        """The store, asked at `asked_s` (monotonic), is at change `newest`."""
        self._newest = newest
        # One that is not reached yet goes on being awaited: were it replaced each time, a replica that is always a
        # second behind would seem to be behind since ever.
        # Nor is one awaited that the store no longer has: it was restarted, and lost its last second.
        if self._reached(self.replica.view.sequence if self.replica else 0) or newest < self._awaited[0]:
            self._awaited = newest, asked_s

    def _reached(self, sequence: int) -> bool:
        awaited, at_s = self._awaited
        if sequence < awaited:
            return False
        self._complete_s = at_s
        return True

    @property
    def aside(self) -> bool:
        """Whether it could not be read, and is let alone so that the others are followed."""
        return self._pause_s > 0

    @property
    def due(self) -> bool:
        """Whether it may be tried again."""
        return time.monotonic() >= self._until_s

    def set_aside(self, fault: Exception) -> None:
        """It alone cannot be read: its view stays as it is for a while, and is then loaded afresh."""
        if not self.aside:
            # What nobody foresaw is told with its traceback.
            foreseen = isinstance(fault, KithError)
            what = "gallery %s cannot be followed, matching in it goes on with what is known: %s"
            _log.error(what, self._name, fault, exc_info=None if foreseen else fault)
        self._pause_s = min(max(_PAUSE_S, 2 * self._pause_s), _PAUSE_MAX_S)
        self._until_s = time.monotonic() + self._pause_s

    def why_afresh(self, info: GalleryInfo, ours: int, *, restarted: bool) -> str:
        """Why it has to be loaded afresh; empty where not, or not yet. info: asked for after we were at `ours`."""
        if self.aside:
            return "it could not be read before" if self.due else ""
        if self.replica is not None and info.epoch != self.replica.epoch:
            return "it was wiped and made anew"
        if restarted:
            return "the store was restarted and may have lost its newest changes"
        return f"the store is at sequence {info.sequence}, we were at {ours}" if info.sequence < ours else ""

    def load(self, store: GalleryStore) -> Replica:
        """Load it for the first time, by a caller who holds the lock. Raises UnknownGallery, StateUnavailable."""
        asked_s = time.monotonic()
        self.replica = Replica(store.snapshot(self._name), half=self._half)
        self._awaited = 0, asked_s
        self.noted = self.replica.view.sequence
        return self.replica

    def apply(self, changes: list[Change]) -> None:
        """Bring the replica forward; none of `changes` is a RELOAD."""
        with self.lock:
            replica = self.replica
            # No race between the thread and a caller who demands a number: both apply what follows the view they read,
            # and the replica skips what the other one already applied. Logs have no holes, so changes that start beyond
            # the next number belong to a view that a fresh load has replaced.
            if replica is None or changes[0].sequence > replica.view.sequence + 1:
                return
            before = replica.view
            after = replica.apply(changes)
            forgets = [each.sequence for each in changes if each.op is Op.FORGET and each.sequence > before.sequence]
            self._keep_track(before.blocks, after.blocks)
            if forgets:
                # In any of these: he may have been enrolled before the oldest of them.
                self._forgotten.left(self._name, forgets[0], self._older)
            self.noted = after.sequence

    def reload(self, store: GalleryStore, why: str) -> bool:
        """Load it afresh, or set it aside where it cannot be read; whether it is there. Raises StateUnavailable."""
        _log.warning("loading gallery %s afresh: %s", self._name, why)
        with self.lock:
            former = self.replica
            try:
                now = Replica(store.snapshot(self._name), half=self._half)
            except UnknownGallery:
                return False
            except StateUnavailable:
                raise
            except Exception as fault:  # noqa: BLE001 (told, and tried again)
                self.set_aside(fault)
                return True
            self._pause_s = 0.0
            # Before the replica: its number must not be taken for one of another gallery of this name.
            self.noted = 0
            self.replica = now
            self._leave(former, now)
        if former is not None and former.view.model_id != now.view.model_id:
            models = now.view.model_id, former.view.model_id
            _log.warning("gallery %s answers by model %s instead of %s, at %d", self._name, *models, now.view.sequence)
        return True

    def drop(self) -> None:
        """It is gone."""
        _log.warning("gallery %s is gone", self._name)
        former, self.replica = self.replica, None
        self._leave(former, None)

    def _keep_track(self, before: Sequence[Vectors], after: Sequence[Vectors]) -> None:
        left = [
            block
            for block, now in zip_longest(before, after)
            # The first is quick, and nearly always true.
            if block is not now and block is not None and (now is None or whole(block) is not whole(now))
        ]
        self._older = [array for array in self._older if array() is not None]
        self._older += [weakref.ref(whole(block)) for block in left]

    def _leave(self, former: Replica | None, now: Replica | None) -> None:
        if former is not None:
            # Of what happened in between nothing was read: whoever was in it may have been forgotten by any change. Of
            # a gallery that is no more nobody is to be left, whatever the numbers of the next one of its name.
            same = now is not None and now.view.epoch == former.view.epoch
            self._keep_track(former.view.blocks, ())
            self._forgotten.left(self._name, 1 if same else 0, self._older)
        self.noted = now.view.sequence if now else 0


def one_by_one(
    store: GalleryStore, followed: Mapping[str, Followed], after: Mapping[str, int]
) -> dict[str, list[Change]]:
    """GalleryStore.changes_many, but each gallery by itself: one that cannot be read is set aside, and keeps no other
    from being followed. Raises StateUnavailable."""
    changed: dict[str, list[Change]] = {}
    for name, sequence in after.items():
        try:
            changes = store.changes(name, sequence)
        except StateUnavailable:
            raise
        except Exception as fault:  # noqa: BLE001 (told, and tried again)
            followed[name].set_aside(fault)
        else:
            if changes:
                changed[name] = changes
    return changed
