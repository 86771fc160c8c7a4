"""What is searched: `Rows`, unit vectors in blocks, with the subject and the slot each stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, FREE, Owners, Vectors
from kith.view import GalleryView

Indices = NDArray[np.intp]

#: Rows that are fetched one by one, in all or of each block: sorting them by block would take longer.
_FEW, _FEW_OF_EACH = 64, 8


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """blocks: float32 (rows, d), rows ≤ BLOCK_ROWS; owners: int32 (rows,), FREE where the row is nobody's. Row r of
    block b has the number b · BLOCK_ROWS + r. count: how many are somebody's. slots: int64 (rows,) per block, the slot
    a row stands for; None where the row's number is its slot.
    """

    blocks: tuple[Vectors, ...]
    owners: tuple[Owners, ...]
    count: int
    slots: tuple[NDArray[np.int64], ...] | None = None

    @classmethod
    def templates(cls, view: GalleryView) -> "Rows":
        """The templates of `view` themselves."""
        return cls(view.blocks, view.owners, view.templates)

    def exact(self, rows: Indices) -> NDArray[np.float64]:
        """The vectors as float64 (n, d), n > 0."""
        if self._few(rows):
            return np.array(self._each(rows), np.float64)
        single = self.vectors(rows)
        vectors = single.astype(np.float64)
        single.fill(0)
        return vectors

    def vectors(self, rows: Indices) -> Vectors:
        """The vectors as float32 (n, d), n > 0."""
        if self._few(rows):
            return np.array(self._each(rows), np.float32)
        blocks = self.blocks
        vectors = np.empty((len(rows), blocks[0].shape[1]), np.float32)
        block, within = np.divmod(rows, BLOCK_ROWS)
        order = np.argsort(block, kind="stable")
        starts = np.flatnonzero(np.diff(block[order], prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            mine = order[start:end]
            vectors[mine] = blocks[block[mine[0]]][within[mine]]
        return vectors

    def _few(self, rows: Indices) -> bool:
        return len(rows) <= max(_FEW, _FEW_OF_EACH * len(self.blocks))

    def _each(self, rows: Indices) -> list[Vectors]:
        blocks = self.blocks
        return [blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] for row in rows.tolist()]

    def owner_of(self, row: int) -> int:
        """The subject's number of a row."""
        owner: int = self.owners[row // BLOCK_ROWS].item(row % BLOCK_ROWS)
        return owner

    def owners_of(self, rows: Sequence[int]) -> list[int]:
        """`owner_of` of many."""
        owners = self.owners
        return [owners[row // BLOCK_ROWS].item(row % BLOCK_ROWS) for row in rows]

    def slot_of(self, row: int) -> int:
        """The slot of a row."""
        return row if self.slots is None else int(self.slots[row // BLOCK_ROWS][row % BLOCK_ROWS])

    def free(self, block: int) -> Indices:
        """The rows of a block that are nobody's."""
        return np.flatnonzero(self.owners[block] == FREE)


def whole(block: Vectors) -> Vectors:
    """The array that `block` is a window of, or `block` itself."""
    return block.base if isinstance(block.base, np.ndarray) else block
