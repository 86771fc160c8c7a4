"""Where people ask something of the watcher: to name, merge, ignore or forget a stranger, to forget a subject.

What is asked goes into the log, behind all that was seen before, and is done when the watcher comes to it. Where none
works just now, whoever asks does its work until then: so forgetting never waits for a process that is not there.
"""

import time
import uuid
from dataclasses import dataclass

from kith.errors import UnknownStranger
from kith.jobs import now_ms
from kith.results import order_of
from kith.settings import Watch
from kith.watching.event_log import EventLog
from kith.watching.events import stranger_name
from kith.watching.log import SightingLog
from kith.watching.news import Order, StrangerForgotten, StrangerIgnored, StrangerMerged, StrangerNamed
from kith.watching.state import State
from kith.watching.store import WatchStore
from kith.watching.strangers import Stranger, Strangers
from kith.watching.watcher import Uncover, Watcher

#: How long one waits for a watcher that works.
WAIT_S = 10.0
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watcher keeps and tells. uncover: opens the vector of a sighting."""

    store: WatchStore
    events: EventLog
    uncover: Uncover


class Desk:
    """Safe to use beside others, and beside watchers."""

    def __init__(self, log: SightingLog, watched: Watched, rule: Watch) -> None:
        self._log, self._store, self._uncover, self._rule = log, watched.store, watched.uncover, rule

    def watches(self, gallery: str) -> bool:
        """Whether anything was ever told of a gallery. Raises StateUnavailable."""
        return gallery in self._log.galleries()

    def strangers(self, gallery: str) -> Strangers:
        """All of a gallery, without their views. Raises StateUnavailable."""
        return State(self._store.records(gallery)).strangers

    def stranger(self, gallery: str, number: int) -> Stranger:
        """One that lives; of one that was merged, the one it became part of. Raises UnknownStranger."""
        found = self.strangers(gallery).get(number)
        if found is None:
            raise UnknownStranger(f"gallery {gallery} has no {stranger_name(number)}; kith strangers list shows who is")
        if found.subject is not None:
            raise UnknownStranger(f"{stranger_name(number)} of gallery {gallery} is a subject by now: {found.subject}")
        return found

    def name(self, gallery: str, number: int, subject: str, subject_id: str, wait_s: float = WAIT_S) -> bool:
        """They are enrolled as this subject: their visits are told of again, under the name. As `ask`."""
        return self.ask(gallery, StrangerNamed(number, subject, subject_id, now_ms()), wait_s)

    def merge(self, gallery: str, one: int, other: int, wait_s: float = WAIT_S) -> tuple[int, bool]:
        """Two are one; the number that goes on, the lower one. Raises UnknownStranger."""
        kept, gone = sorted((self.stranger(gallery, one).number, self.stranger(gallery, other).number))
        if kept == gone:
            raise UnknownStranger(f"{stranger_name(one)} and {stranger_name(other)} are one stranger already")
        return kept, self.ask(gallery, StrangerMerged(gone, kept, now_ms()), wait_s)

    def ignore(self, gallery: str, number: int, ignored: bool, wait_s: float = WAIT_S) -> bool:
        """Tell of them no more, or again. Raises UnknownStranger."""
        return self.ask(gallery, StrangerIgnored(self.stranger(gallery, number).number, ignored, now_ms()), wait_s)

    def forget(self, gallery: str, number: int, wait_s: float = WAIT_S) -> bool:
        """Their views, pictures and visits go. Raises UnknownStranger."""
        return self.ask(gallery, StrangerForgotten(self.stranger(gallery, number).number, now_ms()), wait_s)

    def ask(self, gallery: str, order: Order, wait_s: float = WAIT_S) -> bool:
        """Whether it is done; else it will be when the watcher comes to it. Raises StateUnavailable, StateFull."""
        place = order_of(self._log.tell(gallery, [order]))
        deadline_s = time.monotonic() + wait_s
        while order_of(self._store.position(gallery)) < place:
            if time.monotonic() > deadline_s:
                return False
            if self._store.leader() is None:
                self._watch(gallery, place, deadline_s)
            time.sleep(_LOOK_EVERY_S)
        return True

    def _watch(self, gallery: str, place: tuple[int, int], deadline_s: float) -> None:
        watcher = Watcher(self._log, self._store, self._uncover, self._rule, f"asked:{uuid.uuid4().hex}")
        try:
            while order_of(self._store.position(gallery)) < place and time.monotonic() < deadline_s:
                if watcher.round(block_s=0.0) is None:
                    return
        finally:
            watcher.leave()
