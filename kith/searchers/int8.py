"""Templates as int8, and the pass that scores them: a quarter of the bytes, and what CPUs multiply fastest.

A block has one scale, so that scores of a block compare as integers. A unit vector x = s·q + e is stored as q; the
greatest |e| of a block bounds what is lost: for a probe p = t·r + f the score differs from t·s·(r·q) by
|t·r·e + f·x| ≤ |t·r||e| + |f||x|.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kith.errors import Misconfigured
from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.packed import Piece
from kith.searchers.workspace import Workspace, workspace
from kith.similarity.passes import ArrayScores
from kith.wiping import wiped_when_dropped

_LEVELS = 127

#: Numbers of a row up to which the product with one probe reads memory nearly in order.
_NARROW = 128

#: Codes of a gallery that stay in the cache from one search to the next.
_CACHED_BYTES = 8 << 20

#: Scores of one pass: few enough to stay in the cache, enough to be worth a look.
_SCORES_AT_ONCE = 1 << 19


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Some vectors as int8. codes: (n, width), those of the d numbers, then zeros. scale: float64, one for all or per
    vector (n, 1). size: |scale · codes|, off: |vector − scale · codes|, norm: |vector|; float64 (n,)."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float64]
    size: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]


def encode(vectors: Vectors, *, each: bool) -> Codes:
    """float32 (n, d) as int8, with a scale for `each` vector or one for all. What is not a number is zero."""
    exact = vectors.astype(np.float64)
    if not np.isfinite(exact.sum()):
        exact = np.nan_to_num(exact, posinf=0.0, neginf=0.0)
    most = np.abs(exact).max(axis=1, keepdims=True, initial=0.0) if each else np.abs(exact).max(initial=0.0)
    scale = np.maximum(most / _LEVELS, np.finfo(np.float32).tiny)
    codes = np.rint(exact / scale)
    kept = codes * scale
    filled = np.zeros((len(vectors), _width(vectors.shape[1])), np.int8)
    filled[:, : vectors.shape[1]] = codes
    return Codes(filled, scale, _norms(kept), _norms(exact - kept), _norms(exact))


def _width(dimension: int) -> int:
    """Codes of a row, up to the next cache line. For rows of one number torch gives back what was in the memory."""
    return -(-dimension // 64) * 64


def _norms(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return norms


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Consecutive blocks as int8, zero where nothing is. codes: int8 (blocks · BLOCK_ROWS, width), never written once
    it is searched. scale, off, norm: float64 (blocks,), the last two the greatest of the block's rows."""

    codes: torch.Tensor
    scale: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int) -> "Stretch":
        """No vectors yet."""
        # numpy's memory, because it is wiped when the last piece of it is dropped.
        codes = torch.from_numpy(wiped_when_dropped(np.zeros((blocks * BLOCK_ROWS, _width(dimension)), np.int8)))
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
    """Scores the blocks of consecutive `pieces`. cold: whether they are read from memory, not from a cache."""

    def __init__(self, pieces: Sequence[Piece[Stretch]], probes: Codes, *, cold: bool) -> None:
        self._pieces, self._probes, self._cold = pieces, probes, cold

    def score(self, probes: Vectors) -> ArrayScores:
        """`probes` are those the pass was made for. The scores are good until this thread makes the next."""
        coded, batch = self._probes, len(probes)
        blocks = range(self._pieces[0].blocks.start, self._pieces[-1].blocks.stop)
        memory = workspace()
        with memory.lock:
            raw = self._products(memory, batch, len(blocks))
        forms = [piece.form for piece in self._pieces]
        one = forms[0] if len(forms) == 1 else None
        scale = one.scale if one else np.concatenate([each.scale for each in forms])
        off = one.off if one else np.concatenate([each.off for each in forms])
        norm = one.norm if one else np.concatenate([each.norm for each in forms])
        scores = ArrayScores(
            blocks,
            raw.numpy().reshape(batch, -1, BLOCK_ROWS),
            coded.scale * scale,
            coded.size[:, np.newaxis] * off + coded.off[:, np.newaxis] * norm,
        )
        for piece in self._pieces:
            for block, dropped in piece.drops:
                scores.drop(piece.blocks.start - blocks.start + block, dropped)
        return scores

    def _products(self, memory: Workspace, batch: int, blocks: int) -> torch.Tensor:
        """int32 (B, rows)."""
        raw = memory.tensor("raw", (batch, blocks * BLOCK_ROWS), torch.int32)
        codes = torch.from_numpy(self._probes.codes)
        start = 0
        for piece in self._pieces:
            rows = piece.form.codes
            if self._cold and (batch > 1 or rows.shape[1] > _NARROW):
                # The product reads many rows at a time, in steps; from memory that is slower than a copy in order.
                rows = memory.tensor("codes", tuple(rows.shape), torch.int8).copy_(rows)
            part = raw[:, start : start + rows.shape[0]]
            if part.is_contiguous():
                torch._int_mm(codes, rows.t(), out=part)
            else:
                own = memory.tensor("part", tuple(part.shape), torch.int32)
                part.copy_(torch._int_mm(codes, rows.t(), out=own))
            start += rows.shape[0]
        return raw


def int8_passes(pieces: Sequence[Piece[Stretch]], probes: Vectors) -> list[Int8Pass]:
    """Passes over `pieces`, several of them at a time where a small batch makes few scores of each."""
    coded = encode(probes, each=True)
    cold = sum(piece.form.codes.nbytes for piece in pieces) > _CACHED_BYTES
    passes: list[Int8Pass] = []
    group: list[Piece[Stretch]] = []
    rows = 0
    for piece in pieces:
        more = piece.form.codes.shape[0]
        apart = group and group[-1].blocks.stop != piece.blocks.start
        if group and (apart or (rows + more) * len(probes) > _SCORES_AT_ONCE):
            passes.append(Int8Pass(group, coded, cold=cold))
            group, rows = [], 0
        group.append(piece)
        rows += more
    if group:
        passes.append(Int8Pass(group, coded, cold=cold))
    return passes


def check_products() -> None:
    """Raises Misconfigured where torch does not multiply int8 exactly: some CPUs add in 16 bits, which overflow."""
    generator = torch.Generator().manual_seed(0)
    for width in (64, 128, 512):
        rows = torch.randint(-_LEVELS, _LEVELS + 1, (2 * BLOCK_ROWS, width), dtype=torch.int8, generator=generator)
        rows[0], rows[1] = _LEVELS, -_LEVELS
        for batch in (1, 2, 5, 16, 64):
            probes = torch.randint(-_LEVELS, _LEVELS + 1, (batch, width), dtype=torch.int8, generator=generator)
            probes[0] = _LEVELS
            products = torch._int_mm(probes, rows.t(), out=torch.empty((batch, len(rows)), dtype=torch.int32))
            # float32 is exact here: the sums are below 2²⁴.
            if not torch.equal(products.float(), probes.float() @ rows.float().t()):
                raise Misconfigured("torch multiplies int8 inexactly on this CPU")
