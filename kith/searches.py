"""A cutoff from non-mated searches that were made at several sizes, of people seen several times, some of them chosen.

Four things keep the searches of a site from being a plain sample, and each is undone here.

- Sizes. Each search was made in the gallery as it was. With FMR the share of comparisons that reach the cutoff, a
  search among N subjects exceeds it with 1 − (1 − FMR)^N; the target at today's size gives FMR, and FMR gives how many
  of the searches may exceed the cutoff. Where all sizes are today's this is the plain quantile.
- Groups. Frames of one track are one person in one light. A group weighs as one search, however many frames it has, and
  resamples draw groups, not searches (cluster bootstrap, see kith.evaluation.bootstrap).
- Objections. "Not this person" is said of answers that named somebody: these searches lie above the cutoff because they
  were chosen there, and of how often that happens they say nothing. So they tell only how the scores above that cutoff
  lie; how many there are is taken from the searches that were picked whatever their answer (post-stratification). Where
  those know of none, it counts as one. Whatever comes of it, objections never lower a cutoff.
- Numbers. A rate is refused where fewer than three searches may exceed the cutoff: zero errors in n searches bound the
  rate by 3 / n only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.calibration import rate_by_rule
from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import LEAST_IDENTITIES, Figure, Refused

Floats = NDArray[np.float64]

#: Resamples made at once, so that they take little memory.
_AT_ONCE = 50
#: How much more of the highest scores is kept than may exceed the cutoff: resamples differ in how much they draw.
_TAIL_MARGIN = 8

#: Zero of so many expected exceptions bound a rate by that rate (95 %).
_LEAST_EXPECTED = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """Non-mated searches, (n,) each. scores: of the nearest subject. groups: whom or which track each is of. weights:
    how much each counts. subjects: how many there were to search among. chosen: looked at because of the answer.

    chosen_above: the highest cutoff at which one was chosen; above it all of them could have been.
    """

    scores: Floats
    groups: NDArray[Any]
    weights: Floats
    subjects: Floats
    chosen: NDArray[np.bool_]
    chosen_above: float = np.inf

    def __add__(self, other: "Searches") -> "Searches":
        # Without objections there is no limit; of two limits the higher one is right for both.
        limits = [each.chosen_above for each in (self, other) if each.chosen.any()]
        return Searches(
            scores=np.concatenate([self.scores, other.scores]),
            groups=np.concatenate([self.groups, other.groups]),
            weights=np.concatenate([self.weights, other.weights]),
            subjects=np.concatenate([self.subjects, other.subjects]),
            chosen=np.concatenate([self.chosen, other.chosen]),
            chosen_above=max(limits, default=np.inf),
        )

    @property
    def independent(self) -> float:
        """How many searches those that were not chosen are worth."""
        return float(self.weights[~self.chosen].sum())

    def expected(self, fpir: float, subjects: int) -> Floats:
        """(n,) how likely each exceeds the cutoff that has the rate `fpir` among `subjects`."""
        chances: Floats = -np.expm1(self.subjects * np.log1p(-rate_by_rule(fpir, max(subjects, 1))))
        return chances


def cutoff_of(searches: Searches, fpir: float, subjects: int, random: np.random.Generator) -> Figure:
    """The lowest score that has at most the rate `fpir` in a gallery of `subjects`, with its 95 % interval; or why the
    searches cannot show it."""
    codes = np.unique(searches.groups, return_inverse=True)[1]
    expected = searches.expected(fpir, subjects) * searches.weights
    refused = _too_few(searches, codes, float(expected[~searches.chosen].sum()), fpir, subjects)
    if refused is not None:
        return refused
    tail = _Tail.of(searches, codes, expected)
    value = float(tail.cutoffs(np.ones((1, len(tail.allowed)), np.float32))[0])
    parts = range(0, bootstrap.RESAMPLES, _AT_ONCE)
    drawn = (bootstrap.draw(random, len(tail.allowed), resamples=_AT_ONCE) for _ in parts)
    return bootstrap.interval(value, np.concatenate([tail.cutoffs(each) for each in drawn]))


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """What resamples of groups need of the searches. allowed, known, pool: (g,) of each group, how much of it may
    exceed the cutoff; lies above the limit of the objections and was not chosen; lies above it at all.

    scores, codes, weights, chosen, above: (k,) of the highest scores, highest first; above: above that limit.
    """

    allowed: Floats
    known: Floats
    pool: Floats
    scores: Floats
    codes: NDArray[np.intp]
    weights: Floats
    chosen: NDArray[np.bool_]
    above: NDArray[np.bool_]

    @classmethod
    def of(cls, searches: Searches, codes: NDArray[np.intp], expected: Floats) -> "_Tail":
        limit = searches.chosen_above if searches.chosen.any() else np.inf
        above, counted = searches.scores >= limit, ~searches.chosen
        allowed, known, pool = (
            np.bincount(codes[rows], weights[rows], minlength=int(codes.max()) + 1).astype(np.float64)
            for rows, weights in (
                (counted, expected),
                (counted & above, searches.weights),
                (above, searches.weights),
            )
        )
        # Objections below the limit: of those the others at that height, which nobody objected to, are not known.
        used = np.flatnonzero(counted | above)
        order = used[np.argsort(-searches.scores[used], kind="stable")]
        most = _TAIL_MARGIN * allowed.sum() + pool.sum() + _TAIL_MARGIN
        order = order[: int(np.searchsorted(np.cumsum(searches.weights[order]), most)) + 1]
        return cls(
            allowed=allowed,
            known=known,
            pool=pool,
            scores=searches.scores[order],
            codes=codes[order],
            weights=searches.weights[order],
            chosen=searches.chosen[order],
            above=above[order],
        )

    def cutoffs(self, drawn: bootstrap.Counts) -> Floats:
        """(b,) the first score that may not pass, in resamples `drawn` (b, g); NaN where nothing was drawn."""
        allowed, known, pool = (drawn @ each for each in (self.allowed, self.known, self.pool))
        weights = self.weights * drawn[:, self.codes]
        found = self._first(np.where(self.chosen, 0.0, weights), allowed)
        if self.chosen.any():
            share = np.divide(np.maximum(known, 1.0), pool, out=np.ones(len(drawn)), where=pool > 0)
            weights[:, self.above] *= share[:, None]
            found = np.maximum(found, self._first(weights, allowed))
        return np.where(allowed > 0, found, np.nan)

    def _first(self, weights: Floats, allowed: Floats) -> Floats:
        # Weights are fractions where a group has several searches; the tolerance is far below the smallest of them.
        first = (np.cumsum(weights, axis=1) <= allowed[:, None] + 1e-6).sum(axis=1)
        found: Floats = self.scores[np.minimum(first, len(self.scores) - 1)]
        return found


def _too_few(
    searches: Searches, codes: NDArray[np.intp], expected: float, fpir: float, subjects: int
) -> Refused | None:
    people = len(np.unique(codes[~searches.chosen]))
    rate = bootstrap.percent(fpir)
    if expected < _LEAST_EXPECTED - 1e-9:
        worth = searches.independent
        # More of the kind at hand; where there are none, searches at today's size.
        needed = int(np.ceil(_LEAST_EXPECTED * worth / expected - 1e-9)) if expected else bootstrap.trials_for(fpir)
        return Refused(
            f"{worth:,.0f} independent non-mated searches cannot show a rate of {rate} among {subjects:,} subjects; "
            f"it takes {needed:,}"
        )
    if people < LEAST_IDENTITIES:
        return Refused(f"{people} people are too few to say how much people differ; it takes {LEAST_IDENTITIES}")
    return None
