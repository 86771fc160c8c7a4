"""The kernels of the GPU search: the best score of every group of rows, and the scores of a few groups.

A batch of 64 probes against ten million templates has 640 million scores. Written out and read again they would cost
as much memory traffic as the templates; here they live in registers, and one number of each group leaves the chip. So
the search runs at the speed at which the templates can be read. Imported where there is a CUDA device only: torch's
CUDA builds bring Triton (Tillet, Kung and Cox 2019), its builds for CPUs do not.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Numbers of a vector multiplied at a time, and how far loads run ahead of the products. Measured on an H200, where
#: groups of 256 rows are read at 4.4 TB/s with these, as fast as the device copies. Other values are as right.
_AT_ONCE, _STAGES, _WARPS = 64, 4, 8


@triton.jit  # type: ignore[untyped-decorator]
def _maxima(  # type: ignore[no-untyped-def]
    vectors,
    probes,
    maxima,
    stride,
    dimension: tl.constexpr,
    count: tl.constexpr,
    group: tl.constexpr,
    at_once: tl.constexpr,
):
    number = tl.program_id(0)
    # 64 bits: ten million rows of 512 are more than 2³¹ numbers.
    rows = number.to(tl.int64) * group + tl.arange(0, group)
    within = tl.arange(0, at_once)
    columns = tl.arange(0, count)
    scores = tl.zeros((group, count), tl.float32)
    for start in range(0, dimension, at_once):
        at = start + within
        there = at < dimension
        row = tl.load(
            vectors + rows[:, None] * dimension + at[None, :],
            mask=there[None, :],
            other=0.0,
            # Read once a search, while the probes are read by every group: they must not push those out of the cache.
            eviction_policy="evict_first",
        )
        probe = tl.load(probes + columns[None, :] * dimension + at[:, None], mask=there[:, None], other=0.0)
        scores = tl.dot(row, probe, scores)
    # Neighbours in memory come from neighbouring groups, which run at the same time: the cache joins them.
    tl.store(maxima + columns.to(tl.int64) * stride + number, tl.max(scores, 0))


@triton.jit  # type: ignore[untyped-decorator]
def _scores(  # type: ignore[no-untyped-def]
    addresses,
    groups,
    probes,
    scores,
    looked,
    dimension: tl.constexpr,
    group: tl.constexpr,
    at_once: tl.constexpr,
):
    pair = tl.program_id(0)
    vectors = tl.load(addresses + tl.load(groups + pair)).to(tl.pointer_type(tl.float16))
    probe = probes + (pair // looked) * dimension
    rows = tl.arange(0, group)
    within = tl.arange(0, at_once)
    sums = tl.zeros((group,), tl.float32)
    for start in range(0, dimension, at_once):
        at = start + within
        there = at < dimension
        row = tl.load(vectors + rows[:, None] * dimension + at[None, :], mask=there[None, :], other=0.0)
        mine = tl.load(probe + at, mask=there, other=0.0)
        sums += tl.sum(row.to(tl.float32) * mine.to(tl.float32)[None, :], 1)
    tl.store(scores + pair.to(tl.int64) * group + rows, sums)


class KernelProducts:
    """kith.searchers.half.Products on a CUDA device."""

    def __init__(self, group_rows: int) -> None:
        self._rows = group_rows

    def maxima(self, vectors: Tensor, probes: Tensor, into: Tensor) -> None:
        """See Products."""
        _maxima[(len(vectors) // self._rows,)](
            vectors,
            probes,
            into,
            into.stride(0),
            dimension=vectors.shape[1],
            count=len(probes),
            group=self._rows,
            at_once=_AT_ONCE,
            num_stages=_STAGES,
            num_warps=_WARPS,
        )

    def scores(self, forms: Sequence[Tensor], groups: Tensor, probes: Tensor) -> Tensor:
        """See Products."""
        dimension = probes.shape[1]
        step = self._rows * dimension * 2
        # On the device: no answer of it is waited for between the maxima and the rows.
        addresses = torch.cat(
            [
                torch.arange(
                    form.data_ptr(), form.data_ptr() + len(form) // self._rows * step, step, device=probes.device
                )
                for form in forms
            ]
        )
        scores = torch.empty((*groups.shape, self._rows), device=probes.device)
        _scores[(groups.numel(),)](
            addresses,
            groups.contiguous(),
            probes,
            scores,
            groups.shape[1],
            dimension=dimension,
            group=self._rows,
            at_once=_AT_ONCE,
        )
        return scores
