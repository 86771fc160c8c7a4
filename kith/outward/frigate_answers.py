"""Answering Frigate: who was recognised on a snapshot of it becomes the sub label of its event.

Of several pictures of one event the surest name stays. How far this has come is written after each answer; a sub label
that is set twice is the same.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from kith import wire
from kith.jobs import Decision, Outcome, now_ms
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.outward.frigate import LABEL
from kith.outward.frigate_api import FrigateApi
from kith.outward.lease import Lease
from kith.outward.pauses import pause_s
from kith.outward.places import Places
from kith.results import Entry, Results
from kith.webhooks import Noted

_log = logging.getLogger(__name__)

_NAME = "frigate"
_PAGE = 100
_BLOCK_S = 0.25
#: Its events of which it is known what was answered.
_EVENTS = 1000
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0
#: What is passed over is written down after so many.
_NOTE_EVERY = 500


@dataclass(frozen=True, slots=True)
class _Place:
    """The entry that was dealt with last."""

    entry_id: str
    wire: Literal[1] = 1


class FrigateAnswers:
    """gallery: only its decisions answer. give_up_ms: after which a sub label that cannot be set is given up. `round`
    is called again and again by one thread."""

    def __init__(
        self,
        api: FrigateApi,
        results: Results,
        places: Places,
        lease: Lease,
        gallery: str,
        give_up_ms: int,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._api, self._results, self._places, self._lease = api, results, places, lease
        self._gallery, self._give_up_ms, self._clock = gallery, give_up_ms, clock
        self._place: _Place | None = None
        self._seen: str | None = None
        self._passed = self._attempts = 0
        self._again_at_s = float("-inf")
        self._answered: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def round(self) -> None:
        """Answer what is new, waiting for it a moment. Raises StateUnavailable, StateFull."""
        if not self._lease.held or time.monotonic() < self._again_at_s:
            self._place = self._place if self._lease.held else None
            time.sleep(_BLOCK_S)
            return
        place = self._place or self._load()
        for entry in self._results.after(place.entry_id, limit=_PAGE, block_s=_BLOCK_S):
            if not self._lease.held:
                return
            try:
                answered = self._answer(entry)
            except ReceiverAway as away:
                self._attempts += 1
                self._again_at_s = time.monotonic() + pause_s(self._attempts, _FIRST_PAUSE_S, _LAST_PAUSE_S)
                _log.warning("%s; trying again", away)
                return
            self._attempts = 0
            self._passed = 0 if answered else self._passed + 1
            place = self._place = replace(place, entry_id=entry.entry_id)
            if answered or self._passed >= _NOTE_EVERY:
                self._write(place)

    def _load(self) -> _Place:
        self._seen = self._places.place(_NAME)
        place = _Place(self._results.position()) if self._seen is None else wire.from_json(_Place, self._seen)
        self._write(place)
        return place

    def _write(self, place: _Place) -> None:
        text = wire.to_json(place)
        if self._places.move(self._lease.holder, _NAME, self._seen, text) is not Noted.DONE:
            self._lease.drop()
            self._place = None
            return
        self._seen, self._place, self._passed = text, place, 0

    def _answer(self, entry: Entry) -> bool:
        """Whether Frigate was asked for anything."""
        decision = entry.decision
        event_id, subject, score = _answer_of(decision)
        if event_id is None or subject is None or decision.gallery != self._gallery:
            return False
        if self._answered.get(event_id, (-1.0, ""))[0] >= score:
            return False
        try:
            self._api.set_sub_label(event_id, subject, score)
        except DeliveryRefused as refused:
            _log.warning("event %s gets no sub label: %s", event_id, refused)
        except ReceiverAway as away:
            if self._clock() - decision.decided_ms < self._give_up_ms:
                raise
            _log.error("event %s gets no sub label, it is given up: %s", event_id, away)
        self._answered[event_id] = score, subject
        self._answered.move_to_end(event_id)
        while len(self._answered) > _EVENTS:
            self._answered.popitem(last=False)
        return True


def _answer_of(decision: Decision) -> tuple[str | None, str | None, float]:
    """Event, name and how sure, of a decision that is about a snapshot of Frigate's and names somebody."""
    label, face = decision.label or "", decision.face
    if decision.outcome is not Outcome.MATCH or face is None or not label.startswith(LABEL):
        return None, None, 0.0
    return label.removeprefix(LABEL), face.subject, face.score or 0.0
