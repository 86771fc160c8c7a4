"""Are these two faces one person? The two standard answers over labelled pairs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


def pair_scores(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row of `left` with the same row of `right`, both (n, d) unit rows: (n,)."""
    scores: NDArray[np.float64] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    return scores


def fold_accuracies(scores: Scores, same: Flags, folds: NDArray[Any]) -> NDArray[np.float64]:
    """Accuracy on each fold at the cutoff that is best on all others, in the order of the folds' sorted labels.

    The protocol of Labeled Faces in the Wild (Huang et al. 2007, view 2), whose headline number is the mean. scores:
    (n,) similarities, same: (n,) whether a pair shows one person, folds: (n,) labels. Raises ValueError for columns of
    different lengths or fewer than two folds.
    """
    right = held_out(scores, same, folds)
    return np.array([right[folds == name].mean() for name in np.unique(folds)])


def held_out(scores: Scores, same: Flags, folds: NDArray[Any]) -> Flags:
    """(n,) whether each pair is answered rightly at the cutoff that is best on all folds but its own.

    See `fold_accuracies`. Raises ValueError for columns of different lengths or fewer than two folds.
    """
    _check(scores, same, folds)
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError("cross-validation needs at least two folds")
    right = np.empty(len(scores), bool)
    for name in names:
        mine = folds == name
        right[mine] = (scores[mine] >= best_cutoff(scores[~mine], same[~mine])) == same[mine]
    return right


def best_cutoff(scores: Scores, same: Flags) -> float:
    """The cutoff with the most correct answers, where a pair at or above it is called the same person.

    It lies midway between two neighbouring scores, or 1 beyond the outermost. Of several equally good ones it is the
    middle one: at the rim of a plateau the next pair from elsewhere would fall off.
    """
    _check(scores, same)
    distinct = np.unique(scores)
    cutoffs = np.concatenate([distinct[:1] - 1, (distinct[1:] + distinct[:-1]) / 2, distinct[-1:] + 1])
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    accepted = len(genuine) - np.searchsorted(genuine, cutoffs)
    refused = np.searchsorted(impostor, cutoffs)
    correct = accepted + refused
    best = np.flatnonzero(correct == correct.max())
    return float(cutoffs[best[len(best) // 2]])


def tar_at_far(scores: Scores, same: Flags, far: float) -> tuple[float, float]:
    """(true accept rate, cutoff) at a false accept rate of at most `far`; a pair *above* the cutoff is accepted.

    The cutoff is the highest impostor score that must be refused, nothing is interpolated. Raises ValueError when there
    are no genuine pairs, or fewer than 1 / `far` impostor pairs: such a rate cannot be seen in so few.
    """
    _check(scores, same)
    genuine, impostor = scores[same], scores[~same]
    if not len(genuine):
        raise ValueError("there are no genuine pairs")
    cutoff = cutoff_at_rate(impostor, far)
    return float((genuine > cutoff).mean()), cutoff


def cutoff_at_rate(impostor: Scores, rate: float) -> float:
    """The lowest score of `impostor` (n,) such that at most the share `rate` of them lies above it.

    Raises ValueError unless 1 / n ≤ `rate` < 1.
    """
    # The tolerance: 0.01 · 700 is 7.000000000000001 in one product and 6.999999999999999 in another.
    allowed = int(np.floor(rate * len(impostor) + 1e-9))
    if not 1 <= allowed < len(impostor):
        raise ValueError(f"a rate of {rate:g} cannot be measured on {len(impostor)} impostor scores")
    return float(np.partition(impostor, len(impostor) - 1 - allowed)[len(impostor) - 1 - allowed])


def _check(scores: Scores, *columns: NDArray[Any]) -> None:
    if scores.ndim != 1 or not len(scores) or any(column.shape != scores.shape for column in columns):
        raise ValueError(f"columns of one length are needed, got {[scores.shape, *(c.shape for c in columns)]}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
