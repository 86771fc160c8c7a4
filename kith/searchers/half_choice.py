"""The kernels that choose: the best groups of a probe, and the best rows of those.

What torch has for it (topk) starts two dozen kernels one after the other, which take the device as long as a tenth of
the sweep. Few are chosen here, so each is found by a maximum over all that are left.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

#: As many as are chosen this way.
MOST = 64

#: Maxima that one program looks through.
_CHUNK = 2048


@triton.jit
def _keys(scores, numbers):  # type: ignore[no-untyped-def]
    # Of two keys the greater one is of the greater score, and of the lower number where scores are equal.
    bits = scores.to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (bits.to(tl.int64) << 32) | (0x7FFFFFFF - numbers).to(tl.int64)


@triton.jit
def _score_of(key):  # type: ignore[no-untyped-def]
    bits = (key >> 32).to(tl.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _number_of(key):  # type: ignore[no-untyped-def]
    return 0x7FFFFFFF - (key & 0x7FFFFFFF).to(tl.int32)


@triton.jit  # type: ignore[untyped-decorator]
def _leaders(maxima, stride, groups, keys, many, chunk: tl.constexpr):  # type: ignore[no-untyped-def]
    probe, part = tl.program_id(0), tl.program_id(1)
    numbers = part * chunk + tl.arange(0, chunk)
    there = numbers < groups
    scores = tl.load(maxima + probe.to(tl.int64) * stride + numbers, mask=there, other=0.0)
    lowest = -(1 << 63)
    left = tl.where(there, _keys(scores, numbers), lowest)
    to = keys + (probe * tl.num_programs(1) + part) * many
    for place in range(many):
        best = tl.max(left, 0)
        tl.store(to + place, best)
        left = tl.where(left == best, lowest, left)


@triton.jit  # type: ignore[untyped-decorator]
def _chosen_groups(keys, count, which, answer, stride, many, room: tl.constexpr):  # type: ignore[no-untyped-def]
    probe = tl.program_id(0)
    at = tl.arange(0, room)
    lowest = -(1 << 63)
    left = tl.load(keys + probe * count + at, mask=at < count, other=lowest)
    for place in range(many):
        best = tl.max(left, 0)
        number = _number_of(best)
        tl.store(which + probe * many + place, number.to(tl.int64))
        tl.store(answer + probe * stride + place, _score_of(best))
        tl.store(answer + probe * stride + many + place, number.to(tl.float32))
        left = tl.where(left == best, lowest, left)


@triton.jit  # type: ignore[untyped-decorator]
def _chosen_rows(scores, count, answer, stride, many, last, room: tl.constexpr):  # type: ignore[no-untyped-def]
    probe = tl.program_id(0)
    at = tl.arange(0, room)
    there = at < count
    lowest = -(1 << 63)
    left = tl.where(there, _keys(tl.load(scores + probe * count + at, mask=there, other=0.0), at), lowest)
    for place in range(many):
        best = tl.max(left, 0)
        tl.store(answer + probe * stride + place, _score_of(best))
        tl.store(answer + probe * stride + last + place, _number_of(best).to(tl.float32))
        left = tl.where(left == best, lowest, left)


def leading_groups(maxima: Tensor, many: int, answer: Tensor) -> Tensor:
    """The `many` best groups of each probe, best first, int64 (B, many). maxima: float32 (B, groups). Their maxima and
    their numbers are written to answer[:, : 2 · many], float32."""
    batch, groups = maxima.shape
    parts = triton.cdiv(groups, _CHUNK)
    keys = torch.empty((batch, parts, many), dtype=torch.int64, device=maxima.device)
    _leaders[(batch, parts)](maxima, maxima.stride(0), groups, keys, many, chunk=_CHUNK, num_warps=8)
    which = torch.empty((batch, many), dtype=torch.int64, device=maxima.device)
    room = triton.next_power_of_2(parts * many)
    _chosen_groups[(batch,)](keys, parts * many, which, answer, answer.stride(0), many, room=room)
    return which


def best_rows(scores: Tensor, many: int, answer: Tensor) -> None:
    """The `many` best of each probe's scores, float32 (B, n, GROUP_ROWS), best first: written to answer[:, :many], and
    their places to answer[:, -many:]."""
    count = scores[0].numel()
    _chosen_rows[(len(scores),)](
        scores,
        count,
        answer,
        answer.stride(0),
        many,
        answer.shape[1] - many,
        room=triton.next_power_of_2(count),
        num_warps=8,
    )
