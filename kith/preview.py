"""Which decisions another rule would have changed: what a new cutoff or margin does, before it does it.

Judged anew are the scores that stand in the decisions, as they were found in the gallery of the time. Faces that were
not judged then, because they were too small or too blurred, are not judged now.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kith.decision import Rule, decide_identify, decide_verify
from kith.jobs import Decision, Face, Kind, Outcome
from kith.similarity import Hit


@dataclass(frozen=True, slots=True)
class Changed:
    """One face that two rules judge differently: `before` and `after` are MATCH and UNKNOWN, or the other way round.

    face: 0 for the principal face of the image, then the others.
    """

    decision: Decision
    face: int
    before: Outcome
    after: Outcome

    @property
    def nearest(self) -> str | None:
        """Who is named by the one rule and not by the other."""
        return _faces(self.decision)[self.face].nearest


@dataclass(frozen=True, slots=True)
class WouldChange:
    """looked_at: faces that were judged. named: those that only the new rule names; unnamed: those that only the old
    one does. Both in the order of the decisions."""

    looked_at: int = 0
    named: tuple[Changed, ...] = ()
    unnamed: tuple[Changed, ...] = ()

    def by_subject(self) -> dict[str, tuple[int, int]]:
        """Name → how often it is named, and is not named any more; whoever changes most comes first."""
        counts: dict[str, list[int]] = {}
        for column, changes in enumerate((self.named, self.unnamed)):
            for each in changes:
                counts.setdefault(each.nearest or "", [0, 0])[column] += 1
        ordered = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        return {name: (named, unnamed) for name, (named, unnamed) in ordered}


@dataclass(slots=True)
class _Found:
    looked_at: int = 0
    named: list[Changed] = field(default_factory=list)
    unnamed: list[Changed] = field(default_factory=list)


def would_change(decisions: Iterable[Decision], now: Rule, new: Rule) -> WouldChange:
    """What `new` would have decided otherwise than `now`.

    Enrolments, expired and rejected images are passed over. `now` need not be the rule the decisions were made by: an
    old decision counts as what it would be today.
    """
    found = _Found()
    for decision in decisions:
        for number, face in enumerate(_faces(decision)):
            before, after = (_outcome(decision.kind, face, rule) for rule in (now, new))
            if before is None or after is None:
                continue
            found.looked_at += 1
            if before is not after:
                change = Changed(decision, number, before, after)
                (found.named if after is Outcome.MATCH else found.unnamed).append(change)
    return WouldChange(found.looked_at, tuple(found.named), tuple(found.unnamed))


def _faces(decision: Decision) -> tuple[Face, ...]:
    return () if decision.face is None else (decision.face, *decision.others)


def _outcome(kind: Kind, face: Face, rule: Rule) -> Outcome | None:
    """What `rule` says of a face, None where it was not judged: then there is no score, or it is not its own."""
    if face.score is None or face.outcome not in (Outcome.MATCH, Outcome.UNKNOWN):
        return None
    quality = face.quality.value if face.quality else 1.0
    if kind is Kind.VERIFY:
        return decide_verify(face.score, rule, quality)
    hits = [Hit(face.nearest_id or "", face.nearest or "", face.score, -1)]
    if face.runner_up_score is not None:
        hits.append(Hit(face.runner_up_id or "", face.runner_up or "", face.runner_up_score, -1))
    return decide_identify(hits, quality, rule).outcome
