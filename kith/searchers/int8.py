"""Templates as int8, and the pass that scores them: a quarter of the bytes, and the multiplications that CPUs do fastest.

A block has one scale, so that scores of a block compare as integers. A unit vector x = s·q + e is stored as q; the
greatest |e| of a block bounds what is lost: for a probe p = t·r + f the score differs from t·s·(r·q) by
|t·r·e + f·x| ≤ |t·r||e| + |f||x|.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kith.errors import Misconfigured
from kith.journal import BLOCK_ROWS, Vectors
from kith.similarity.passes import ArrayScores

_LEVELS = 127


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Some vectors as int8. codes: (n, d). scale: float64, one for all or per vector (n, 1). size: |scale · codes|,
    off: |vector − scale · codes|, norm: |vector|; float64 (n,)."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float64]
    size: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]


def encode(vectors: Vectors, *, each: bool) -> Codes:
    """float32 (n, d) as int8, with a scale for `each` vector or one for all. Numbers that are none are taken as zero."""
    exact = np.nan_to_num(vectors, posinf=0.0, neginf=0.0).astype(np.float64)
    most = np.abs(exact).max(axis=1, keepdims=True, initial=0.0) if each else np.abs(exact).max(initial=0.0)
    scale = np.where(most > 0, most / _LEVELS, 1.0)
    codes = np.rint(exact / scale)
    off = exact - codes * scale
    return Codes(
        codes.astype(np.int8), scale, np.linalg.norm(codes * scale, axis=1), np.linalg.norm(off, axis=1),
        np.linalg.norm(exact, axis=1),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Consecutive blocks as int8, zero where nothing is. codes: int8 (blocks · BLOCK_ROWS, d), never written once it is
    searched. scale, off, norm: float64 (blocks,), the last two the greatest of the block's rows."""

    codes: torch.Tensor
    scale: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int) -> "Stretch":
        """No vectors yet."""
        codes = torch.zeros((blocks * BLOCK_ROWS, dimension), dtype=torch.int8)
        return cls(codes, np.ones(blocks), np.zeros(blocks), np.zeros(blocks))

    def replaced(self, changes: dict[int, Vectors], blocks: int) -> "Stretch":
        """A copy of `blocks` blocks, those of `changes` (index → vectors, an empty array erases) anew."""
        fresh = Stretch.empty(blocks, self.codes.shape[1])
        keep = min(blocks, len(self.scale))
        fresh.codes[: keep * BLOCK_ROWS] = self.codes[: keep * BLOCK_ROWS]
        for ours, theirs in ((fresh.scale, self.scale), (fresh.off, self.off), (fresh.norm, self.norm)):
            ours[:keep] = theirs[:keep]
        for at, vectors in changes.items():
            coded = encode(vectors, each=False)
            block = fresh.codes[at * BLOCK_ROWS : (at + 1) * BLOCK_ROWS]
            block.zero_()
            block[: len(vectors)] = torch.from_numpy(coded.codes)
            fresh.scale[at] = coded.scale
            fresh.off[at], fresh.norm[at] = coded.off.max(initial=0.0), coded.norm.max(initial=0.0)
        return fresh


class Int8Pass:
    """Scores `blocks` of the rows from their stretch. drops: per block (from 0) the rows that are not to be found."""

    def __init__(
        self, stretch: Stretch, blocks: range, drops: list[tuple[int, NDArray[np.intp] | slice]], probes: Codes
    ) -> None:
        self._stretch, self._blocks, self._drops, self._probes = stretch, blocks, drops, probes

    def score(self, probes: Vectors) -> ArrayScores:
        """`probes` are those the pass was made for."""
        coded, stretch = self._probes, self._stretch
        raw = torch._int_mm(torch.from_numpy(coded.codes), stretch.codes.t()).numpy()
        unit = coded.scale * stretch.scale
        bound = np.outer(coded.size, stretch.off) + np.outer(coded.off, stretch.norm)
        scores = ArrayScores(self._blocks, raw.reshape(len(probes), len(self._blocks), BLOCK_ROWS), unit, bound)
        for block, rows in self._drops:
            scores.drop(block, rows)
        return scores


def check_products() -> None:
    """Raises Misconfigured where torch does not multiply int8 exactly: some CPUs add pairs in 16 bits, which overflow."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-_LEVELS, _LEVELS + 1, (BLOCK_ROWS, 512), dtype=torch.int8, generator=generator)
    rows[0], rows[1] = _LEVELS, -_LEVELS
    for batch in (1, 16):
        probes = torch.randint(-_LEVELS, _LEVELS + 1, (batch, 512), dtype=torch.int8, generator=generator)
        probes[0] = _LEVELS
        products = torch._int_mm(probes, rows.t())
        if not torch.equal(products.double(), probes.double() @ rows.double().t()):
            raise Misconfigured(
                "torch multiplies int8 inexactly on this CPU; search without it (search.method = plain)"
            )
