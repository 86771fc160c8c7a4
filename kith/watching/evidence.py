"""What the crops of a track, or of a visit, say together about who it is.

The crops make one template, their mean weighted by quality, and its score is what counts. That is template pooling as
in the IJB-A and IJB-C protocols (Klare et al. 2015, Maze et al. 2018), with quality as the weight (Liu, Yan and Ouyang,
"Quality Aware Network for Set to Set Recognition", 2017; here the weight is kith.quality instead of a learned one):

    pooled      p = Σ wᵢ vᵢ / |Σ wᵢ vᵢ|              wᵢ the quality of crop i, vᵢ its unit vector
    score       p · t = Σ wᵢ (vᵢ · t) / |Σ wᵢ vᵢ|     for the template t of a subject

So the pooled score follows from the crops' own scores, which are in their decisions, and the length of a sum: nobody
searches the gallery again. It is exact where the same template of the subject was the nearest in each crop, and too
high by little where it was not. A decision names two subjects only; for a crop that names others the score of a subject
is at most that of the second one, and is taken as that. It can flatter a subject only in crops that spoke for somebody
else, and those count against it by their votes.

A subject is named when `watch.confirm_crops` crops match it each by itself, one of them of quality, and the pooled
score reaches the cutoff; or when so many crops of quality are nearest to it, hardly any to another, and the pooled
score is `watch.slack` above the cutoff, though each by itself may be below: that is what pooling is for; or by a single
crop of quality that is `watch.clear_lead` above it. Of all subjects that some crop matches it must have the most votes
and the highest pooled score, alone. One blurred crop never names anybody.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kith.jobs import Finite
from kith.settings import Watch
from kith.watching.news import Sighted
from kith.watching.tally import Crop, Tally, added_up, counted, crop_of

Vector = NDArray[np.float32]

#: Crops that an event shows, the best ones.
MAX_KEPT = 12
#: One crop in so many may be near somebody by mistake: that many searches are expected to.
_STRAY = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """score: the pooled one. how: `crops` (several agree) or `clear` (one was far above the cutoff)."""

    subject: str
    subject_id: str | None
    score: float
    how: Literal["crops", "clear"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sums. crops: how many; good: those of quality. weight: Σ w; length: |Σ w v|; beyond: Σ w·runner-up's score.
    kept: the best crops, in order of time. The vector Σ w v itself stands beside it, see `added`."""

    model_id: str | None = None
    cutoff: Finite | None = None
    crops: int = 0
    good: int = 0
    weight: Finite = 0.0
    length: Finite = 0.0
    beyond: Finite = 0.0
    tallies: tuple[Tally, ...] = ()
    kept: tuple[Crop, ...] = ()

    def pooled(self, tally: Tally) -> float:
        """The score of the pooled template for this subject; −1 where there is no template."""
        if self.length <= 0:
            return -1.0
        # Crops that are each nearest to another template of the subject add up to more than any cosine is.
        return min(1.0, (tally.scores + self.beyond - tally.beyond) / self.length)

    def nearest(self) -> tuple[Tally, float] | None:
        """The subject of the highest pooled score, and that."""
        found = max(((self.pooled(each), each.votes, -place) for place, each in enumerate(self.tallies)), default=None)
        return None if found is None else (self.tallies[-found[2]], found[0])

    def foremost(self) -> Tally | None:
        """The subject that most crops match by themselves."""
        found = max(self.tallies, key=lambda tally: (tally.votes, self.pooled(tally)), default=None)
        return found if found is not None and found.votes else None

    def score_of(self, subject: str | None, subject_id: str | None) -> float:
        """The pooled score for somebody; −1 where no crop spoke for them."""
        return max((self.pooled(each) for each in self.tallies if each.is_of(subject, subject_id)), default=-1.0)

    def named(self, rule: Watch) -> Verdict | None:
        """Whom the crops name; see the module."""
        if self.cutoff is None:
            return None
        for tally in self.tallies:
            score = self.pooled(tally)
            rivals = [other for other in self.tallies if other is not tally and other.votes]
            if not score >= self.cutoff or any(
                other.votes >= tally.votes or self.pooled(other) >= score for other in rivals
            ):
                continue
            if tally.votes >= rule.confirm_crops and tally.good:
                return Verdict(tally.subject, tally.subject_id, score, "crops")
            if self._agree(tally, rule) and score >= self.cutoff + rule.slack:
                return Verdict(tally.subject, tally.subject_id, score, "crops")
            if tally.best >= self.cutoff + rule.clear_lead:
                return Verdict(tally.subject, tally.subject_id, score, "clear")
        return None

    def _agree(self, tally: Tally, rule: Watch) -> bool:
        """Whether enough crops of quality are nearest to this subject, all but one in `_STRAY`, and no other scores
        higher."""
        many = tally.firsts >= rule.confirm_crops and (self.good - tally.firsts) * _STRAY <= self.good
        nearest = self.nearest()
        return many and nearest is not None and nearest[0] is tally

    def nobody_known(self, rule: Watch) -> bool:
        """Whether it is clearly nobody of the gallery: `watch.stranger_crops` of quality, not one in `_STRAY` a match,
        and the pooled score is below the cutoff by `watch.slack`."""
        return self.good >= rule.stranger_crops and self.unlike_all(rule)

    def unlike_all(self, rule: Watch) -> bool:
        """Whether nothing speaks for anybody of the gallery: hardly a crop matches, and the pooled score is too low."""
        best, foremost = self.nearest(), self.foremost()
        if foremost is not None and foremost.votes * _STRAY > self.crops:
            return False
        return best is None or self.cutoff is None or best[1] < self.cutoff - rule.slack


