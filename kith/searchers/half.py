"""Templates in half precision on a GPU: two bytes a number there, the float32 vectors stay in the host's memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.journal import BLOCK_ROWS, FREE, Owners, Vectors
from kith.searchers.arrangement import Contents
from kith.similarity.ranking import float32_slack

#: Rows of which a sweep keeps the best score only. More of them make less to look through and more to score again.
GROUP_ROWS = 256

#: Probes of one sweep. The kernel holds the scores of a group for all of them in registers.
PROBES = 64

#: Probes that a kernel multiplies at the least.
_FEWEST = 16

#: Of the bound of float32 sums: tensor cores align what they add, and cut off instead of rounding.
ADDING = 4

#: Larger than any number of a unit vector, small enough for float16.
LARGEST = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class HalfStretch:
    """Consecutive blocks as float16, zero where nothing is. vectors: (blocks · BLOCK_ROWS, d) on the device, never
    written once it is searched. owners: int32 (blocks · BLOCK_ROWS,). off, norm: float64 (blocks,), the greatest
    |vector − float16| and |vector|."""

    vectors: Tensor
    owners: Owners
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int, device: torch.device) -> "HalfStretch":
        """No vectors yet."""
        vectors = torch.zeros((blocks * BLOCK_ROWS, dimension), dtype=torch.float16, device=device)
        return cls(vectors, np.full(len(vectors), FREE, np.int32), np.zeros(blocks), np.zeros(blocks))

    def replaced(self, changes: Mapping[int, Contents], blocks: int) -> "HalfStretch":
        """See kith.searchers.arrangement.Form."""
        fresh = HalfStretch.empty(blocks, self.vectors.shape[1], self.vectors.device)
        keep = min(blocks, len(self.off))
        fresh.vectors[: keep * BLOCK_ROWS] = self.vectors[: keep * BLOCK_ROWS]
        fresh.owners[: keep * BLOCK_ROWS] = self.owners[: keep * BLOCK_ROWS]
        fresh.off[:keep], fresh.norm[:keep] = self.off[:keep], self.norm[:keep]
        # One answer of the device for all blocks: waiting for each would take longer than the work.
        device = fresh.vectors.device
        found = torch.zeros((len(changes), 2), dtype=torch.float64, device=device)
        # Pinned, the device fetches it by itself; and the blocks of a view may not be written, which torch resents.
        staging = torch.empty((BLOCK_ROWS, self.vectors.shape[1]), pin_memory=device.type == "cuda")
        for number, (at, contents) in enumerate(changes.items()):
            vectors = contents.vectors
            rows = slice(at * BLOCK_ROWS, (at + 1) * BLOCK_ROWS)
            block, owners = fresh.vectors[rows], fresh.owners[rows]
            block[len(vectors) :] = 0
            owners[: len(vectors)], owners[len(vectors) :] = contents.owners[: len(vectors)], FREE
            if len(vectors):
                staging.numpy()[: len(vectors)] = vectors
                half, off, norm = halved(staging[: len(vectors)].to(device))
                block[: len(vectors)] = half
                found[number, 0], found[number, 1] = off.max(), norm.max()
        if changes:
            fresh.off[list(changes)], fresh.norm[list(changes)] = found.cpu().numpy().T
        # What is in it may be forgotten.
        staging.zero_()
        return fresh


def halved(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """float32 (n, d) as float16, |vector − float16| and |vector|, float64 (n,). What is not a number is zero."""
    exact = torch.nan_to_num(vectors.double(), posinf=0.0, neginf=0.0)
    half = exact.clamp(-LARGEST, LARGEST).half()
    return half, torch.linalg.vector_norm(exact - half, dim=1), torch.linalg.vector_norm(exact, dim=1)


def representable(probes: Vectors) -> Vectors:
    """`probes` with what float16 has no number for brought to where it has. Vectors of unit length are as they were."""
    if np.abs(probes).max(initial=0.0) <= LARGEST:
        return probes
    return np.clip(np.nan_to_num(probes, posinf=0.0, neginf=0.0), -LARGEST, LARGEST)


@dataclass(frozen=True, eq=False)
class Probes:
    """A few probes of a search. exact: float32 (B, d), see `representable`; half: float16 (P, d) on the host, P a power
    of two, zero from B on. What is computed of them is computed once, and not before it is needed."""

    exact: Vectors
    half: Tensor

    @classmethod
    def of(cls, probes: Vectors) -> "Probes":
        """`probes`, float32 (B, d)."""
        exact, wide = representable(probes), _FEWEST
        while wide < len(probes):
            wide *= 2
        half = torch.zeros((wide, probes.shape[1]), dtype=torch.float16)
        half[: len(probes)] = torch.from_numpy(exact)
        return cls(exact, half)

    @cached_property
    def lost(self) -> NDArray[np.float64]:
        """|probe − float16|, (B,), or a little more."""
        # In float32: the difference of a number and its float16 is one itself, and what the sums lose is less than the
        # thousandth added.
        rounded = self.half[: len(self.exact)].float().numpy()
        return _a_little_more(self.exact - rounded)

    @cached_property
    def norm(self) -> NDArray[np.float64]:
        """|float16 of the probe|, (B,), or a little more."""
        return _a_little_more(self.exact) + self.lost

    def bounds(self, off: float, norm: float) -> NDArray[np.float64]:
        """How far the product of a probe and a row, both halved, may be from their cosine: float64 (B,).

        p·v − p̂·v̂ = p̂·(v − v̂) + (p − p̂)·v, and what adding d products in float32 is off by. off, norm: of all rows.
        """
        adding = ADDING * float32_slack(self.exact.shape[1])
        bound: NDArray[np.float64] = self.norm * off + self.lost * norm + adding * self.norm * norm
        return bound


def _a_little_more(vectors: Vectors) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = 1.001 * np.sqrt(np.vecdot(vectors, vectors)).astype(np.float64)
    return lengths
