"""ROC and DET: the share of genuine trials accepted, or missed, at every rate that the sample can show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kith.evaluation.bootstrap import AtRate, Counts, Estimate, Refused, Sample, at_rates

#: Points of a curve, evenly spaced in the logarithm of the rate.
_POINTS = 25


@dataclass(frozen=True, slots=True)
class Curve:
    """accepted: the share of genuine trials above the cutoff of each of `rates`, with its interval.

    Over FAR this is the ROC; 1 − accepted over FPIR the DET (FNIR over FPIR).
    """

    rates: tuple[float, ...]
    accepted: tuple[Estimate, ...]


def at_rates_with_curve(
    parts: Sequence[tuple[Sample, Sample]], drawn: Counts, rates: Sequence[float], what: str
) -> tuple[tuple[AtRate, ...], Curve | Refused]:
    """kith.evaluation.bootstrap.at_rates, and the curve from the lowest rate that `parts` can show up to 1/2, which
    shares its resamples."""
    trials = min(len(impostor.scores) for _, impostor in parts)
    lowest = 3 / max(trials, 1)
    if lowest >= 0.5:
        return at_rates(parts, drawn, rates, what), Refused(f"{trials} {what} are too few for a curve")
    grid = np.geomspace(lowest, 0.5, _POINTS)
    grid[0] *= 1 + 1e-9  # 3 / n may round to just below what n can show
    found = at_rates(parts, drawn, [*rates, *grid.tolist()], what)
    points, shown = found[len(rates) :], list[tuple[float, Estimate]]()
    for point in points:
        if isinstance(point.share, Refused):
            return found[: len(rates)], point.share
        shown.append((point.rate, point.share))
    return found[: len(rates)], Curve(tuple(rate for rate, _ in shown), tuple(share for _, share in shown))
