"""Neighbourhoods of look-alikes: subjects that the network holds near each other, found by k-means.

Among thousands of subjects a batch drawn at random holds hardly a pair that is hard to tell apart. Clustered by their
mean embedding, and batches made within one cluster, every negative is a neighbour (Wang, Zhang and Lan, "How to train
triplet networks with 100K identities?", ICCV workshops 2017).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.intp]


def neighbourhoods(centroids: NDArray[np.floating[Any]], count: int, least: int, seed: int) -> list[Members]:
    """Rows of `centroids` (s, d) in at most `count` clusters; one of fewer than `least` is filled up with members of
    those whose centres are nearest. Fewer than `least` rows in all: ValueError."""
    # Loaded when used: it is slow to load, and comes with the extra `train`.
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415

    if len(centroids) < least:
        raise ValueError(f"{len(centroids)} subjects cannot fill a neighbourhood of {least}")
    # Fewer different points than clusters, as when all embeddings have fallen together, are no clusters.
    count = min(count, len(np.unique(centroids, axis=0)))
    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=1024).fit(centroids)
    members = [np.flatnonzero(means.labels_ == cluster) for cluster in range(count)]
    rng = np.random.default_rng(seed)
    return [
        _filled(cluster, members, means.cluster_centers_, least, rng) for cluster, own in enumerate(members) if len(own)
    ]


def _filled(
    cluster: int,
    members: list[Members],
    centres: NDArray[np.floating[Any]],
    least: int,
    rng: np.random.Generator,
) -> Members:
    nearest = np.argsort(((centres - centres[cluster]) ** 2).sum(axis=1), kind="stable")
    found = members[cluster]
    for other in nearest[nearest != cluster]:
        if len(found) >= least:
            break
        found = np.concatenate([found, rng.permutation(members[other])[: least - len(found)]])
    return found
