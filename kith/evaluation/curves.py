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


def curve(parts: Sequence[tuple[Sample, Sample]], drawn: Counts, what: str) -> Curve | Refused:
    """The curve of `parts` (see kith.evaluation.bootstrap.at_rates) from the lowest rate they can show up to 1/2."""
    trials = min(len(impostor.scores) for _, impostor in parts)
    lowest = 3 / max(trials, 1)
    if lowest >= 0.5:
        return Refused(f"{trials} {what} are too few for a curve")
    rates = np.geomspace(lowest, 0.5, _POINTS)
    rates[0] *= 1 + 1e-9  # 3 / n may round to just below what n can show
    points: tuple[AtRate, ...] = at_rates(parts, drawn, rates.tolist(), what)
    shown = [point for point in points if isinstance(point.share, Estimate)]
    if not shown:
        share = points[-1].share
        return share if isinstance(share, Refused) else Refused(what)
    return Curve(
        tuple(point.rate for point in shown),
        tuple(point.share for point in shown if isinstance(point.share, Estimate)),
    )
