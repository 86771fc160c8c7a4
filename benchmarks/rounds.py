"""How contenders are compared: turn by turn in one run, so that whatever else the machine does falls on all of them."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

#: A contender: does its work once and returns what was measured, for instance images/s.
Contender = Callable[[], float]


def interleave(
    contenders: Mapping[str, Contender], rounds: int, progress: Callable[[str], None] = lambda _: None
) -> dict[str, list[float]]:
    """Each contender once per round, `rounds` times. Every other round goes backwards: with A B, B A, A B … a slow
    drift of the machine favours nobody. progress: told who is measured next."""
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in order:
            progress(name)
            measured[name].append(contenders[name]())
    return measured


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of ours ÷ theirs. Of pairs measured moments apart, not of two medians: a noisy
    neighbour who comes and goes changes both numbers of a pair."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` % of them do not exceed: a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def robust_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen): a third of the points may be wild."""
    return statistics.median(
        (y[j] - y[i]) / (x[j] - x[i]) for i in range(len(x)) for j in range(i + 1, len(x)) if x[j] != x[i]
    )


def steady_rate(times_s: Sequence[float], skip: float = 0.2) -> float:
    """Events per second in the middle of a run, its first and last `skip` left out: the slope of the least-squares line
    through (time, count), because events that come in bursts make any two single ones a bad pair of end points."""
    ordered = sorted(times_s)
    cut = int(len(ordered) * skip)
    middle = ordered[cut : len(ordered) - cut]
    return statistics.linear_regression(middle, range(len(middle))).slope
