"""Recent decisions made again as if a gallery had been changed: who would be named otherwise, before it is changed.

Probes are not kept as vectors, so nobody is searched for again. A decision holds the scores of its nearest subject and
of the next; everybody else scored no more than the second. That decides most decisions for certain. Where it does not,
what could come of them is said instead of guessed:

- Which template of a subject the score is of is not in a decision. Where some of his are taken away, the score may stay
  or fall; where they are divided between two people, either may have it.
- When the nearest or the next goes, the one who comes up is not in the decision; he scored no more than the next did.
- A template that comes back was never compared.
- Where a gallery scores by means, whoever gains or loses a template has another mean, and any score.

Decisions are taken as if the gallery of today had made them; those whose nearest is no longer there are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kith.decision import Rule
from kith.gallery_past import Past
from kith.gallery_settings import Scoring
from kith.jobs import Decision, Face, Kind, Outcome

#: Somebody whom the change does not touch and the decision does not name.
ELSE = "somebody else"

#: In place of a number: that one, and nobody.
_ELSE, _NOBODY = -1, 0

_LOWEST, _HIGHEST = -1.0, 1.0


@dataclass(frozen=True, slots=True)
class Redecided:
    """One face whose answer would be, or could be, another. face: 0 for the principal one of the image. before: the
    name, None for nobody; after: the names that are possible, exactly one where it is certain."""

    decision: Decision
    face: int
    before: str | None
    after: tuple[str | None, ...]

    @property
    def certain(self) -> bool:
        return len(self.after) == 1


@dataclass(frozen=True, slots=True)
class Effect:
    """looked_at: faces that were decided anew. changed: those that are certainly answered otherwise; open: those that
    may be. left_out: faces whose nearest subject is no longer there. older: of those looked at, how many were decided
    before the newest change of the gallery, whose scores do not know of it."""

    looked_at: int
    changed: tuple[Redecided, ...]
    open: tuple[Redecided, ...]
    left_out: int
    older: int


@dataclass(frozen=True, slots=True)
class _Interval:
    """Between which a score lies."""

    low: float
    high: float


@dataclass(slots=True)
class _Moves:
    """Where the templates of everybody touched go. homes: number → numbers of those who have them afterwards, _NOBODY
    where some are gone; sources: number → numbers of those whose templates he has afterwards; new: who has templates
    that were nowhere."""

    homes: dict[int, set[int]] = field(default_factory=dict)
    sources: dict[int, set[int]] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)


def redecide(decisions: Iterable[Decision], now: Past, then: Past, rules: tuple[Rule, Rule]) -> Effect:
    """What of `decisions`, which are of one model, would be answered otherwise in `then` than in `now`.

    rules: those that apply now and then. Enrolments, and faces that were not searched for, are passed over.
    """
    judge = _Judge(now, then, rules)
    changed: list[Redecided] = []
    unclear: list[Redecided] = []
    looked_at = left_out = older = 0
    for decision in decisions:
        for number, face in enumerate((decision.face, *decision.others) if decision.face else ()):
            if face.score is None or face.outcome not in (Outcome.MATCH, Outcome.UNKNOWN):
                continue
            found = judge.face(decision.kind, face)
            if found is None:
                left_out += 1
                continue
            looked_at += 1
            older += (decision.gallery_version or 0) < now.sequence
            before, after = found
            if after == {before}:
                continue
            told = Redecided(decision, number, judge.name(now, before), judge.names(after))
            (changed if told.certain else unclear).append(told)
    return Effect(looked_at, tuple(changed), tuple(unclear), left_out, older)


class _Judge:
    def __init__(self, now: Past, then: Past, rules: tuple[Rule, Rule]) -> None:
        self._now, self._then, self._rules = now, then, rules
        self._numbers = {each.subject_id: number for number, each in now.subjects.items()}
        self._named = {each.name: number for number, each in now.subjects.items()}
        self._exact = then.settings.scoring is Scoring.BEST and now.settings.scoring is Scoring.BEST
        self._rescored = now.settings.scoring is not then.settings.scoring
        self._moves = _moves(now, then)
        self._searched = {number for number, each in then.subjects.items() if each.templates}

    def face(self, kind: Kind, face: Face) -> tuple[int, set[int]] | None:
        """Who is named now and who may be then, as numbers; None where whom the score is of is no longer there."""
        nearest = self._numbers.get(face.nearest_id or "", self._named.get(face.nearest or ""))
        if nearest is None or not self._now.subjects[nearest].templates:
            return None
        assert face.score is not None
        if kind is Kind.VERIFY:
            return self._claim(nearest, face.score)
        next_one = self._numbers.get(face.runner_up_id or "", self._named.get(face.runner_up or ""))
        if next_one is not None and not self._now.subjects[next_one].templates:
            next_one = None
        second = face.runner_up_score
        lead = _HIGHEST - _LOWEST if second is None else face.score - second
        rule = self._rules[0]
        before = nearest if face.score >= rule.cutoff and lead >= rule.margin else _NOBODY
        return before, self._identified(nearest, face.score, next_one, second)

    def name(self, state: Past, number: int) -> str | None:
        if number == _ELSE:
            return ELSE
        return None if number == _NOBODY else state.subjects[number].name

    def names(self, numbers: set[int]) -> tuple[str | None, ...]:
        """By name, nobody last."""
        found = [self.name(self._then, number) for number in numbers]
        return (*sorted(name for name in found if name is not None), *(name for name in found if name is None))

    def _claim(self, claimed: int, score: float) -> tuple[int, set[int]]:
        now, then = self._rules
        before = claimed if score >= now.cutoff else _NOBODY
        if claimed not in self._searched:
            return before, {_NOBODY}
        homes = self._moves.homes.get(claimed, {claimed})
        others = self._moves.sources.get(claimed, {claimed}) - {claimed} or claimed in self._moves.new
        low = score if homes == {claimed} else _LOWEST
        high = _HIGHEST if others else score
        if self._rescored or (not self._exact and claimed in self._moves.sources):
            low, high = _LOWEST, _HIGHEST
        possible = {claimed} if high >= then.cutoff else set()
        return before, possible | ({_NOBODY} if low < then.cutoff else set())

    def _identified(self, nearest: int, score: float, next_one: int | None, second: float | None) -> set[int]:
        possible: set[int] = set()
        for first_at in self._homes(nearest):
            for next_at in self._homes(next_one) if next_one is not None else {_ELSE}:
                known = {first_at: score}
                if second is not None and next_one is not None and known.get(next_at, _LOWEST) < second:
                    known[next_at] = second
                possible |= self._outcomes(known, nearest, score, second, next_one)
        return possible

    def _homes(self, number: int) -> set[int]:
        return self._moves.homes.get(number, {number})

    def _outcomes(
        self, known: Mapping[int, float], nearest: int, score: float, second: float | None, next_one: int | None
    ) -> set[int]:
        """Who may be named when the best templates are where `known` says: number → the score he has at least."""
        below = _LOWEST if second is None else second
        scores: dict[int, _Interval] = {}
        # Whom the best template is with comes first, for of equal scores it was the first.
        for number in filter(self._searched.__contains__, dict.fromkeys((*known, *self._moves.sources))):
            low, high = known.get(number, _LOWEST), known.get(number, _LOWEST)
            for source in self._moves.sources.get(number, {number}):
                high = max(high, score if source == nearest else below)
            if number in self._moves.new:
                high = _HIGHEST
            if self._rescored or (not self._exact and number in self._moves.sources):
                low, high = _LOWEST, _HIGHEST
            scores[number] = _Interval(low, high)
        if len(self._searched) > len(scores) and second is not None:
            # The next one, where the decision does not say who he is by now, is there still if nobody is touched.
            there = next_one is None and not self._moves.sources
            low = _LOWEST if self._rescored else below if there else _LOWEST
            scores[_ELSE] = _Interval(low, _HIGHEST if self._rescored else below)
        return _named(scores, self._rules[1])


def _named(scores: Mapping[int, _Interval], rule: Rule) -> set[int]:
    """All who may be named, _NOBODY where nobody may be."""
    if not scores:
        return {_NOBODY}
    possible: set[int] = set()
    # Of equal ones the first known stays the first: the order of slots, which decides, does not change.
    top = max(scores, key=lambda number: scores[number].low)
    for number, own in scores.items():
        others = [each.low for other, each in scores.items() if other != number]
        ahead = own.high - max(others, default=_LOWEST - 2)
        if own.high >= rule.cutoff and ahead >= rule.margin and (ahead > 0 or number == top):
            possible.add(number)
    lowest = scores[top].low
    rivals = [each.high for number, each in scores.items() if number != top]
    closest = max(0.0, lowest - max(rivals)) if rivals else _HIGHEST - _LOWEST
    if lowest < rule.cutoff or closest < rule.margin:
        possible.add(_NOBODY)
    return possible


def _moves(now: Past, then: Past) -> _Moves:
    holder = {template: number for number, each in then.subjects.items() for template in each.templates}
    owner = {template: number for number, each in now.subjects.items() for template in each.templates}
    found = _Moves()
    for number in now.subjects.keys() | then.subjects.keys():
        had = now.subjects[number].templates if number in now.subjects else frozenset()
        has = then.subjects[number].templates if number in then.subjects else frozenset()
        if had == has:
            continue
        found.homes[number] = {holder.get(template, _NOBODY) for template in had}
        found.sources[number] = {owner[template] for template in has if template in owner}
        if has - owner.keys():
            found.new.add(number)
    return found
