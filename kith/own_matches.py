"""What a gallery's own templates say of people who are known: each searched among the others of its own subject.

The counterpart of kith.left_out. Pictures of one enrolment are more alike than those of years: what is found is how
people score at best.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.view import FREE, GalleryView

#: Templates of one subject that are looked at.
_OF_ONE = 64


@dataclass(frozen=True, slots=True, eq=False)
class OwnMatches:
    """scores: (n,) float64, the best with another template of the same subject. owners: (n,) whose each is."""

    scores: NDArray[np.float64]
    owners: NDArray[np.int32]


def own_matches(view: GalleryView, wanted: int, random: np.random.Generator) -> OwnMatches:
    """Search up to about `wanted` templates, all of subjects that are drawn evenly from those with two and more."""
    owners = np.concatenate([np.empty(0, np.int32), *view.owners])
    vectors = np.concatenate([np.empty((0, view.dimension), np.float32), *view.blocks])
    order = np.argsort(owners, kind="stable")
    order = order[owners[order] != FREE]
    people, starts, counts = np.unique(owners[order], return_index=True, return_counts=True)
    several = random.permutation(np.flatnonzero(counts >= 2))
    scores: list[NDArray[np.float64]] = []
    whose: list[NDArray[np.int32]] = []
    taken = 0
    for at in several:
        if taken >= wanted:
            break
        # More than these would say the same of one person again and again.
        rows = vectors[order[starts[at] : starts[at] + counts[at]]][:_OF_ONE]
        cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
        np.fill_diagonal(cosines, -np.inf)
        scores.append(cosines.max(axis=1))
        whose.append(np.full(len(rows), people[at], np.int32))
        taken += len(rows)
    return OwnMatches(
        np.concatenate([np.empty(0), *scores]), np.concatenate([np.empty(0, np.int32), *whose]).astype(np.int32)
    )
