"""Templates in half precision on a GPU, and the pass that scores them there.

The GPU holds the float16 forms, two bytes a number; what the bound cannot exclude is scored from the float32 vectors of
the view, in the host's memory. On a device `cpu` it does the same more slowly: that is how it is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kith.errors import Misconfigured
from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.packed import Piece
from kith.similarity.ranking import float32_slack
from kith.similarity.rows import Indices

#: Of the bound of float32 sums: tensor cores align what they add, and cut off instead of rounding.
_ADDING = 4


@dataclass(frozen=True, slots=True, eq=False)
class HalfStretch:
    """Consecutive blocks as float16, zero where nothing is. vectors: (blocks · BLOCK_ROWS, d) on the device, never
    written once it is searched. off, norm: float64 (blocks,), the greatest |vector − float16| and |vector|."""

    vectors: torch.Tensor
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int, device: torch.device) -> "HalfStretch":
        """No vectors yet."""
        vectors = torch.zeros((blocks * BLOCK_ROWS, dimension), dtype=torch.float16, device=device)
        return cls(vectors, np.zeros(blocks), np.zeros(blocks))

    def replaced(self, changes: dict[int, Vectors], blocks: int) -> "HalfStretch":
        """A copy of `blocks` blocks, those of `changes` (index → vectors, an empty array erases) anew."""
        fresh = HalfStretch.empty(blocks, self.vectors.shape[1], self.vectors.device)
        keep = min(blocks, len(self.off))
        fresh.vectors[: keep * BLOCK_ROWS] = self.vectors[: keep * BLOCK_ROWS]
        fresh.off[:keep], fresh.norm[:keep] = self.off[:keep], self.norm[:keep]
        for at, vectors in changes.items():
            half, off, norm = halved(vectors)
            block = fresh.vectors[at * BLOCK_ROWS : (at + 1) * BLOCK_ROWS]
            block.zero_()
            block[: len(vectors)] = torch.from_numpy(half).to(block.device)
            fresh.off[at], fresh.norm[at] = off.max(initial=0.0), norm.max(initial=0.0)
        return fresh


def halved(vectors: Vectors) -> tuple[NDArray[np.float16], NDArray[np.float64], NDArray[np.float64]]:
    """float32 (n, d) as float16, |vector − float16| and |vector|, (n,) each. What is not a number is zero."""
    exact = np.nan_to_num(vectors.astype(np.float64), posinf=0.0, neginf=0.0)
    half = np.clip(exact, -1e4, 1e4).astype(np.float16)
    return half, np.linalg.norm(exact - half, axis=1), np.linalg.norm(exact, axis=1)


class TensorScores:
    """BlockScores on a device. raw: float32 (B, blocks, BLOCK_ROWS)."""

    def __init__(self, blocks: range, raw: torch.Tensor, bound: NDArray[np.float64]) -> None:
        self.blocks, self._raw, self.bound = blocks, raw, bound
        self.unit = np.ones(bound.shape)

    def drop(self, block: int, rows: Indices | slice) -> None:
        chosen = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self._raw.device)
        self._raw[:, block, chosen] = -torch.inf

    def peaks(self) -> NDArray[np.float64]:
        peaks: NDArray[np.float64] = self._raw.amax(dim=2).double().cpu().numpy()
        return peaks

    def leaders(self, groups: int) -> tuple[Indices, NDArray[np.float64]]:
        best, row = self._raw.view(*self._raw.shape[:2], groups, -1).max(dim=3)
        first = torch.arange(0, BLOCK_ROWS, BLOCK_ROWS // groups, device=row.device)
        return (row + first).cpu().numpy(), best.double().cpu().numpy()

    def reaching(
        self, probe: Indices, block: Indices, raw: NDArray[np.float64]
    ) -> tuple[Indices, Indices, NDArray[Any]]:
        device = self._raw.device
        mine = self._raw[torch.from_numpy(probe).to(device), torch.from_numpy(block).to(device)]
        # As in ArrayScores: what the rounding to float32 moves is less than the bounds have to spare.
        least = torch.from_numpy(np.maximum(raw, -1e30).astype(np.float32)).to(device)
        at = (mine >= least[:, None]).flatten().nonzero().flatten()
        pair, row = np.divmod(at.cpu().numpy(), mine.shape[1])
        return pair, row, mine.flatten()[at].cpu().numpy()


class HalfPass:
    """Scores the blocks of one piece on its device."""

    def __init__(self, piece: Piece[HalfStretch], probes: torch.Tensor, off: NDArray[np.float64]) -> None:
        self._piece, self._probes, self._off = piece, probes, off

    def score(self, probes: Vectors) -> TensorScores:
        """`probes` are those the pass was made for."""
        form = self._piece.form
        raw = _products(self._probes, form.vectors).view(len(probes), -1, BLOCK_ROWS)
        size = np.linalg.norm(probes.astype(np.float64), axis=1)[:, np.newaxis] + self._off[:, np.newaxis]
        adding = _ADDING * float32_slack(probes.shape[1]) * size * form.norm
        scores = TensorScores(self._piece.blocks, raw, size * form.off + self._off[:, np.newaxis] * form.norm + adding)
        for block, rows in self._piece.drops:
            scores.drop(block, rows)
        return scores


def half_passes(pieces: Sequence[Piece[HalfStretch]], probes: Vectors, device: torch.device) -> list[HalfPass]:
    """A pass over each piece."""
    half, off, _ = halved(probes)
    on_device = torch.from_numpy(half).to(device)
    return [HalfPass(piece, on_device, off) for piece in pieces]


def _products(probes: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """float32 (B, rows), added in float32: float16 results would be off by more than all the rest."""
    if vectors.is_cuda:
        return torch.mm(probes, vectors.t(), out_dtype=torch.float32)
    return probes.float() @ vectors.float().t()


def check_half_products(device: torch.device) -> None:
    """Raises Misconfigured where `device` adds products of float16 less exactly than `HalfPass` says."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn((BLOCK_ROWS, 512), generator=generator)).half().to(device)
    products = _products(vectors[:64], vectors).double()
    exact = vectors[:64].double() @ vectors.double().t()
    off = float((products - exact).abs().max())
    if not off <= _ADDING * float32_slack(512):
        raise Misconfigured(f"{device} adds products of float16 with errors up to {off:.2g}")
