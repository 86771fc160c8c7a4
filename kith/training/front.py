"""The part of a network that is not being trained, made fast: a teacher, or stages that stay as they are."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx.proxy import TraceError

from kith.runtimes.fusion import fold_batch_norms, fuse_activations
from kith.runtimes.pytorch import EXACT_ABOVE_PX, has_bfloat16

Stage = Callable[[Tensor], Tensor]


def serving_form(stages: Sequence[nn.Module], device: torch.device, side: int) -> list[Stage]:
    """Copies of `stages` that compute the same faster and without gradients, the way a worker does: batch norms folded,
    activations fused, small maps in bfloat16 where the CPU has it. side: of the crops, pixels."""
    fast: list[Stage] = []
    maps = torch.zeros(2, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for stage in stages:
            # A copy: the original may be in training, or go back to it.
            form = _fused(copy.deepcopy(stage).eval(), maps)
            maps = form(maps)
            fast.append(form)
    return fast


class FrozenFront(nn.Module):
    """A network whose first `count` stages stay as they are; only the others have gradients, and only they cost any.

    Made anew when the frozen weights change.
    """

    def __init__(self, stages: Sequence[nn.Module], count: int, device: torch.device, side: int) -> None:
        super().__init__()
        self._front = serving_form(stages[:count], device, side)
        self._back = nn.Sequential(*stages[count:])

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            for stage in self._front:
                pixels = stage(pixels)
        out: Tensor = self._back(pixels)
        return out


def _fused(stage: nn.Module, sample: Tensor) -> Stage:
    if sample.device.type != "cpu" or sample.ndim != 4:
        return stage
    try:
        folded = fold_batch_norms(stage).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        small = torch.bfloat16 if has_bfloat16() else torch.float32
        form = fuse_activations(folded, sample, small, EXACT_ABOVE_PX)
        form(sample)
    # As in kith.runtimes.pytorch: what cannot be traced, or lacks an operator here, runs as it is.
    except (TraceError, RuntimeError, NotImplementedError):
        return stage
    return lambda maps: form(maps).float()
