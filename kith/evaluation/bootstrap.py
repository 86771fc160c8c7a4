"""How far a figure could be off: intervals by resampling identities, refusals where the sample cannot show a rate.

Pictures of one person are not independent samples, people are: each resample draws as many identities as there are,
with replacement, and takes all pictures of each as often as it was drawn (cluster bootstrap). A comparison of two
people counts as often as the product of their draws (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics
2007). Intervals are the 2.5 and 97.5 percentiles.

A rate is refused below 3 / rate trials: zero errors in n of them would only show that it is below 3 / n (95 %).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.intp]
Counts = NDArray[np.float32]

T = TypeVar("T")

RESAMPLES = 1000

#: Fewer people than this say nothing about how much people differ.
LEAST_IDENTITIES = 10

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What stands in place of a figure that the sample is too small for; reason: a sentence for people."""

    reason: str


Figure = Estimate | Refused


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Trials that belong to people. scores: (n,), higher is nearer. people: (n,) the identity of each trial, or (n, 2)
    the two that were compared; codes into the columns of `draw`.
    """

    scores: Floats
    people: Codes

    def sorted(self) -> "Sample":
        """The same trials, highest score first."""
        order = np.argsort(-self.scores, kind="stable")
        return Sample(self.scores[order], self.people[order])

    def weights(self, drawn: Counts) -> Counts:
        """(n,) how often each trial counts in one resample, `drawn` a row of `draw`."""
        if self.people.ndim == 1:
            return drawn[self.people]
        return drawn[self.people[:, 0]] * drawn[self.people[:, 1]]


def draw(random: np.random.Generator, *strata: int, resamples: int = RESAMPLES) -> Counts:
    """(resamples, sum of strata) how often each identity was drawn. Each stratum (enrolled people, strangers) is drawn
    on its own: an evaluation decides how many of each there are, chance does not."""
    parts = []
    for size in strata:
        chosen = random.integers(0, max(size, 1), (resamples, size)) + np.arange(resamples)[:, None] * size
        parts.append(np.bincount(chosen.ravel(), minlength=resamples * size).reshape(resamples, size))
    return np.concatenate(parts, axis=1).astype(np.float32)


def trials_for(rate: float) -> int:
    """How many impostor trials it takes to show `rate`: 3 / rate."""
    return int(np.ceil(3 / rate - 1e-9))


def too_small(rate: float, trials: int, what: str) -> Refused | None:
    """The refusal of `rate` on `trials` impostor comparisons or non-mated searches (`what`); None if they suffice."""
    needed = trials_for(rate)
    if trials >= needed:
        return None
    return Refused(f"{trials:,} {what} cannot show a rate of {percent(rate)}; it takes {needed:,}")


def too_few(identities: int, what: str) -> Refused | None:
    """The refusal of any interval over fewer than LEAST_IDENTITIES people (`what`)."""
    if identities >= LEAST_IDENTITIES:
        return None
    return Refused(f"{identities} {what} are too few to say how much people differ; it takes {LEAST_IDENTITIES}")


def interval(value: float, samples: Floats) -> Estimate:
    """The estimate `value` with the percentiles of its resampled values (b,), of which NaN ones are left out."""
    low, high = (float(end) for end in np.nanpercentile(samples, _PERCENTILES))
    # A skewed statistic can lie outside its own percentiles; an interval that excludes its figure helps nobody.
    return Estimate(value, min(low, value), max(high, value))


def share_interval(value: float, samples: Floats, identities: int) -> Estimate:
    """`interval` of a share over trials of so many `identities`.

    Where nobody failed, no resample fails either, and the percentiles would claim certainty. Then the far end is what
    `identities` people without a failure allow (Clopper and Pearson 1934 at n of n, each person one trial).
    """
    found = interval(value, samples)
    allowed = float(1 - 0.025 ** (1 / identities))
    if found.low == found.high == 1:
        return Estimate(1.0, 1 - allowed, 1.0)
    if found.low == found.high == 0:
        return Estimate(0.0, 0.0, allowed)
    return found


def share(parts: Sequence[Sample], drawn: Counts) -> Figure:
    """The share of trials that succeeded, scores being 0 or 1; the mean over `parts` (galleries that were drawn).

    The resample number b looks at part b mod len(parts): the interval then also covers which gallery it was.
    """
    people = np.unique(np.concatenate([part.people.ravel() for part in parts])) if parts else np.empty(0)
    if refused := too_few(len(people), "people"):
        return refused
    samples = np.full(len(drawn), np.nan)
    for part, row in _turns(parts, len(drawn)):
        weights = part.weights(drawn[row])
        if total := weights.sum(dtype=np.float64):
            samples[row] = (weights @ part.scores.astype(np.float64)) / total
    return share_interval(float(np.mean([part.scores.mean() for part in parts])), samples, len(people))


@dataclass(frozen=True, slots=True)
class AtRate:
    """share: of genuine trials above `cutoff`, where at most `rate` of the impostor ones lies above it."""

    rate: float
    share: Figure
    cutoff: Figure


def at_rates(
    parts: Sequence[tuple[Sample, Sample]], drawn: Counts, rates: Sequence[float], what: str
) -> tuple[AtRate, ...]:
    """Share of genuine trials accepted at each of `rates`: TAR at FAR, or DIR at FPIR.

    parts: (genuine, impostor) of each gallery drawn, see `share`; the impostor trials of each must be as many. what:
    what they are, for refusals. In every resample the cutoff is found anew, so that the interval holds both errors.
    """
    trials = min(len(impostor.scores) for _, impostor in parts)
    people = [len(np.unique(np.concatenate([part[side].people.ravel() for part in parts]))) for side in (0, 1)]
    few = too_few(people[0], "people known") or too_few(people[1], f"people in {what}")
    refused = {rate: few or too_small(rate, trials, what) for rate in rates}
    shown = [rate for rate in rates if not refused[rate]]
    found = {rate: AtRate(rate, refusal, refusal) for rate, refusal in refused.items() if refusal}
    if shown:
        parts = [(genuine.sorted(), impostor.sorted()) for genuine, impostor in parts]
        plain = np.ones(drawn.shape[1], np.float32)
        values = np.mean([_accepted(*part, plain, shown) for part in parts], axis=0)
        samples = np.array([_accepted(*part, drawn[row], shown) for part, row in _turns(parts, len(drawn))])
        for column, rate in enumerate(shown):
            accepted, cutoff = samples[:, :, column].T
            found[rate] = AtRate(
                rate,
                share=share_interval(float(values[0, column]), accepted, people[0]),
                cutoff=interval(float(values[1, column]), cutoff),
            )
    return tuple(found[rate] for rate in rates)


def cutoffs(impostor: Sample, weights: Counts, rates: Sequence[float] | Floats, total: float | None = None) -> Floats:
    """(r,) the lowest score of `impostor` such that at most the share `rate` of its weight lies above; see
    kith.evaluation.verification.cutoff_at_rate. NaN where nothing has weight.

    impostor: highest score first. total: its weight, where only the highest scores are in it.
    """
    passed = np.cumsum(weights, dtype=np.float64)
    total = total if total is not None else passed[-1] if len(passed) else 0.0
    if not total:
        return np.full(len(rates), np.nan)
    # The first score that may not pass; the tolerance is that of cutoff_at_rate.
    first = np.searchsorted(passed, np.asarray(rates) * total + 1e-9, side="right")
    scores: Floats = impostor.scores[np.minimum(first, len(passed) - 1)]
    return scores


def _accepted(genuine: Sample, impostor: Sample, drawn: Counts, rates: Sequence[float]) -> Floats:
    """(2, r): shares accepted, and cutoffs, of one resample; both samples highest score first."""
    cut = cutoffs(impostor, impostor.weights(drawn), rates)
    taken = np.concatenate([[0.0], np.cumsum(genuine.weights(drawn), dtype=np.float64)])
    above = np.searchsorted(-genuine.scores, -cut, side="left")
    accepted = taken[above] / taken[-1] if taken[-1] else np.full(len(cut), np.nan)
    return np.stack([np.where(np.isnan(cut), np.nan, accepted), cut])


def _turns(parts: Sequence[T], resamples: int) -> Iterator[tuple[T, int]]:
    return ((parts[row % len(parts)], row) for row in range(resamples))


def percent(rate: float) -> str:
    """`0.1 %`: a rate as people write it; `1 in 2,000,000` where it is very small."""
    return f"1 in {1 / rate:,.0f}" if 0 < rate < 1e-6 else f"{100 * rate:.3g} %"
