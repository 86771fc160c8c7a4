"""A cutoff from non-mated searches that were made at several sizes, of people seen several times, some of them chosen.

Four things keep the searches of a site from being a plain sample, and each is undone here.

- Sizes. Each search was made in the gallery as it was, and the rate is to hold in a larger one. Whoever is named among
  M subjects is, in a part of N of them drawn at random, named with a chance of N / M at least, for that often the one
  he is taken for is in it. So FPIR(M) ≤ M / N · FPIR(N) (the union bound): of searches among N only N / M of the rate
  may exceed the cutoff. That supposes nothing of how alike subjects are, only that those to come are like those who
  are there; FPIR(N) = 1 − (1 − FMR)^N, which takes them for independent, would allow as much or more. A search among
  more counts as it is.
- Groups. Frames of one track are one person in one light. A group weighs as one search, however many frames it has, and
  resamples draw groups, not searches (cluster bootstrap, see kith.evaluation.bootstrap).
- Objections. "Not this person" is said of answers that named somebody: these searches lie above the cutoff because they
  were chosen there, and of how often that happens they say nothing. So they tell only how the scores above that cutoff
  lie; how many there are is taken from the searches that were picked whatever their answer (post-stratification). Where
  those know of none, it counts as one. Whatever comes of it, objections never lower a cutoff.
- Numbers. A rate is refused where fewer than three searches may exceed the cutoff: zero errors in n searches bound the
  rate by 3 / n only. And the next stranger is one of a row of n + 1, whose place in it is left to chance: he is counted
  as one who exceeds the cutoff, or on average more would than the rate says (Vovk, Gammerman, Shafer, "Algorithmic
  Learning in a Random World", 2005). So is, for the upper end of the interval, one group more, drawn as often as chance
  has it: else no cutoff could lie above the highest score that happened to be seen (for counts, the interval of Garwood
  1936). Where the searches are so few that it may, the interval ends at 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import Estimate, Figure, Refused, percent, trials_for

Floats = NDArray[np.float64]

#: Resamples made at once, so that they take little memory.
_AT_ONCE = 50
#: How much more of the highest scores is kept than may exceed the cutoff: resamples differ in how much they draw.
_TAIL_MARGIN = 8

#: The cosine of equal vectors.
_HIGHEST = 1.0

#: Zero of so many expected exceptions bound a rate by that rate (95 %).
_LEAST_EXPECTED = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """Non-mated searches, (n,) each. scores: of the nearest subject. groups: whom or which track each is of. weights:
    how much each counts. shares: the part N / M, 1 at most, of the gallery a cutoff is sought for that each was made
    among. chosen: looked at because of the answer.

    chosen_above: the highest cutoff at which one was chosen; above it all of them could have been.
    """

    scores: Floats
    groups: NDArray[Any]
    weights: Floats
    shares: Floats
    chosen: NDArray[np.bool_]
    chosen_above: float = np.inf

    def __add__(self, other: "Searches") -> "Searches":
        # Without objections there is no limit; of two limits the higher one is right for both.
        limits = [each.chosen_above for each in (self, other) if each.chosen.any()]
        return Searches(
            scores=np.concatenate([self.scores, other.scores]),
            groups=np.concatenate([self.groups, other.groups]),
            weights=np.concatenate([self.weights, other.weights]),
            shares=np.concatenate([self.shares, other.shares]),
            chosen=np.concatenate([self.chosen, other.chosen]),
            chosen_above=max(limits, default=np.inf),
        )

    @property
    def independent(self) -> float:
        """How many searches those that were not chosen are worth."""
        return float(self.weights[~self.chosen].sum())

    @property
    def worth(self) -> Floats:
        """(n,) how many searches in the gallery that the cutoff is sought for each is worth; 0 for those chosen."""
        return np.where(self.chosen, 0.0, self.weights * self.shares)


def cutoff_of(searches: Searches, fpir: float, random: np.random.Generator) -> Figure:
    """The lowest score that has at most the rate `fpir`, with the 95 % interval of the one that has exactly that rate;
    or why the searches cannot show it."""
    codes = np.unique(searches.groups, return_inverse=True)[1]
    worth = float(searches.worth.sum())
    refused = _too_few(searches, codes, fpir, fpir * worth)
    if refused is not None:
        return refused
    tail = _Tail.of(searches, codes, fpir)
    groups = len(tail.allowed)
    value = float(tail.cutoffs(np.ones((1, groups), np.float32), 1 - fpir)[0])
    ends = []
    for _ in range(0, bootstrap.RESAMPLES, _AT_ONCE):
        drawn = bootstrap.draw(random, groups + 1, resamples=_AT_ONCE)
        known, next_one = drawn[:, :groups], drawn[:, groups] * searches.independent / groups
        ends.append((tail.cutoffs(known), tail.cutoffs(known, next_one)))
    low, high = (np.concatenate(each) for each in zip(*ends, strict=True))
    return Estimate(value, bootstrap.interval(value, low).low, bootstrap.interval(value, high).high)


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
    def of(cls, searches: Searches, codes: NDArray[np.intp], fpir: float) -> "_Tail":
        limit = searches.chosen_above if searches.chosen.any() else np.inf
        above, counted = searches.scores >= limit, ~searches.chosen
        allowed, known, pool = (
            np.bincount(codes[rows], weights[rows], minlength=int(codes.max()) + 1).astype(np.float64)
            for rows, weights in (
                (counted, fpir * searches.worth),
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

    def cutoffs(self, drawn: bootstrap.Counts, unseen: float | Floats = 0.0) -> Floats:
        """(b,) the first score that may not pass, in resamples `drawn` (b, g); NaN where nothing was drawn. unseen: so
        much exceeds it besides."""
        allowed, known, pool = (drawn @ each for each in (self.allowed, self.known, self.pool))
        weights = self.weights * drawn[:, self.codes]
        left = allowed - unseen
        found = self._first(np.where(self.chosen, 0.0, weights), left)
        if self.chosen.any():
            share = np.divide(np.maximum(known, 1.0), pool, out=np.ones(len(drawn)), where=pool > 0)
            weights[:, self.above] *= share[:, None]
            found = np.maximum(found, self._first(weights, left))
        return np.where(allowed > 0, found, np.nan)

    def _first(self, weights: Floats, allowed: Floats) -> Floats:
        # Weights are fractions where a group has several searches; the tolerance is far below the smallest of them.
        first = (np.cumsum(weights, axis=1) <= allowed[:, None] + 1e-6).sum(axis=1)
        found: Floats = self.scores[np.minimum(first, len(self.scores) - 1)]
        # Where not even the highest may pass, no score that was seen is high enough.
        return np.where(allowed < -1e-6, _HIGHEST, found)


def _too_few(searches: Searches, codes: NDArray[np.intp], fpir: float, expected: float) -> Refused | None:
    people = len(np.unique(codes[~searches.chosen]))
    if expected < _LEAST_EXPECTED - 1e-9:
        independent = searches.independent
        # More of the kind at hand; where there are none, searches in such a gallery.
        needed = int(np.ceil(_LEAST_EXPECTED * independent / expected - 1e-9)) if expected else trials_for(fpir)
        return Refused(
            f"{independent:,.0f} independent non-mated searches cannot show a rate of {percent(fpir)}; "
            f"it takes {needed:,}"
        )
    return bootstrap.too_few(people, "people")
