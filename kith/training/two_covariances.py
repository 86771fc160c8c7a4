"""What differs between people, and what between pictures of one: two covariances, from labelled vectors.

The two-covariance model (Brümmer and de Villiers, "The speaker partitioning problem", 2010; Ioffe, "Probabilistic
Linear Discriminant Analysis", 2006): a picture is x = m + b + w, b ~ N(0, B) for the person and w ~ N(0, W) for
the picture. The moments are estimated from people with two pictures and more, and then diagonalised together.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Pictures that count of one person: a few people with hundreds would be what "within" means.
_MOST = 10

#: A picture is an outlier, somebody else under that name or a hand before the face, when its squared Mahalanobis
#: distance from its person's mean is beyond the median by this many standard deviations of χ². A Gaussian has none.
_OUTLIER = 9.0
_ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class TwoCovariances:
    """between, within: (k, k), of people and of pictures of one person. outliers: how many pictures were left out."""

    between: Floats
    within: Floats
    outliers: int


def estimate(vectors: Floats, labels: NDArray[Any], rng: np.random.Generator) -> TwoCovariances:
    """vectors: (n, k). labels: (n,) who is on each. rng: chooses the pictures of people who have too many.

    Raises ValueError when fewer than two people have two pictures.
    """
    groups = _groups(labels, rng)
    if len(groups) < 2:
        raise ValueError(f"{len(groups)} people have two pictures or more; two covariances need two at least")
    used = sum(len(group) for group in groups)
    within = _within(vectors, groups)
    for _ in range(_ROUNDS - 1):
        groups = _without_outliers(vectors, groups, within)
        within = _within(vectors, groups)
    means = np.array([vectors[group].mean(axis=0) for group in groups])
    centred = means - means.mean(axis=0)
    # The mean of n pictures still holds 1/n of what differs between pictures.
    share = np.mean([1 / len(group) for group in groups])
    between = centred.T @ centred / (len(groups) - 1) - share * within
    return TwoCovariances(between, within, used - sum(len(group) for group in groups))


def diagonalise(between: Floats, within: Floats) -> tuple[Floats, Floats]:
    """(k, k) basis A, columns, and (k,) variances: within = A Aᵀ and between = A diag(variances) Aᵀ.

    Largest variance first. Where sampling error made `between` negative the variance is 0.
    """
    lower = np.linalg.cholesky(within)
    half = np.linalg.solve(lower, between)
    variances, turned = np.linalg.eigh(np.linalg.solve(lower, half.T))
    return (lower @ turned)[:, ::-1], np.clip(variances[::-1], 0, None)


def _groups(labels: NDArray[Any], rng: np.random.Generator) -> list[NDArray[np.intp]]:
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(labels[order][1:] != labels[order][:-1]) + 1
    groups = [group for group in np.split(order, starts) if len(group) >= 2]
    return [rng.permutation(group)[:_MOST] for group in groups]


def _within(vectors: Floats, groups: list[NDArray[np.intp]]) -> Floats:
    centred = np.concatenate([vectors[group] - vectors[group].mean(axis=0) for group in groups])
    covariance: Floats = centred.T @ centred / (len(centred) - len(groups))
    return covariance


def _without_outliers(vectors: Floats, groups: list[NDArray[np.intp]], within: Floats) -> list[NDArray[np.intp]]:
    lower = np.linalg.cholesky(within)
    distances = []
    for group in groups:
        centred = vectors[group] - vectors[group].mean(axis=0)
        # n pictures lie nearer to their own mean than to the true one, by this factor.
        shrunk = 1 - 1 / len(group)
        distances.append((np.linalg.solve(lower, centred.T) ** 2).sum(axis=0) / shrunk)
    # χ² of k degrees of freedom has the mean k and the variance 2k; the median stands for k whatever the outliers do.
    limit = (1 + _OUTLIER * np.sqrt(2 / len(within))) * np.median(np.concatenate(distances))
    kept = [group[distance <= limit] for group, distance in zip(groups, distances, strict=True)]
    return [group for group in kept if len(group) >= 2]
