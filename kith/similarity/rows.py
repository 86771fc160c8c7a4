"""What is searched: `Rows`, unit vectors in blocks, with the subject and the slot each stands for."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, FREE, Owners, Vectors
from kith.view import GalleryView

Indices = NDArray[np.intp]

#: Rows that are fetched one by one.
_FEW = 16


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """blocks: float32 (rows, d), rows ≤ BLOCK_ROWS; owners: int32 (rows,), FREE where the row is nobody's. Row r of
    block b has the number b · BLOCK_ROWS + r. slots: int64 (rows,) per block, the slot a row stands for; None where the
    row's number is its slot.
    """

    blocks: tuple[Vectors, ...]
    owners: tuple[Owners, ...]
    slots: tuple[NDArray[np.int64], ...] | None = None

    @classmethod
    def templates(cls, view: GalleryView) -> "Rows":
        """The templates of `view` themselves."""
        return cls(view.blocks, view.owners)

    def vectors(self, rows: Indices) -> Vectors:
        """float32 (n, d)."""
        block, within = np.divmod(rows, BLOCK_ROWS)
        blocks = self.blocks
        if len(rows) <= _FEW:
            return np.array([blocks[b][r] for b, r in zip(block.tolist(), within.tolist(), strict=True)], np.float32)
        vectors = np.empty((len(rows), blocks[0].shape[1]), np.float32)
        order = np.argsort(block, kind="stable")
        starts = np.flatnonzero(np.diff(block[order], prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            mine = order[start:end]
            vectors[mine] = blocks[block[mine[0]]][within[mine]]
        return vectors

    def owners_of(self, rows: Indices) -> list[int]:
        """The subject's number of each row."""
        return [int(self.owners[row // BLOCK_ROWS][row % BLOCK_ROWS]) for row in rows.tolist()]

    def slots_of(self, rows: Indices) -> list[int]:
        """The slot of each row."""
        if self.slots is None:
            slots: list[int] = rows.tolist()
            return slots
        return [int(self.slots[row // BLOCK_ROWS][row % BLOCK_ROWS]) for row in rows.tolist()]

    def free(self, block: int) -> Indices:
        """The rows of a block that are nobody's."""
        return np.flatnonzero(self.owners[block] == FREE)
