"""The kernels of the GPU search: the best score of every group of rows, and the scores of a few groups.

A batch of 64 probes against ten million templates has 640 million scores. Written out and read again they would cost
as much memory traffic as the templates; here they live in registers, and one number of each group leaves the chip. So
the search runs at the speed at which the templates can be read. Imported where there is a CUDA device only: torch's
CUDA builds bring Triton (Tillet, Kung and Cox 2019), its builds for CPUs do not.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from kith.searchers.half import GROUP_ROWS
from kith.searchers.half_choice import MOST, best_rows, leading_groups
from kith.searchers.half_products import Answer, Groups, TorchProducts

#: Numbers of a vector multiplied at a time, and how far loads run ahead of the products. With the first, groups of 256
#: rows are read as fast as an H100 copies; the others are for devices with less memory beside their processors.
SHAPES = ((128, 2), (64, 2), (32, 2))

_WARPS = 8

#: Rows of a group, and numbers of each, that are multiplied together when it is looked at again.
_ROWS, _NUMBERS = 16, 256


@triton.jit  # type: ignore[untyped-decorator]
def _maxima(  # type: ignore[no-untyped-def]
    vectors,
    offsets,
    probes,
    maxima,
    stride,
    dimension: tl.constexpr,
    count: tl.constexpr,
    group: tl.constexpr,
    at_once: tl.constexpr,
):
    number = tl.program_id(0)
    # Sixteen bytes are loaded at a time, which the compiler can only know from here.
    mine = vectors + tl.multiple_of(tl.load(offsets + number), 16)
    rows = tl.arange(0, group)
    within = tl.arange(0, at_once)
    columns = tl.arange(0, count)
    scores = tl.zeros((group, count), tl.float32)
    for start in range(0, dimension, at_once):
        at = start + within
        row_at = mine + rows[:, None] * dimension + at[None, :]
        probe_at = probes + columns[None, :] * dimension + at[:, None]
        # Rows are read once a search, while the probes are read by every group: those must not push these out of the
        # cache.
        if dimension % at_once == 0:
            row = tl.load(row_at, eviction_policy="evict_first")
            probe = tl.load(probe_at)
        else:
            row = tl.load(row_at, mask=at[None, :] < dimension, other=0.0, eviction_policy="evict_first")
            probe = tl.load(probe_at, mask=at[:, None] < dimension, other=0.0)
        scores = tl.dot(row, probe, scores)
    # Neighbours in memory come from neighbouring groups, which run at the same time: the cache joins them.
    tl.store(maxima + columns.to(tl.int64) * stride + number, tl.max(scores, 0))


@triton.jit  # type: ignore[untyped-decorator]
def _scores(  # type: ignore[no-untyped-def]
    vectors,
    offsets,
    which,
    stride,
    probes,
    scores,
    looked,
    dimension: tl.constexpr,
    group: tl.constexpr,
    part: tl.constexpr,
    at_once: tl.constexpr,
):
    pair = tl.program_id(0)
    number = tl.load(which + (pair // looked) * stride + pair % looked)
    mine = vectors + tl.multiple_of(tl.load(offsets + number), 16)
    probe = probes + (pair // looked) * dimension
    rows = tl.program_id(1) * part + tl.arange(0, part)
    within = tl.arange(0, at_once)
    sums = tl.zeros((part,), tl.float32)
    for start in range(0, dimension, at_once):
        at = start + within
        there = at < dimension
        row = tl.load(mine + rows[:, None] * dimension + at[None, :], mask=there[None, :], other=0.0)
        column = tl.load(probe + at, mask=there, other=0.0)
        sums += tl.sum(row.to(tl.float32) * column.to(tl.float32)[None, :], 1)
    tl.store(scores + pair.to(tl.int64) * group + rows, sums)


class KernelProducts(TorchProducts):
    """kith.searchers.half_products.Products on a CUDA device. at_once, stages: see SHAPES."""

    def __init__(self, device: torch.device, at_once: int, stages: int) -> None:
        self._at_once, self._stages = at_once, stages
        self._beside = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]

    def maxima(self, groups: Groups, probes: Tensor, into: Tensor) -> None:
        """See Products."""
        _maxima[(into.shape[1],)](
            groups.forms[0],
            groups.offsets,
            probes,
            into,
            into.stride(0),
            dimension=probes.shape[1],
            count=len(probes),
            group=GROUP_ROWS,
            at_once=self._at_once,
            num_stages=self._stages,
            num_warps=_WARPS,
        )

    def scores(self, groups: Groups, which: Tensor, probes: Tensor) -> Tensor:
        """See Products."""
        scores = torch.empty((*which.shape, GROUP_ROWS), device=probes.device)
        _scores[(which.numel(), GROUP_ROWS // _ROWS)](
            groups.forms[0],
            groups.offsets,
            which,
            which.stride(0),
            probes,
            scores,
            which.shape[1],
            dimension=probes.shape[1],
            group=GROUP_ROWS,
            part=_ROWS,
            at_once=_NUMBERS,
        )
        return scores

    def best(self, groups: Groups, maxima: Tensor, probes: Tensor, looked: int, kept: int) -> Answer:
        """See Products."""
        more = min(looked + 1, maxima.shape[1])
        if max(more, kept) > MOST:
            return super().best(groups, maxima, probes, looked, kept)
        # Beside the next sweep, and before the rest of it: else these small steps would hold it up.
        self._beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._beside):
            answer = torch.empty((len(maxima), 2 * (kept + more)), device=maxima.device)
            which = leading_groups(maxima, more, answer[:, kept:])
            best_rows(self.scores(groups, which[:, :looked], probes), kept, answer)
            here = torch.empty(answer.shape, pin_memory=True)
            here.copy_(answer, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()

        def fetched() -> NDArray[np.float32]:
            # Not `cpu()`, which would wait for the next sweep too.
            arrived.synchronize()
            numbers: NDArray[np.float32] = here.numpy()
            return numbers

        return fetched
