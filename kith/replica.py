"""The galleries a worker searches, kept up to date in its memory: `Follower`.

One thread reads the logs of all galleries asked for. When the store cannot be reached the last views stay in use: a
worker goes on matching against what it knows. They are loaded afresh when the store says that it may have lost changes
(GalleryStore.incarnation), when a log was trimmed past us, and when a gallery changed its model or was wiped and made
anew.
"""

import logging
import threading
import time

from kith.errors import GalleryBehind, KithError, StateUnavailable, UnknownGallery
from kith.gallery import GalleryStore
from kith.journal import Change, Op
from kith.view import GalleryView, Replica
from kith.wiping import wipe_free_memory

__all__ = ["Follower", "GalleryView", "Replica"]

_log = logging.getLogger(__name__)

#: How often the galleries' own numbers are compared with ours; the log itself is followed without delay.
_LOOK_EVERY_S = 1.0
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 2.0
#: How often a caller who demands a sequence number reads the log himself.
_PULL_EVERY_S = 0.02
#: Between two reads while changes keep coming: what comes meanwhile is read and applied together, at half the work.
_GATHER_S = 0.008


class _Followed:
    """One gallery. `lock` is held by whoever changes `replica`; readers take `replica.view` without it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.replica: Replica | None = None
        self.lag = 0


class Follower:
    """Views of galleries, always the newest known. Safe to use from many threads.

    block_ms: how long one read of the log waits for news; also how soon a gallery just asked for is followed and how
    long `stop` may take. The thread starts with the first gallery asked for.
    """

    def __init__(self, store: GalleryStore, *, block_ms: int = 500) -> None:
        self._store = store
        self._block_ms = block_ms
        self._galleries: dict[str, _Followed] = {}
        #: Guards the dict and the thread, and wakes whoever waits for a sequence number.
        self._news = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._incarnation: str | None = None
        self._busy = False
        self._answered = self._looked = time.monotonic()
        #: Somebody was forgotten: what brought him here may lie about in freed memory.
        self._to_wipe = False

    def view(self, name: str, at_least: int = 0, timeout_s: float = 2.0) -> GalleryView:
        """The newest view of gallery `name`, at sequence number `at_least` or later. Loads the gallery at first use.

        Raises UnknownGallery, StateUnavailable (only where there is no view yet), GalleryBehind when `at_least` is not
        reached within `timeout_s` seconds.
        """
        followed = self._galleries.get(name)
        replica = followed.replica if followed else None
        if replica is None:
            replica = self._first_load(name)
        if replica.view.sequence >= at_least:
            return replica.view
        return self._await(name, at_least, timeout_s)

    def sequences(self) -> dict[str, int]:
        """The sequence number of each gallery's view."""
        # A copy, made in one step: other threads add and drop galleries.
        followed = dict(self._galleries)
        return {name: each.replica.view.sequence for name, each in followed.items() if each.replica}

    def lag(self) -> dict[str, int]:
        """How many changes each gallery's view was behind when last compared, at most about a second ago."""
        with self._news:
            return {name: each.lag for name, each in self._galleries.items() if each.replica}

    def silent_s(self) -> float:
        """Seconds since the store last answered the thread; grows while the store is away."""
        return time.monotonic() - self._answered

    def stop(self) -> None:
        """End the thread; views stay usable, `view` of a loaded gallery goes on answering."""
        self._stopped.set()
        with self._news:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _first_load(self, name: str) -> Replica:
        with self._news:
            followed = self._galleries.setdefault(name, _Followed())
        # In the caller's thread, so that its errors reach the caller; others who ask meanwhile wait for this load.
        with followed.lock:
            if followed.replica is None:
                if self._incarnation is None:
                    # Before the snapshot: a restart in between is then noticed, the other way round it would be missed.
                    self._incarnation = self._store.incarnation()
                try:
                    followed.replica = Replica(self._store.snapshot(name))
                except KithError:
                    # Names come from jobs: those that lead nowhere must not pile up.
                    self._galleries.pop(name, None)
                    raise
            replica = followed.replica
        with self._news:
            if self._galleries.get(name) is not followed:
                # The thread found the gallery gone while we loaded; what we loaded is newer than what it found.
                self._galleries[name] = followed
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._follow, name="kith-gallery-follower", daemon=True)
                self._thread.start()
        return replica

    def _await(self, name: str, at_least: int, timeout_s: float) -> GalleryView:
        deadline = time.monotonic() + timeout_s
        while True:
            followed = self._galleries.get(name)
            replica = followed.replica if followed else None
            if followed is None or replica is None:
                raise UnknownGallery(f"gallery {name} has gone while a change of it was waited for")
            left = deadline - time.monotonic()
            if replica.view.sequence >= at_least:
                return replica.view
            if left <= 0 or self._stopped.is_set():
                raise GalleryBehind(
                    f"the replica of gallery {name} is at sequence {replica.view.sequence}, the job demands {at_least}"
                )
            # We read the log ourselves as well: the thread may be inside a wait that began before it knew this gallery.
            try:
                changes = self._store.changes(name, replica.view.sequence)
                if changes:
                    self._apply(name, followed, changes)
                    continue
            except StateUnavailable:
                # The thread reports the outage and backs off; we only run out of time.
                pass
            with self._news:
                if replica.view.sequence < at_least:
                    self._news.wait(min(left, _PULL_EVERY_S))

    def _follow(self) -> None:
        backoff_s, away = _BACKOFF_S, False
        while not self._stopped.is_set():
            try:
                self._step(look=away)
            except StateUnavailable as fault:
                if not away:
                    _log.warning("galleries cannot be followed, matching goes on with what is known: %s", fault)
            except Exception:  # noqa: BLE001 (logged with its traceback)
                # A dead thread would freeze every gallery without a word. Whatever is wrong, a fresh load may mend it.
                _log.exception("following the galleries failed, loading them afresh")
                self._incarnation = ""
            else:
                if away:
                    _log.warning("galleries are followed again")
                backoff_s, away = _BACKOFF_S, False
                continue
            away = True
            self._stopped.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)

    def _step(self, *, look: bool) -> None:
        if look or time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._look()
        with self._news:
            followed = {name: each for name, each in self._galleries.items() if each.replica}
        after = {name: each.replica.view.sequence for name, each in followed.items() if each.replica}
        if not after:
            self._stopped.wait(self._block_ms / 1000)
            return
        # Right after some, more are there already: asking for them without a wait saves a round trip.
        changed = self._store.changes_many(after, block_ms=0 if self._busy else self._block_ms)
        self._answered, self._busy = time.monotonic(), bool(changed)
        for name, changes in changed.items():
            self._apply(name, followed[name], changes)
        if self._busy:
            self._stopped.wait(_GATHER_S)

    def _apply(self, name: str, followed: _Followed, changes: list[Change]) -> None:
        if changes[0].op is Op.RELOAD:
            self._load(name, followed, "its log was trimmed past what we knew, or it has changed its model")
            return
        with followed.lock:
            replica = followed.replica
            # No race between the thread and a caller who demands a number: both apply what follows the view they read,
            # and the replica skips what the other one already applied. Logs have no holes, so changes that start beyond
            # the next number belong to a view that a fresh load has replaced.
            if replica is not None and changes[0].sequence <= replica.view.sequence + 1:
                replica.apply(changes)
        if any(change.op is Op.FORGET for change in changes):
            self._to_wipe = True
        with self._news:
            self._news.notify_all()

    def _load(self, name: str, followed: _Followed, why: str) -> None:
        _log.warning("loading gallery %s afresh: %s", name, why)
        with followed.lock:
            former = followed.replica
            try:
                followed.replica = Replica(self._store.snapshot(name))
            except UnknownGallery:
                self._drop(name, followed)
        now = followed.replica
        if former is not None and now is not None and former.view.model_id != now.view.model_id:
            _log.warning(
                "gallery %s answers by model %s instead of %s, at %d",
                name,
                now.view.model_id,
                former.view.model_id,
                now.view.sequence,
            )
        with self._news:
            self._news.notify_all()

    def _drop(self, name: str, followed: _Followed) -> None:
        _log.warning("gallery %s is gone", name)
        with self._news:
            followed.replica = None
            if self._galleries.get(name) is followed:
                del self._galleries[name]

    def _look(self) -> None:
        """Compare what we hold with what the store says it has: catches what no log can tell."""
        if self._to_wipe:
            # Here, once a second at most, and not where searches wait for the change.
            self._to_wipe = False
            wipe_free_memory()
        incarnation = self._store.incarnation()
        restarted = self._incarnation not in (None, incarnation)
        with self._news:
            followed = dict(self._galleries)
        for name, each in followed.items():
            replica = each.replica
            if replica is None:
                continue
            # Before the store's: the other way round a change in between would look like the store going back.
            ours = replica.view.sequence
            try:
                info = self._store.info(name)
            except UnknownGallery:
                self._drop(name, each)
                continue
            each.lag = max(0, info.sequence - ours)
            if info.epoch != replica.epoch:
                self._load(name, each, "it was wiped and made anew")
            elif restarted:
                self._load(name, each, "the store was restarted and may have lost its newest changes")
            elif info.sequence < ours:
                self._load(name, each, f"the store is at sequence {info.sequence}, we were at {ours}")
        # Only now: an outage halfway leaves the rest to the next look.
        self._incarnation = incarnation
        self._answered = self._looked = time.monotonic()
