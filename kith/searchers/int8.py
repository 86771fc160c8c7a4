"""Templates as int8: a quarter of the bytes, and what CPUs multiply fastest.

A block has one scale, so that its scores compare as integers. A unit vector x = s·q + e is stored as q; the greatest
|e| of a block bounds what is lost: for a probe p = t·r + f the score differs from t·s·(r·q) by
|t·r·e + f·x| ≤ |t·r||e| + |f||x|.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.arrangement import Contents
from kith.wiping import wiped_when_dropped

#: The greatest code.
LEVELS = 127

#: Added to the codes of a probe, it makes them unsigned.
SHIFT = 128

#: Codes of a row come in whole cache lines. For rows of one number torch gives back what was in the memory.
_LINE = 64

#: Vectors whose numbers are no greater are zeros here, with scale 1: nothing of length 1 is, in a million dimensions.
_NOTHING = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Some vectors as int8. codes: (n, width), those of the d numbers, then zeros. scale: float64, one for all or per
    vector (n, 1). size, off: float64 (n, 1), |scale · codes| and |vector − scale · codes|."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float64]
    size: NDArray[np.float64]
    off: NDArray[np.float64]


def encode(vectors: Vectors, *, each: bool, scale: float | None = None, levels: int = LEVELS) -> Codes:
    """Finite float32 (n, d) as int8, with a scale for `each` vector or one for all. levels: the greatest code. scale:
    that one, if it is given; levels times it is the largest number among them, or more."""
    exact = vectors.astype(np.float64)
    if scale is None:
        most = np.abs(exact).max(axis=1 if each else None, keepdims=True, initial=0.0)
        scales = np.where(most > _NOTHING, most / levels, 1.0)
    else:
        scales = np.array([[scale]])
    rounded = exact * (1 / scales)
    np.rint(rounded, out=rounded)
    # Memory of its own: given the strides of a lone vector, torch has multiplied nothing, without a word.
    codes = np.zeros((len(vectors), code_width(vectors.shape[1])), np.int8)
    codes[:, : vectors.shape[1]] = rounded
    rounded *= scales
    exact -= rounded
    return Codes(codes, scales, _norms(rounded), _norms(exact))


def code_width(dimension: int) -> int:
    """Codes of a row of `dimension` numbers, with the zeros after them."""
    return -(-dimension // _LINE) * _LINE


def _norms(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.vecdot(vectors, vectors))
    return norms[:, np.newaxis]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Consecutive blocks as int8, zero where nothing is. codes: int8 (blocks · BLOCK_ROWS, width), never written once
    it is searched. shifted: int32 (blocks · BLOCK_ROWS,), the sum of a row's codes times SHIFT. scale, off, norm:
    float64 (blocks,), the last two the greatest |x − s·q| and |x| of the block's rows."""

    codes: torch.Tensor
    shifted: NDArray[np.int32]
    scale: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int) -> "Stretch":
        """No vectors yet."""
        # numpy's memory, because it is wiped when the last piece of it is dropped.
        codes = torch.from_numpy(wiped_when_dropped(np.zeros((blocks * BLOCK_ROWS, code_width(dimension)), np.int8)))
        shifted = np.zeros(len(codes), np.int32)
        return cls(codes, shifted, np.ones(blocks), np.zeros(blocks), np.zeros(blocks))

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.shifted.nbytes + 3 * self.scale.nbytes

    def replaced(self, changes: Mapping[int, Contents], blocks: int) -> "Stretch":
        """See kith.searchers.arrangement.Form."""
        fresh = Stretch.empty(blocks, self.codes.shape[1])
        keep = min(blocks, len(self.scale))
        fresh.codes[: keep * BLOCK_ROWS] = self.codes[: keep * BLOCK_ROWS]
        fresh.shifted[: keep * BLOCK_ROWS] = self.shifted[: keep * BLOCK_ROWS]
        for ours, theirs in ((fresh.scale, self.scale), (fresh.off, self.off), (fresh.norm, self.norm)):
            ours[:keep] = theirs[:keep]
        for at, contents in changes.items():
            # What is not a number is zero: its own row is near nobody, and spoils no other.
            vectors = np.nan_to_num(contents.vectors[contents.known :], posinf=0.0, neginf=0.0)
            if contents.known and np.abs(vectors).max(initial=0.0) <= LEVELS * self.scale[at]:
                fresh._put(at, contents.known, encode(vectors, each=False, scale=self.scale[at]))
                continue
            block = slice(at * BLOCK_ROWS, (at + 1) * BLOCK_ROWS)
            fresh.codes[block], fresh.shifted[block], fresh.off[at], fresh.norm[at] = 0, 0, 0, 0
            coded = encode(np.nan_to_num(contents.vectors, posinf=0.0, neginf=0.0), each=False)
            fresh.scale[at] = coded.scale[0, 0]
            fresh._put(at, 0, coded)
        return fresh

    def _put(self, block: int, start: int, coded: Codes) -> None:
        """Write the rows of a block from `start` on; only while nobody else knows of the stretch."""
        rows = slice(block * BLOCK_ROWS + start, block * BLOCK_ROWS + start + len(coded.codes))
        self.codes[rows] = torch.from_numpy(coded.codes)
        self.shifted[rows] = coded.codes.sum(axis=1, dtype=np.int32) * SHIFT
        self.off[block] = max(self.off[block], coded.off.max(initial=0.0))
        self.norm[block] = max(self.norm[block], (coded.size + coded.off).max(initial=0.0))
