"""The watcher's work: read the news of all galleries, fold them, write what follows. One leads, the others wait.

Each gallery is on its own: one whose keys are away, or whose records cannot be read, keeps the others from nothing.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from kith.errors import KithError, Retryable
from kith.settings import Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event
from kith.watching.evidence import Vector
from kith.watching.log import Heard, SightingLog
from kith.watching.news import Erasing, Sighted
from kith.watching.state import State
from kith.watching.store import Committed, Step, WatchStore
from kith.wiping import wipe_leftovers

_log = logging.getLogger(__name__)

#: Longest wait for news: within it a gallery that is told of for the first time is noticed, and a stop is.
_BLOCK_S = 0.25
#: News of one gallery taken in one step. A step is lost with its watcher, and done again by the next.
_AT_ONCE = 200
#: A gallery that is in trouble is tried again after this.
_REST_MS = 2_000

#: Gallery and text → the vector of a sighting; None where it cannot be read.
Uncover = Callable[[str, str], Vector | None]


@dataclass(slots=True)
class _Desk:
    """One gallery's book, and how far it has been written."""

    book: VisitBook
    position: str
    step: int


class Watcher:
    """holder: who this is, for the lease. keep_strangers: gallery → seconds, where it has its own time for them. told:
    of events, once they stand in their stream."""

    def __init__(
        self,
        log: SightingLog,
        store: WatchStore,
        uncover: Uncover,
        rule: Watch,
        holder: str,
        keep_strangers: Callable[[str], float | None] = lambda _: None,
        told: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._log, self._store, self._uncover, self._rule = log, store, uncover, rule
        self._holder, self._keep_strangers, self._told = holder, keep_strangers, told
        self._desks: dict[str, _Desk] = {}
        self._resting: dict[str, int] = {}

    def round(self, block_s: float = _BLOCK_S) -> bool | None:
        """One round of all galleries: whether there was anything to do; None while another watcher leads.

        Raises StateUnavailable and StateFull; then the next round loads what was written and goes on from there.
        """
        now_ms = self._store.lead(self._holder, self._rule.lease_s)
        if now_ms is None:
            # Whatever is held here is of the past by the time this one leads again.
            self._desks.clear()
            return None
        try:
            return self._round(now_ms, block_s)
        except BaseException:
            self._desks.clear()
            raise

    def leave(self) -> None:
        """Lead no more, so that another takes over at once."""
        self._desks.clear()
        self._store.leave(self._holder)

    def _round(self, now_ms: int, block_s: float) -> bool:
        galleries = self._log.galleries()
        # Whoever is seen in one that was forgotten is held here no more.
        self._desks = {gallery: desk for gallery, desk in self._desks.items() if gallery in galleries}
        positions = {gallery: desk.position for gallery in galleries if (desk := self._desk(gallery, now_ms))}
        due = [each for desk in self._desks.values() if (each := desk.book.due_ms()) is not None]
        wait_s = min([block_s, *(max(0, each - now_ms) / 1000 for each in due)])
        found = self._log.after(positions, limit=_AT_ONCE, block_s=wait_s)
        if found or wait_s:
            # It was waited for; what is late, and what is due, is judged by the time it is now.
            later_ms = self._store.lead(self._holder, self._rule.lease_s)
            if later_ms is None:
                self._desks.clear()
                return False
        else:
            later_ms = now_ms
        busy = False
        for gallery in positions:
            heard = found.get(gallery, [])
            # Everything told before `now_ms` has been read by now, unless there was more than is taken at once.
            caught_up = len(heard) < _AT_ONCE
            try:
                busy |= self._fold(gallery, heard, now_ms if caught_up else None, later_ms)
            except Retryable:
                if self._log.galleries():
                    # Redis answers: it is this gallery's own trouble, its keys are away.
                    _log.warning("gallery %s is not watched for the moment", gallery, exc_info=True)
                    self._rest(gallery, later_ms)
            except KithError:
                _log.exception("gallery %s cannot be watched", gallery)
                self._rest(gallery, later_ms)
        return busy

    def _rest(self, gallery: str, now_ms: int) -> None:
        self._desks.pop(gallery, None)
        self._resting[gallery] = now_ms + _REST_MS

    def _desk(self, gallery: str, now_ms: int) -> _Desk | None:
        if self._resting.get(gallery, 0) > now_ms:
            return None
        desk = self._desks.get(gallery)
        if desk is None:
            try:
                saved = self._store.load(gallery)
                state = State(saved.records, saved.vectors)
                book = VisitBook(gallery, self._rule, state, partial(self._keep_strangers, gallery))
            except KithError as wrong:
                _log.error("gallery %s cannot be watched: %s", gallery, wrong)
                self._rest(gallery, now_ms)
                return None
            desk = self._desks[gallery] = _Desk(book, saved.position, saved.step)
        return desk

    def _fold(self, gallery: str, heard: list[Heard], tick_ms: int | None, now_ms: int) -> bool:
        try:
            return self._take(gallery, heard, tick_ms, now_ms)
        except KithError:
            raise
        except Exception:  # noqa: BLE001 (a bug must cost one piece of news, not the gallery)
            _log.exception("news of gallery %s led to something nobody foresaw", gallery)
        # One piece of news must not keep all that follow from being heard: which one is it?
        self._desks.pop(gallery, None)
        for each in heard:
            try:
                self._take(gallery, [each], None, now_ms)
            except KithError:
                raise
            except Exception:  # noqa: BLE001 (as above)
                kind = type(each.news).__name__
                _log.exception("news %s (%s) of gallery %s are passed over", each.entry_id, kind, gallery)
                self._desks.pop(gallery, None)
                self._take(gallery, [replace(each, news=None)], None, now_ms)
        return True

    def _take(self, gallery: str, heard: list[Heard], tick_ms: int | None, now_ms: int) -> bool:
        while True:
            desk = self._desk(gallery, now_ms)
            if desk is None:
                return False
            due = desk.book.due_ms()
            ticks = tick_ms is not None and due is not None and due <= tick_ms
            if not heard and not ticks:
                return False
            desk.book.deadline_ms = None
            events = [event for each in heard for event in desk.book.take(each, self._vector(each), now_ms)]
            if tick_ms is not None and ticks:
                events += desk.book.tick(tick_ms, now_ms)
            position = heard[-1].entry_id if heard else desk.position
            taken = [each.entry_id for each in heard]
            changes, deadline_ms = desk.book.state.changes(), desk.book.deadline_ms
            if not (heard or events or changes):
                return False
            step = Step(gallery, desk.step + 1, position, changes, events, taken, deadline_ms)
            if any(isinstance(each.news, Erasing) for each in heard):
                # Before the step, by which whoever asked for it learns that it is done.
                wipe_leftovers()
            match self._store.commit(self._holder, step):
                case Committed.DONE:
                    desk.position, desk.step = position, step.step
                    self._told(events)
                    return True
                case Committed.LOST:
                    _log.warning("another watcher leads now")
                    self._desks.clear()
                    return False
                case Committed.LATE:
                    # Between reading and writing a deadline passed: the same news, by what time it is now.
                    del self._desks[gallery]
                    now_ms = max(now_ms + 1, self._store.lead(self._holder, self._rule.lease_s) or 0)

    def _vector(self, heard: Heard) -> Vector | None:
        news = heard.news
        if not isinstance(news, Sighted) or news.vector is None:
            return None
        return self._uncover(heard.gallery, news.vector)
