"""The open-set rule: is the nearest subject near enough to be named? Pure functions of scores.

Every comparison is written so that NaN fails it: a broken score names nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kith.errors import Misconfigured
from kith.jobs import Outcome
from kith.similarity import Hit


@dataclass(frozen=True, slots=True)
class Rule:
    """cutoff: the cosine a match needs, −1..1. margin: how far the best subject must be ahead of the next one, 0..2.
    min_quality: faces below it, 0..1, are not decided on.

    Raises Misconfigured outside these ranges.
    """

    cutoff: float
    margin: float = 0.0
    min_quality: float = 0.0

    def __post_init__(self) -> None:
        for knob, low, high in (("cutoff", -1, 1), ("margin", 0, 2), ("min_quality", 0, 1)):
            value = getattr(self, knob)
            if not low <= value <= high:
                raise Misconfigured(f"{knob} is {value}, a decision rule takes {low}..{high}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome: MATCH, UNKNOWN or LOW_QUALITY. nearest and runner_up: the two best subjects, whatever the outcome."""

    outcome: Outcome
    nearest: Hit | None
    runner_up: Hit | None


def decide_identify(hits: Sequence[Hit], quality: float, rule: Rule) -> Verdict:
    """Who is it? hits: distinct subjects, best first (kith.similarity.search with k ≥ 2). quality: of the face, 0..1.

    MATCH needs a score of at least the cutoff and a lead of at least the margin; a gallery of one subject has no
    runner-up to lead, there the cutoff alone decides. A face of low quality is never a match and never unknown: an
    answer about it would be about the picture, not the person.
    """
    nearest = hits[0] if hits else None
    runner_up = hits[1] if len(hits) > 1 else None
    if not quality >= rule.min_quality:
        outcome = Outcome.LOW_QUALITY
    elif nearest is not None and nearest.score >= rule.cutoff and _leads(nearest, runner_up, rule.margin):
        outcome = Outcome.MATCH
    else:
        outcome = Outcome.UNKNOWN
    return Verdict(outcome, nearest, runner_up)


def _leads(nearest: Hit, runner_up: Hit | None, margin: float) -> bool:
    return runner_up is None or nearest.score - runner_up.score >= margin


def decide_verify(score: float, rule: Rule, quality: float = 1.0) -> Outcome:
    """Is it the person claimed? score: of that person's best template (kith.similarity.score_subject).

    The margin plays no part: nobody else's templates are looked at.
    """
    if not quality >= rule.min_quality:
        return Outcome.LOW_QUALITY
    return Outcome.MATCH if score >= rule.cutoff else Outcome.UNKNOWN
