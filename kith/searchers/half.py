"""Templates in half precision on a GPU: two bytes a number there, the float32 vectors stay in the host's memory."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.errors import Misconfigured
from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.arrangement import Contents
from kith.similarity.ranking import float32_slack

#: Rows of which a sweep keeps the best score only. More of them make less to look through and more to score again.
GROUP_ROWS = 256

#: Probes of one sweep. The kernel holds the scores of a group for all of them in registers.
PROBES = 64

#: Of the bound of float32 sums: tensor cores align what they add, and cut off instead of rounding.
_ADDING = 4

#: Larger than any number of a unit vector, small enough for float16.
LARGEST = 1e4

#: Rows of one product where there is no kernel: its scores stay in the cache.
_ROWS_AT_ONCE = 1 << 15

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class HalfStretch:
    """Consecutive blocks as float16, zero where nothing is. vectors: (blocks · BLOCK_ROWS, d) on the device, never
    written once it is searched. off, norm: float64 (blocks,), the greatest |vector − float16| and |vector|."""

    vectors: Tensor
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def empty(cls, blocks: int, dimension: int, device: torch.device) -> "HalfStretch":
        """No vectors yet."""
        vectors = torch.zeros((blocks * BLOCK_ROWS, dimension), dtype=torch.float16, device=device)
        return cls(vectors, np.zeros(blocks), np.zeros(blocks))

    def replaced(self, changes: Mapping[int, Contents], blocks: int) -> "HalfStretch":
        """See kith.searchers.arrangement.Form."""
        fresh = HalfStretch.empty(blocks, self.vectors.shape[1], self.vectors.device)
        keep = min(blocks, len(self.off))
        fresh.vectors[: keep * BLOCK_ROWS] = self.vectors[: keep * BLOCK_ROWS]
        fresh.off[:keep], fresh.norm[:keep] = self.off[:keep], self.norm[:keep]
        # One answer of the device for all blocks: waiting for each would take longer than the work.
        device = fresh.vectors.device
        found = torch.zeros((len(changes), 2), dtype=torch.float64, device=device)
        # Pinned, the device fetches it by itself; and the blocks of a view may not be written, which torch resents.
        staging = torch.empty((BLOCK_ROWS, self.vectors.shape[1]), pin_memory=device.type == "cuda")
        for number, (at, contents) in enumerate(changes.items()):
            vectors = contents.vectors
            block = fresh.vectors[at * BLOCK_ROWS : (at + 1) * BLOCK_ROWS]
            block[len(vectors) :] = 0
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


def bounds(probes: Vectors, off: float, norm: float) -> NDArray[np.float64]:
    """How far the product of a probe and a row, both halved, may be from their cosine: float64 (B,).

    p·v − p̂·v̂ = p̂·(v − v̂) + (p − p̂)·v, and what adding d products in float32 is off by. off, norm: of all rows.
    """
    exact = representable(probes)
    # In float32: the difference of a number and its float16 is one itself, and what the sums lose is less than the
    # thousandth added.
    lost = 1.001 * np.linalg.norm(exact - exact.astype(np.float16), axis=1).astype(np.float64)
    size = 1.001 * np.linalg.norm(exact, axis=1).astype(np.float64) + lost
    bound: NDArray[np.float64] = size * off + lost * norm + _ADDING * float32_slack(probes.shape[1]) * size * norm
    return bound


class Products(Protocol):
    """The arithmetic of a sweep. Rows come in groups of GROUP_ROWS; those of several forms are numbered on and on.

    All vectors are float16, their products added in float32: float16 sums would be off by more than all the rest.
    """

    def maxima(self, vectors: Tensor, probes: Tensor, into: Tensor) -> None:
        """The greatest product of each probe with any row of each group. vectors: (groups · GROUP_ROWS, d); probes:
        (P, d), P a power of two of at least 16; into: float32 (P, groups), a window of a larger one."""
        ...

    def scores(self, forms: Sequence[Tensor], groups: Tensor, probes: Tensor) -> Tensor:
        """The products of probe i with the rows of groups[i]: float32 (B, n, GROUP_ROWS). groups: int64 (B, n)."""
        ...


class TorchProducts:
    """Products on any device."""

    def maxima(self, vectors: Tensor, probes: Tensor, into: Tensor) -> None:
        step = _ROWS_AT_ONCE // GROUP_ROWS
        for first in range(0, into.shape[1], step):
            some = vectors[first * GROUP_ROWS : (first + step) * GROUP_ROWS]
            if some.is_cuda:
                scores = torch.mm(some, probes.t(), out_dtype=torch.float32)
            else:
                scores = some.float() @ probes.float().t()
            into[:, first : first + step] = scores.view(-1, GROUP_ROWS, len(probes)).amax(dim=1).t()

    def scores(self, forms: Sequence[Tensor], groups: Tensor, probes: Tensor) -> Tensor:
        scores = torch.empty((*groups.shape, GROUP_ROWS), device=probes.device)
        start = 0
        for form in forms:
            count = len(form) // GROUP_ROWS
            probe, at = ((groups >= start) & (groups < start + count)).nonzero(as_tuple=True)
            rows = form.view(count, GROUP_ROWS, form.shape[1])[groups[probe, at] - start].float()
            scores[probe, at] = (rows @ probes[probe].float().unsqueeze(2)).squeeze(2)
            start += count
        return scores


def open_products(device: torch.device) -> Products:
    """The fastest arithmetic of `device` that is as exact as `bounds` says. Raises Misconfigured where none is."""
    ways: list[Products] = [TorchProducts()]
    if device.type == "cuda":
        try:
            from kith.searchers.half_kernel import KernelProducts  # noqa: PLC0415 (needs Triton, which CPUs lack)
        except ImportError:
            _log.warning("no Triton is installed: searches on the GPU take several times as long")
        else:
            ways.insert(0, KernelProducts(GROUP_ROWS))
    allowed = _ADDING * float32_slack(512)
    off = []
    for way in ways:
        off.append(_error(way, device))
        if off[-1] <= allowed:
            return way
    raise Misconfigured(f"{device} adds products of float16 with errors up to {min(off):.2g}, {allowed:.2g} allowed")


def _error(way: Products, device: torch.device) -> float:
    """The greatest error of `way` on random unit vectors."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn((4 * GROUP_ROWS, 512), generator=generator)).half().to(device)
    probes = vectors[:PROBES].clone()
    exact = (probes.double() @ vectors.double().t()).view(PROBES, 4, GROUP_ROWS)
    maxima = torch.empty((PROBES, 4), device=device)
    way.maxima(vectors, probes, maxima)
    singly = way.scores(
        [vectors[:GROUP_ROWS], vectors[GROUP_ROWS:]], torch.arange(4).expand(PROBES, 4).to(device), probes
    )
    return float(torch.maximum((maxima - exact.amax(dim=2)).abs().max(), (singly - exact).abs().max()))
