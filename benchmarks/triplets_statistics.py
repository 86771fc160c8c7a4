"""Which of two methods is better, and whether a few runs show it: paired differences over seeds.

A seed fixes the network's first weights, the batches and who is enrolled for both methods of a pair; what is common to
them falls out of the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Differences are called real where chance alone would show one in fewer than this share of such studies.
LEVEL = 0.05

#: Method → its figure under each seed, in the order of the seeds.
Runs = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better `method` is than `peer`: the mean over seeds, half the width of its 95 % interval (Student's t of
    the pairs), in how many of the seeds it was better, and the p value after Holm's correction."""

    method: str
    peer: str
    mean: float
    half_width: float
    better: int
    seeds: int
    p: float

    @property
    def real(self) -> bool:
        """Whether chance is no good explanation."""
        return self.p < LEVEL

    def __str__(self) -> str:
        word = "worse" if self.mean < 0 else "better"
        verdict = "real" if self.real else "not shown"
        return (
            f"{self.method} is {abs(self.mean):.3f} ± {self.half_width:.3f} {word} than {self.peer} "
            f"(better in {self.better} of {self.seeds} seeds): {verdict}"
        )


def differences(runs: Runs, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """The difference of each (method, peer) of `pairs`. With a single seed there is no interval and nothing is real."""
    found = [_difference(method, peer, runs[method], runs[peer]) for method, peer in pairs]
    corrected = holm([each.p for each in found])
    return [
        Difference(each.method, each.peer, each.mean, each.half_width, each.better, each.seeds, p)
        for each, p in zip(found, corrected, strict=True)
    ]


def holm(values: Sequence[float]) -> list[float]:
    """p values of one family of tests, corrected for their number (Holm 1979)."""
    order = np.argsort(values)
    raised = np.array([values[at] * (len(values) - place) for place, at in enumerate(order)])
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return [float(p) for p in corrected]


def spread(values: Sequence[float]) -> float:
    """Standard deviation over seeds; 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _difference(method: str, peer: str, ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    # Comes with scikit-learn, and is slow to load.
    from scipy import stats  # type: ignore[import-untyped]  # noqa: PLC0415

    gaps = np.subtract(ours, theirs)
    count, mean = len(gaps), float(gaps.mean())
    error = spread(gaps.tolist()) / count**0.5
    better = int((gaps > 0).sum())
    if count < 2:
        return Difference(method, peer, mean, float("inf"), better, count, 1.0)
    if error == 0:
        return Difference(method, peer, mean, 0.0, better, count, 1.0 if mean == 0 else 0.0)
    half_width = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * error
    return Difference(
        method, peer, mean, half_width, better, count, 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    )
