"""Which stranger a visit is of: numbers are given, kept, and taken back when it turns out to be somebody known."""

from dataclasses import replace

from kith.settings import Watch
from kith.watching import telling
from kith.watching.events import Event
from kith.watching.state import State
from kith.watching.strangers import Likeness, StrangerCrop, StrangerVisit
from kith.watching.visits import Shown, Visit, Who


class Numbering:
    """Of one gallery's strangers."""

    def __init__(self, state: State, rule: Watch) -> None:
        self._state, self._rule = state, rule

    def number_of(self, shown: Shown) -> int | None:
        """The stranger whom a track shows, if it is one we know and nobody of the gallery."""
        like = self._like(shown)
        return like.number if like is not None and like.same else None

    def numbered(self, visit: Visit, shown: Shown) -> Visit:
        """The visit with its stranger's number: the one it has, else the one it is like, else a new one, else none."""
        if visit.who.subject is not None:
            return visit
        if visit.who.stranger is not None:
            stranger = self._state.strangers.get(visit.who.stranger)
            if stranger is not None and stranger.subject is None:
                # Another number only where the two were merged.
                return visit if stranger.number == visit.who.stranger else _is(visit, stranger.number, visit.likeness)
            visit = replace(visit, who=Who(), how="nobody", likeness=None)
        like = self._like(shown)
        if like is None:
            return visit
        if like.same:
            assert like.number is not None
            return _is(visit, like.number, like.score)
        if not like.new or not shown.evidence.nobody_known(self._rule):
            return visit
        visit = _is(visit, self._state.strangers.mint(shown.evidence.model_id, visit.started_ms), None)
        self.learn(visit, shown)
        return visit

    def learn(self, visit: Visit, shown: Shown) -> None:
        """The visit becomes a view of its stranger."""
        face = shown.face
        if visit.who.stranger is None or visit.who.subject is not None or face is None:
            return
        crops = (
            StrangerCrop(crop.image, crop.quality, crop.at_ms)
            for crop in shown.evidence.kept
            if crop.quality >= self._rule.min_quality
        )
        number, weight = visit.who.stranger, shown.evidence.weight
        gone = self._state.strangers.learn(number, visit.visit, face, weight, crops, visit.seen_ms)
        self._state.displaced(gone)

    def over(self, visit: Visit, shown: Shown) -> None:
        """The visit has ended."""
        if visit.who.stranger is not None:
            self.learn(visit, shown)
            past = StrangerVisit(visit.visit, visit.started_ms, visit.seen_ms, visit.cameras)
            self._state.strangers.visited(visit.who.stranger, past)

    def joined(self, gallery: str, visit: Visit, shown: Shown) -> list[Event]:
        """Two strangers whom the visit shows to be one become one."""
        strangers, face, cutoff = self._state.strangers, shown.face, shown.evidence.cutoff
        stranger = strangers.get(visit.who.stranger)
        if stranger is None or not stranger.lives or face is None or cutoff is None:
            return []
        # Not by its own number alone: it is of the person only as surely as it is like them.
        own = strangers.like(face, shown.evidence.model_id, cutoff + self._rule.stranger_margin)
        if not own.same or own.number is None:
            return []
        one, same = own.number, cutoff + self._rule.stranger_margin
        other = strangers.like(face, shown.evidence.model_id, same, but=one)
        if not other.same or other.number is None or stranger.number not in (one, other.number):
            return []
        kept, gone = min(one, other.number), max(one, other.number)
        self._state.displaced(strangers.merge(gone, kept))
        return [telling.strangers_merged(gallery, gone, kept, visit.seen_ms, "alike")]

    def dissolve(self, number: int) -> None:
        """A visit of theirs turned out to be somebody known: if it was the only one, there never was a stranger."""
        stranger = self._state.strangers.at(number)
        others = any(visit.who.stranger == number for visit in self._state.visits.values())
        if stranger is not None and stranger.lives and not stranger.visits and not others:
            # The pictures stay: they are the known person's.
            self._state.strangers.forget(number)

    def ignored(self, who: Who) -> bool:
        """Whether nobody wants to be told of them."""
        stranger = self._state.strangers.get(who.stranger) if who.subject is None else None
        return stranger is not None and stranger.ignored

    def _like(self, shown: Shown) -> Likeness | None:
        evidence, face = shown.evidence, shown.face
        if face is None or evidence.cutoff is None or not evidence.good or not evidence.unlike_all(self._rule):
            return None
        return self._state.strangers.like(face, evidence.model_id, evidence.cutoff + self._rule.stranger_margin)


def _is(visit: Visit, number: int, likeness: float | None) -> Visit:
    return replace(visit, who=Who(stranger=number), how="resembles", likeness=likeness)
