"""Erasing what cameras told of somebody: events, the pictures they show, and what the watcher knows.

A visit is whoever's its last event says. The events of a person's visits go whole; where another's visit was for a
while thought to be theirs, or they were merely the nearest, the name is taken out and the rest stays.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from kith import wire
from kith.erasure import DIGEST, Erasure, asked_about
from kith.errors import JobRejected
from kith.holdings import Marks
from kith.imagestore import ImageStore, key_of
from kith.jobs import Decision, now_ms
from kith.scrubbing import texts_in
from kith.watching.desk import Desk
from kith.watching.event_log import EventEntry, EventLog
from kith.watching.events import Event, stranger_name
from kith.watching.news import GalleryForgotten, SubjectForgotten
from kith.watching.state import State
from kith.watching.store import WatchStore
from kith.watching.visits import Who

Owns = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Gone:
    """What became of events: ids of those that were erased, and of those in which a name was blotted out."""

    events: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ForgottenStranger:
    """done: whether the watcher has forgotten them by now; else it will. What was erased, counted."""

    done: bool
    events: int
    decisions: int
    pictures: int


class WatchedErasure:
    """Of all galleries. Raises StateUnavailable, StateFull, StoreUnavailable; the same call again goes on."""

    def __init__(self, desk: Desk, watch: WatchStore, events: EventLog) -> None:
        self._desk, self._watch, self._events = desk, watch, events

    def leave(self, gallery: str, name: str, marks: Marks, wait_s: float) -> bool:
        """Have the watcher forget a subject; whether it has, by now."""
        texts = {text for record in self._watch.records(gallery).values() for text in texts_in(record)}
        names = {name, *(text for text in texts if marks.text(text))}
        order = SubjectForgotten(tuple(sorted(marks.subject_ids)), tuple(sorted(names)), now_ms())
        return self._desk.ask(gallery, order, wait_s)

    def visiting(self, gallery: str, marks: Marks) -> set[str]:
        """Crops that the watcher keeps of a subject who is there, or thought to be: no event may have shown them, and
        none will once the visit is dropped. Ask before `leave`."""
        try:
            state = State(self._watch.records(gallery))
        except JobRejected:
            # Of a newer version: this watcher cannot read them either, and `leave` says so.
            return set()

        def theirs(who: Who | None) -> bool:
            return who is not None and marks.person(who.subject_id, who.subject)

        hers = {each.visit: each for each in state.visits.values() if theirs(each.who) or theirs(each.told)}
        evidence = [visit.ended for visit in hers.values()]
        evidence += [track.evidence for track in state.tracks.values() if track.visit in hers]
        return {crop.image for each in evidence for crop in each.kept}

    def pictures(self, gallery: str, marks: Marks) -> set[str]:
        """Crops that events of a subject's visits show."""
        return _pictures(entry.event for entry, _ in self._of(gallery, _theirs(marks)))

    def erase(self, gallery: str, marks: Marks) -> Gone:
        """A subject's events, and the name in those of others."""
        return self._erase(gallery, _theirs(marks), lambda event: _blotted(event, marks))

    def leave_gallery(self, gallery: str, wait_s: float) -> bool:
        """Have the watcher forget everybody of a gallery; whether it has, by now."""
        return not self._desk.watches(gallery) or self._desk.ask(gallery, GalleryForgotten(now_ms()), wait_s)

    def kept(self, gallery: str) -> set[str]:
        """All pictures that the watcher knows of."""
        texts = (*self._watch.records(gallery).values(), *self._watch.litter(gallery))
        return {key_of(digest) for text in texts for digest in DIGEST.findall(text)}

    def wipe(self, gallery: str) -> None:
        """Nothing is kept of a gallery, but for its events: `kept` have been deleted."""
        self._watch.wipe(gallery)

    def all_events(self, gallery: str, at_once: int) -> Iterator[tuple[set[str], Callable[[], int]]]:
        """Its events, some at a time: the pictures they show, and what erases the events, once those are deleted."""
        everything = self._events.of(gallery)
        while some := list(islice(everything, at_once)):

            def erase(events: list[tuple[EventEntry, str]] = some) -> int:
                return sum(self._events.amend(entry.entry_id, text, "") for entry, text in events)

            yield _pictures(entry.event for entry, _ in some), erase

    def forget_stranger(
        self, gallery: str, number: int, erasure: Erasure, store: ImageStore, wait_s: float
    ) -> ForgottenStranger:
        """Forget a stranger everywhere. Raises UnknownStranger."""
        strangers = self._desk.strangers(gallery)
        meant = strangers.get(number)
        numbers = {stranger_name(each.number) for each in strangers if strangers.get(each.number) == meant}
        done = self._desk.forget(gallery, number, wait_s)

        def theirs(event: Event) -> bool:
            return event.stranger in numbers

        pictures = _pictures(entry.event for entry, _ in self._of(gallery, theirs))
        pictures |= {picture for picture, at_ms in self._watch.litter(gallery).items() if at_ms == 0}
        asked = asked_about(erasure)
        pictures -= erasure.in_use(pictures)
        # Those that a job has yet to be answered about go at the next round of retention.
        free = sorted(pictures - asked)
        gone = [picture for picture in free if store.delete(picture)]
        self._watch.swept(gallery, free)
        decisions = 0
        for entry_id, text in erasure.results("0-0", gallery):
            if text is not None and _image_of(text) in pictures:
                decisions += erasure.amend_result(entry_id, text, "")
        events = self._erase(gallery, theirs, lambda event: replace(event, was=None) if event.was in numbers else event)
        return ForgottenStranger(done, len(events.events), decisions, len(gone))

    def _of(self, gallery: str, owns: Owns) -> Iterator[tuple[EventEntry, str]]:
        """The events of visits whose last event is meant, and those of no visit that are."""
        last: dict[str, bool] = {}
        for entry, _ in self._events.of(gallery):
            event = entry.event
            if event.visit is not None and (event.subject or event.stranger or event.visit not in last):
                last[event.visit] = owns(event)
        for entry, text in self._events.of(gallery):
            if last.get(entry.event.visit or "", owns(entry.event) if entry.event.visit is None else False):
                yield entry, text

    def _erase(self, gallery: str, owns: Owns, blot: Callable[[Event], Event]) -> Gone:
        events, named = set(), set()
        for entry, text in list(self._of(gallery, owns)):
            if self._events.amend(entry.entry_id, text, ""):
                events.add(entry.entry_id)
        for entry, text in self._events.of(gallery):
            blotted = blot(entry.event)
            if blotted != entry.event and self._events.amend(
                entry.entry_id, text, wire.to_json(replace(blotted, told_ms=None))
            ):
                named.add(entry.entry_id)
        return Gone(frozenset(events), frozenset(named))


def _theirs(marks: Marks) -> Owns:
    return lambda event: event.subject is not None and marks.person(event.subject_id, event.subject)


def _pictures(events: Iterable[Event]) -> set[str]:
    found: set[str] = set()
    for event in events:
        if event.snapshot is not None:
            found.add(event.snapshot)
        if event.evidence is not None:
            found.update(crop.image for crop in event.evidence.crops)
    return found


def _blotted(event: Event, marks: Marks) -> Event:
    if event.subject is not None and marks.person(event.subject_id, event.subject):
        event = replace(event, subject=None, subject_id=None)
    if marks.text(event.was):
        event = replace(event, was=None)
    proof = event.evidence
    if proof is not None:
        crops = tuple(replace(crop, nearest=None) if marks.text(crop.nearest) else crop for crop in proof.crops)
        nearest = None if marks.text(proof.nearest) else proof.nearest
        event = replace(event, evidence=replace(proof, crops=crops, nearest=nearest))
    return event


def _image_of(text: str) -> str | None:
    try:
        decision = wire.from_json(Decision, text)
    except JobRejected:
        # Of a newer version: not ours to judge.
        return None
    return decision.image if decision.seen is not None else None
