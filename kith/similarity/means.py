"""One vector per subject, where a gallery scores by means: the mean of the templates, normalised, weighted or not.

Sums are float64 in the order of slots, so that a mean kept up to date from view to view is bit for bit the one computed
afresh. A subject whose qualities are all zero has the plain mean; templates that cancel out have the zero vector.
"""

import weakref
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, FREE, Owners, Qualities, Vectors
from kith.similarity.rows import Indices, Rows, whole
from kith.view import GalleryView
from kith.wiping import wiped_when_dropped


def mean_rows(view: GalleryView, *, weighted: bool) -> Rows:
    """The means of all subjects of `view`: row n % BLOCK_ROWS of block n // BLOCK_ROWS is that of number n. Each stands
    for its subject's lowest slot."""
    owners = _joined(view.owners)
    slots = np.flatnonzero(owners != FREE)
    return _replaced(Rows((), (), 0, ()), view, owners, slots, np.unique(owners[slots]), weighted=weighted)


def means_without(rows: Rows, view: GalleryView, slots: Collection[int], *, weighted: bool) -> Rows:
    """`rows`, the means of `view`, as they would be without the templates in `slots`."""
    owners = _joined(view.owners)
    gone = np.array(sorted(slots), np.intp)
    numbers = np.setdiff1d(owners[gone], [FREE])
    left = owners.copy()
    left[gone] = FREE
    return _replaced(rows, view, left, np.flatnonzero(np.isin(left, numbers)), numbers, weighted=weighted)


def mean_of(view: GalleryView, slots: Sequence[int], *, weighted: bool) -> Vectors:
    """The mean of the templates in `slots`, ascending, float32 (d,)."""
    mean: Vectors = _means(view, np.array(slots, np.intp), np.zeros(1, np.intp), weighted=weighted)[0]
    return mean


class Means:
    """The means of one gallery, brought up to date from view to view. One thread at a time.

    Holds no vector of a template, and the blocks of means that did not change are the same arrays from view to view.
    """

    def __init__(self, *, weighted: bool) -> None:
        self._weighted = weighted
        self._blocks: list[weakref.ref[Vectors]] = []
        self._owners: Sequence[Owners] = ()
        self._qualities: Sequence[Qualities] = ()
        self._rows: Rows | None = None

    def of(self, view: GalleryView) -> Rows:
        """The means of `view`."""
        if self._rows is None:
            self._rows = mean_rows(view, weighted=self._weighted)
        else:
            numbers = self._touched(view)
            if numbers.size:
                owners = _joined(view.owners)
                self._rows = _replaced(
                    self._rows, view, owners, np.flatnonzero(np.isin(owners, numbers)), numbers, weighted=self._weighted
                )
        self._blocks = [weakref.ref(block) for block in view.blocks]
        self._owners, self._qualities = view.owners, view.qualities
        return self._rows

    def alive(self) -> bool:
        """Whether anybody still holds the templates that the means are of."""
        return not self._blocks or any(block() is not None for block in self._blocks)

    def _touched(self, view: GalleryView) -> NDArray[np.int32]:
        """The numbers whose templates are not what they were."""
        found: list[Owners] = []
        for at in range(max(len(view.blocks), len(self._blocks))):
            block = view.blocks[at] if at < len(view.blocks) else None
            known = self._blocks[at]() if at < len(self._blocks) else None
            same = block is not None and block is known
            if same and self._owners[at] is view.owners[at] and self._qualities[at] is view.qualities[at]:
                continue
            old = self._owners[at] if at < len(self._owners) else np.empty(0, np.int32)
            new = view.owners[at] if block is not None else np.empty(0, np.int32)
            both = min(len(old), len(new))
            changed = old[:both] != new[:both]
            if both and block is not None:
                changed |= self._qualities[at][:both] != view.qualities[at][:both]
                if known is None:
                    # Nobody remembers what was there.
                    changed[:] = True
                elif whole(known) is not whole(block):
                    changed |= (known[:both] != block[:both]).any(axis=1)
            found += [old[:both][changed], new[:both][changed], old[both:], new[both:]]
        return np.setdiff1d(_joined(found), [FREE])


def _replaced(
    rows: Rows, view: GalleryView, owners: Owners, slots: Indices, numbers: NDArray[np.int32], *, weighted: bool
) -> Rows:
    """`rows` with the means of `numbers`, whose templates are in `slots`, anew; every other block is kept as it is."""
    assert rows.slots is not None
    slots = slots[np.argsort(owners[slots], kind="stable")]
    whose = owners[slots]
    blocks, owned, places = list(rows.blocks), list(rows.owners), list(rows.slots)
    for block in np.unique(numbers // BLOCK_ROWS).tolist():
        while len(blocks) <= block:
            vectors, nobody, nowhere = _nobody(view.dimension)
            blocks.append(vectors)
            owned.append(nobody)
            places.append(nowhere)
        vectors, owner, place = wiped_when_dropped(blocks[block].copy()), owned[block].copy(), places[block].copy()
        mine = numbers[numbers // BLOCK_ROWS == block] % BLOCK_ROWS
        vectors[mine], owner[mine], place[mine] = 0, FREE, 0
        start, end = np.searchsorted(whose, [block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS]).tolist()
        if end > start:
            having, first = np.unique(whose[start:end], return_index=True)
            row = having % BLOCK_ROWS
            vectors[row] = _means(view, slots[start:end], first, weighted=weighted)
            owner[row], place[row] = having, slots[start:end][first]
        vectors.flags.writeable = False
        blocks[block], owned[block], places[block] = vectors, owner, place
    count = sum(int(np.count_nonzero(owner != FREE)) for owner in owned)
    return Rows(tuple(blocks), tuple(owned), count, tuple(places))


def _means(view: GalleryView, slots: Indices, first: Indices, *, weighted: bool) -> Vectors:
    """Templates in slots[first[i]:first[i + 1]] make the i-th mean; float32 (subjects, d)."""
    block, row = np.divmod(slots, BLOCK_ROWS)
    pairs = list(zip(block.tolist(), row.tolist(), strict=True))
    vectors = np.array([view.blocks[b][r] for b, r in pairs], np.float64)
    if weighted:
        weights = np.array([view.qualities[b][r] for b, r in pairs], np.float64)
        count = np.diff(np.append(first, len(slots)))
        weights[np.repeat(np.add.reduceat(weights, first) == 0, count)] = 1
        vectors *= weights[:, np.newaxis]
    sums = np.add.reduceat(vectors, first, axis=0)
    norms = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    means: Vectors = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0).astype(np.float32)
    return means


def _nobody(dimension: int) -> tuple[Vectors, Owners, NDArray[np.int64]]:
    return (
        np.zeros((BLOCK_ROWS, dimension), np.float32),
        np.full(BLOCK_ROWS, FREE, np.int32),
        np.zeros(BLOCK_ROWS, np.int64),
    )


def _joined(owners: Sequence[Owners]) -> Owners:
    return np.concatenate(owners) if owners else np.empty(0, np.int32)
