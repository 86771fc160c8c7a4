"""What a gallery's own templates say of strangers: each searched among all subjects but its own.

Leaving the own subject out makes a mated search a non-mated one, in a gallery that is smaller by one. Templates are
drawn where there are many: all of a million searched among a million would take the better part of a day.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.gallery_settings import Scoring
from kith.view import FREE, GalleryView

#: Comparisons of one derivation at most, a few minutes of one core at 512 numbers: 5,000 templates searched among a
#: million, 50,000 among 100,000.
COMPARISONS = 5_000_000_000

#: Probes compared with one block at once.
_PROBES = 256

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """scores: (n,) float64, the best with any other subject. owners: (n,) the number of the subject left out.
    nearest: (n,) of the one found. templates: how many the gallery has, of which n were searched."""

    scores: NDArray[np.float64]
    owners: Numbers
    nearest: Numbers
    templates: int


def left_out(view: GalleryView, wanted: int, random: np.random.Generator, comparisons: int = COMPARISONS) -> LeftOut:
    """Search `wanted` templates of `view`, drawn evenly, each among the other subjects and scored as the gallery does.

    Fewer where there are fewer, and where they would take more than so many `comparisons`. None at all with fewer than
    two subjects.
    """
    blocks, owners = _references(view)
    used = [np.flatnonzero(each != FREE) + start for each, start in _starts(view.owners)]
    places = np.concatenate([np.empty(0, np.intp), *used])
    references = sum(int(np.count_nonzero(each != FREE)) for each in owners)
    if view.subjects < 2 or not references:
        return LeftOut(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32), view.templates)
    count = min(len(places), wanted, max(1, comparisons // references))
    chosen = np.sort(random.permutation(places)[:count])
    probes, whose = _gather(view, chosen)
    scores, nearest = np.full(count, -np.inf), np.full(count, FREE, np.int32)
    for start in range(0, count, _PROBES):
        some = slice(start, start + _PROBES)
        for block, block_owners in zip(blocks, owners, strict=True):
            cosines = probes[some] @ block.T
            cosines[(whose[some, None] == block_owners) | (block_owners == FREE)] = -np.inf
            at = cosines.argmax(axis=1)
            best = np.take_along_axis(cosines, at[:, None], axis=1)[:, 0]
            nearer = best > scores[some]
            scores[some][nearer], nearest[some][nearer] = best[nearer], block_owners[at[nearer]]
    # Of a subject without rivals nothing is learnt: everybody else's templates have been taken away.
    rivals = np.isfinite(scores)
    return LeftOut(scores[rivals], whose[rivals], nearest[rivals], view.templates)


def couples(scores: NDArray[np.float64], owners: NDArray[Any], nearest: NDArray[Any]) -> NDArray[Any]:
    """(n,) whom each search stands for: its subject, or one of two who are each other's nearest. All as in `LeftOut`.

    What makes one of two look like the other makes the other look like the one: their searches are one event seen from
    both sides, and resampled as if they were two would make an interval too narrow.
    """
    order = np.argsort(-scores, kind="stable")
    people, first = np.unique(owners[order], return_index=True)
    likes = dict(zip(people.tolist(), nearest[order][first].tolist(), strict=True))
    stands = {each: min(each, other) if likes.get(other) == each else each for each, other in likes.items()}
    return np.array([stands[each] for each in owners.tolist()], owners.dtype)


def _references(view: GalleryView) -> tuple[list[Vectors], list[Numbers]]:
    """What a probe is compared with: the templates, or for a mean the one vector of each subject."""
    scoring = view.settings.scoring
    if scoring is Scoring.BEST:
        return list(view.blocks), list(view.owners)
    most = max((int(each.max(initial=FREE)) for each in view.owners), default=FREE)
    sums = np.zeros((max(most, 0) + 1, view.dimension), np.float32)
    for block, owners, qualities in zip(view.blocks, view.owners, view.qualities, strict=True):
        taken = owners != FREE
        weights = qualities[taken, None] if scoring is Scoring.QUALITY else np.float32(1)
        np.add.at(sums, owners[taken], block[taken] * weights)
    norms = np.linalg.norm(sums, axis=1)
    # A mean of opposite vectors has no direction, and a number nobody has none either.
    numbers = np.flatnonzero(norms > 0)
    means = sums[numbers] / norms[numbers, None]
    parts = range(0, len(numbers), 1024)
    return [means[at : at + 1024] for at in parts], [numbers[at : at + 1024].astype(np.int32) for at in parts]


def _starts(owners: tuple[Numbers, ...]) -> list[tuple[Numbers, int]]:
    """Each block with how many rows stand before it."""
    before = np.concatenate([[0], np.cumsum([len(each) for each in owners])]).tolist()
    return list(zip(owners, before, strict=False))


def _gather(view: GalleryView, places: NDArray[np.intp]) -> tuple[Vectors, Numbers]:
    """The rows `places` (ascending, counted through all blocks) and their owners."""
    vectors = np.empty((len(places), view.dimension), np.float32)
    whose = np.empty(len(places), np.int32)
    for (owners, start), block in zip(_starts(view.owners), view.blocks, strict=True):
        here = slice(*np.searchsorted(places, (start, start + len(owners))).tolist())
        vectors[here] = block[places[here] - start]
        whose[here] = owners[places[here] - start]
    return vectors, whose
