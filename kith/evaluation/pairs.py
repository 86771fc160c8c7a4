"""Verification of a set of embeddings over pairs of pictures: given ones, drawn ones, or all there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import AtRate, Figure, Refused, Sample
from kith.evaluation.curves import Curve, at_rates_with_curve
from kith.evaluation.open_set import Labels, Vectors
from kith.evaluation.verification import held_out, pair_scores

FARS = (1e-2, 1e-3, 1e-4)

#: What the trials are called in refusals.
COMPARISONS = "impostor comparisons"

#: Folds of pairs that were drawn, as many as LFW has.
_FOLDS = 10
#: Genuine pairs drawn of one identity: a person with many pictures must not be most of the figure.
_PER_IDENTITY = 10
#: Comparisons of everybody with everybody beyond which a part is drawn; bounds memory and the time of resampling.
MOST_COMPARISONS = 300_000

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Rows of a set of pictures that are compared, (n,) each: left with right, whether they show the same person, and
    the fold each pair is in; None where accuracy has no meaning because nobody balanced the pairs."""

    left: Rows
    right: Rows
    same: NDArray[np.bool_]
    folds: NDArray[np.intp] | None


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """accuracy: mean over the folds, each at the cutoff that is best on the others (LFW, view 2). at: TAR and cutoff at
    each FAR. genuine, impostor: their scores, for histograms."""

    accuracy: Figure | None
    at: tuple[AtRate, ...]
    roc: Curve | Refused
    folds: int
    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]


def verify(
    vectors: Vectors, labels: Labels, pairs: Pairs, random: np.random.Generator, fars: Sequence[float] = FARS
) -> Verification:
    """The figures over `pairs` of rows of `vectors` (n, d), unit, whose identities are `labels` (n,).

    Raises ValueError when there are no genuine or no impostor pairs, or fewer than two folds.
    """
    scores = pair_scores(vectors[pairs.left], vectors[pairs.right])
    same = pairs.same
    if not same.any() or same.all():
        raise ValueError(f"of {len(same)} pairs {int(same.sum())} show one person; it takes some of both kinds")
    codes = np.unique(labels, return_inverse=True)[1]
    drawn = bootstrap.draw(random, int(codes.max()) + 1)
    one, other = codes[pairs.left], codes[pairs.right]
    genuine = Sample(scores[same], one[same])
    impostor = Sample(scores[~same], np.stack([one[~same], other[~same]], axis=1))
    at, roc = at_rates_with_curve([(genuine, impostor)], drawn, fars, COMPARISONS)
    return Verification(
        accuracy=None if pairs.folds is None else _accuracy(scores, same, pairs.folds, one, other, drawn),
        at=at,
        roc=roc,
        folds=0 if pairs.folds is None else len(np.unique(pairs.folds)),
        genuine=scores[same],
        impostor=scores[~same],
    )


def draw_pairs(labels: Labels, random: np.random.Generator) -> Pairs:
    """As many impostor as genuine pairs in folds of different identities, after LFW.

    labels: (n,) identities. Up to 10 genuine pairs of each; both pictures of an impostor pair come from the same fold,
    so that no identity helps to choose the cutoff it is judged by. Empty when nobody has two pictures.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    fold_of = random.permutation(int(codes.max(initial=-1)) + 1) % _FOLDS
    left, right, same, folds = [], [], [], []
    for fold in range(_FOLDS):
        rows = np.flatnonzero(fold_of[codes] == fold)
        genuine = _genuine(rows, codes, random, _PER_IDENTITY)
        impostor = _impostor(rows, codes, random, len(genuine))
        # Balanced also where few identities give few impostors.
        genuine = genuine[: len(impostor)]
        both = np.concatenate([genuine, impostor])
        left.append(both[:, 0])
        right.append(both[:, 1])
        same.append(np.arange(len(both)) < len(genuine))
        folds.append(np.full(len(both), fold))
    return Pairs(np.concatenate(left), np.concatenate(right), np.concatenate(same), np.concatenate(folds))


def all_comparisons(labels: Labels, random: np.random.Generator, most: int = MOST_COMPARISONS) -> Pairs:
    """Every picture with every other one; of more than `most` impostor or genuine pairs that many are drawn."""
    codes = np.unique(labels, return_inverse=True)[1]
    rows = np.arange(len(codes))
    genuine = _genuine(rows, codes, random, most)
    genuine = genuine[np.sort(random.permutation(len(genuine))[:most])]
    impostor = _impostor(rows, codes, random, most)
    both = np.concatenate([genuine, impostor])
    return Pairs(both[:, 0], both[:, 1], np.arange(len(both)) < len(genuine), None)


def _genuine(rows: Rows, codes: Rows, random: np.random.Generator, per_identity: int) -> Rows:
    """(n, 2) pairs of `rows` with equal codes, up to `per_identity` of each, in random order."""
    found = [np.empty((0, 2), np.intp)]
    rows = rows[np.argsort(codes[rows], kind="stable")]
    for mine in np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1):
        upper = np.stack(np.triu_indices(len(mine), 1), axis=1)
        found.append(mine[upper[random.permutation(len(upper))[:per_identity]]])
    pairs = np.concatenate(found)
    shuffled: Rows = pairs[random.permutation(len(pairs))]
    return shuffled


def _impostor(rows: Rows, codes: Rows, random: np.random.Generator, wanted: int) -> Rows:
    """(n, 2) different pairs of `rows` with different codes, `wanted` of them or all there are, in random order."""
    count = len(rows)
    total = count * (count - 1) // 2
    if total <= 2 * wanted:
        both = np.stack(np.triu_indices(count, 1), axis=1)
    else:
        # Less the repeated ones and those of one person, enough are left unless most pictures are of one.
        both = np.unique(np.sort(random.integers(0, count, (4 * wanted, 2)), axis=1), axis=0)
    pairs = rows[both]
    pairs = pairs[codes[pairs[:, 0]] != codes[pairs[:, 1]]]
    chosen: Rows = pairs[random.permutation(len(pairs))[:wanted]]
    return chosen


def _accuracy(
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    folds: NDArray[np.intp],
    one: Rows,
    other: Rows,
    drawn: bootstrap.Counts,
) -> Figure:
    """Each fold's cutoff stays as it was found: at the best cutoff accuracy does not change with it, to first order."""
    if refused := bootstrap.too_few(len(np.union1d(one, other)), "people in the pairs"):
        return refused
    right = held_out(scores, same, folds)
    names = np.unique(folds)
    samples = np.zeros((len(drawn), len(names)))
    for row, taken in enumerate(drawn):
        # A pair of one person counts once for each time that person was drawn, one of two as their product.
        weights = np.where(same, taken[one], taken[one] * taken[other])
        total = np.array([weights[folds == name].sum() for name in names])
        hits = np.array([(weights * right)[folds == name].sum() for name in names])
        samples[row] = np.where(total > 0, hits / np.maximum(total, 1), np.nan)
    mean = float(np.mean([right[folds == name].mean() for name in names]))
    return bootstrap.share_interval(mean, np.nanmean(samples, axis=1), len(np.union1d(one, other)))
