"""The galleries a worker searches, kept up to date in its memory: `Follower`.

One thread reads the logs of all galleries asked for. When the store cannot be reached the last views stay in use: a
worker goes on matching against what it knows; and so does the view of a gallery that cannot be read, while the others
are followed. They are loaded afresh when the store says that it may have lost changes (GalleryStore.incarnation), when
a log was trimmed past us, and when a gallery changed its model or was wiped and made anew.
"""

import logging
import threading
import time

from kith.errors import GalleryBehind, KithError, StateUnavailable, UnknownGallery
from kith.followed import Followed, Lag, one_by_one
from kith.forgotten_memory import ForgottenMemory, Kept
from kith.gallery import GalleryStore
from kith.journal import Change, Op
from kith.passed_through import PassedThrough
from kith.view import GalleryView, Replica

__all__ = ["Follower", "GalleryView", "Lag", "Replica"]

_log = logging.getLogger(__name__)

#: How often the galleries' own numbers are compared with ours; the log itself is followed without delay.
_LOOK_EVERY_S = 1.0
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 2.0
#: How often a caller who demands a sequence number reads the log himself.
_PULL_EVERY_S = 0.02
#: Between two reads while changes keep coming: what comes meanwhile is read and applied together, at half the work.
_GATHER_S = 0.008


class Follower:
    """Views of galleries, always the newest known. Safe to use from many threads.

    block_ms: how long one read of the log waits for news; also how soon a gallery just asked for is followed and how
    long `stop` may take. The thread starts with the first gallery asked for. kept: told when somebody was forgotten.
    half: keep vectors in half precision, see Replica.
    """

    def __init__(
        self, store: GalleryStore, *, block_ms: int = 500, kept: Kept | None = None, half: bool = False
    ) -> None:
        self._store = store
        self._block_ms = block_ms
        self._half = half
        self._galleries: dict[str, Followed] = {}
        #: Guards the dict and the thread, and wakes whoever waits for a sequence number.
        self._news = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._incarnation: str | None = None
        #: Which had news when last asked, just now.
        self._busy: frozenset[str] = frozenset()
        self._answered = self._looked = time.monotonic()
        self._forgotten = ForgottenMemory(kept)
        self._passed_through = PassedThrough(store, self._forgotten)

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

    def confirmed(self) -> dict[str, int]:
        """Up to which change of each gallery nobody who was forgotten is found, or left in this process's memory.

        One that is no more is among them until it has left the memory; -1 while one that had the name has not.
        """
        reached = self._passed_through.sequences() | self._noted()
        # Asked after that, so that of what is noted nothing is missed.
        for name, sequence in self._forgotten.unwiped().items():
            reached[name] = min(reached.get(name, sequence), sequence - 1)
        return reached

    def epochs(self) -> dict[str, str]:
        """Which gallery of its name each is that is followed; asked before `confirmed`, never one of a later."""
        followed = dict(self._galleries)
        return {name: each.replica.view.epoch for name, each in followed.items() if each.replica}

    def lags(self) -> dict[str, Lag]:
        """How far each gallery's view is behind; it is compared with the store about every second."""
        return {name: each.lag for name, each in dict(self._galleries).items() if each.replica}

    def passing(self, name: str, sequence: int) -> None:
        """People of gallery `name` are about to pass through this process, though it may not be followed: `confirmed`
        is to say when those who are forgotten after change `sequence` have left its memory."""
        followed = self._galleries.get(name)
        if followed is None or followed.replica is None:
            self._passed_through.note(name, sequence)
            self._start()

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
        self._forgotten.close()

    def _first_load(self, name: str) -> Replica:
        with self._news:
            followed = self._galleries.setdefault(name, Followed(name, self._forgotten, half=self._half))
        # In the caller's thread, so that its errors reach the caller; others who ask meanwhile wait for this load.
        with followed.lock:
            if followed.replica is None:
                if self._incarnation is None:
                    # Before the snapshot: a restart in between is then noticed, the other way round it would be missed.
                    self._incarnation = self._store.incarnation()
                try:
                    followed.load(self._store)
                except KithError:
                    # Names come from jobs: those that lead nowhere must not pile up.
                    self._galleries.pop(name, None)
                    raise
            replica = followed.replica
            assert replica is not None
        with self._news:
            if self._galleries.get(name) is not followed:
                # The thread found the gallery gone while we loaded; what we loaded is newer than what it found.
                self._galleries[name] = followed
        self._start()
        return replica

    def _start(self) -> None:
        with self._news:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._follow, name="kith-gallery-follower", daemon=True)
                self._thread.start()

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
                changes = [] if followed.aside else self._store.changes(name, replica.view.sequence)
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
            followed = {name: each for name, each in self._galleries.items() if not each.aside}
        after = {name: each.replica.view.sequence for name, each in followed.items() if each.replica}
        if not after:
            self._stopped.wait(self._block_ms / 1000)
            return
        # Asked anew after a failure: it may have been for these.
        busy, self._busy = self._busy & after.keys(), frozenset()
        try:
            # Right after some, more are there already: asking for them without a wait saves a round trip.
            changed = self._store.changes_many(after, block_ms=self._block_ms, likely=busy)
        except StateUnavailable:
            raise
        except Exception:
            changed = one_by_one(self._store, followed, after)
            if not any(followed[name].aside for name in after):
                raise
        self._answered, self._busy = time.monotonic(), frozenset(changed)
        for name, changes in changed.items():
            self._apply(name, followed[name], changes)
        if self._busy:
            self._stopped.wait(_GATHER_S)

    def _apply(self, name: str, followed: Followed, changes: list[Change]) -> None:
        if changes[0].op is Op.RELOAD:
            self._load(name, followed, "its log was trimmed past what we knew, or it has changed its model")
            return
        followed.apply(changes)
        with self._news:
            self._news.notify_all()

    def _load(self, name: str, followed: Followed, why: str) -> None:
        if not followed.reload(self._store, why):
            self._drop(name, followed)
        with self._news:
            self._news.notify_all()

    def _drop(self, name: str, followed: Followed) -> None:
        with self._news:
            followed.drop()
            if self._galleries.get(name) is followed:
                del self._galleries[name]

    def _look(self) -> None:
        """Compare what we hold with what the store says it has: catches what no log can tell."""
        try:
            self._passed_through.look(self._noted())
        finally:
            # Also while the store is away; here, once a second at most, and not where searches wait for the change.
            self._forgotten.wipe(self._view_of)
        incarnation = self._store.incarnation()
        restarted = self._incarnation not in (None, incarnation)
        with self._news:
            followed = dict(self._galleries)
        for name, each in followed.items():
            replica = each.replica
            if replica is None:
                continue
            # Before the store's: the other way round a change in between would look like the store going back.
            ours, asked_s = replica.view.sequence, time.monotonic()
            try:
                info = self._store.info(name)
            except UnknownGallery:
                self._drop(name, each)
                continue
            except StateUnavailable:
                raise
            except Exception as fault:  # noqa: BLE001 (told, and tried again)
                if each.due:
                    each.set_aside(fault)
                continue
            each.compared(info.sequence, asked_s)
            if why := each.why_afresh(info, ours, restarted=restarted):
                self._load(name, each, why)
        # Only now: an outage halfway leaves the rest to the next look.
        self._incarnation = incarnation
        self._answered = self._looked = time.monotonic()

    def _noted(self) -> dict[str, int]:
        return {name: each.noted for name, each in dict(self._galleries).items() if each.replica}

    def _view_of(self, name: str) -> GalleryView | None:
        with self._news:
            followed = self._galleries.get(name)
            return followed.replica.view if followed and followed.replica else None