#: Where nothing was seen yet.
NOTHING = Evidence()


def added(
    evidence: Evidence, total: Vector | None, news: Sighted, vector: Vector, rule: Watch
) -> tuple[Evidence, Vector]:
    """The evidence with one more crop, and Σ w v. vector: unit, float32 (d,).

    A crop of another model begins anew: neither its vector nor its scores can be added to those of this one.
    """
    if total is None or evidence.model_id != news.model_id:
        evidence, total = Evidence(model_id=news.model_id), np.zeros_like(vector)
    crop, good = crop_of(news), news.quality >= rule.min_quality
    total = total + np.float32(crop.weight) * vector
    return (
        replace(
            evidence,
            cutoff=news.cutoff if news.cutoff is not None else evidence.cutoff,
            crops=evidence.crops + 1,
            good=evidence.good + good,
            weight=evidence.weight + crop.weight,
            length=float(np.linalg.norm(total)),
            beyond=evidence.beyond + crop.weight * crop.beyond,
            tallies=counted(evidence.tallies, crop, good),
            kept=_best((*evidence.kept, crop)),
        ),
        total,
    )


def together(one: Evidence, its: Vector | None, other: Evidence, others: Vector | None) -> tuple[Evidence, Vector]:
    """Both as one. Of another model than `other`, `one` counts no more."""
    assert others is not None
    if its is None or one.model_id != other.model_id:
        return other, others
    total = its + others
    return (
        replace(
            one,
            cutoff=other.cutoff if other.cutoff is not None else one.cutoff,
            crops=one.crops + other.crops,
            good=one.good + other.good,
            weight=one.weight + other.weight,
            length=float(np.linalg.norm(total)),
            beyond=one.beyond + other.beyond,
            tallies=added_up(one.tallies, other.tallies),
            kept=_best((*one.kept, *other.kept)),
        ),
        total,
    )


def _best(crops: Iterable[Crop]) -> tuple[Crop, ...]:
    best = sorted(crops, key=lambda crop: crop.quality, reverse=True)[:MAX_KEPT]
    return tuple(sorted(best, key=lambda crop: (crop.at_ms, crop.decision_id)))
