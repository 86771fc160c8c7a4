"""How far and whither each step goes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from kith.training.config import Phase


def optimiser_of(phase: Phase, weights: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that `phase` names, for `weights`."""
    wanted: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": phase.weight_decay, "times": 1.0},
        # Scales and shifts are not overfitted with; pulling them to zero only slows the network down.
        {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0, "times": phase.affine_rate},
    ]
    if phase.optimiser == "sgd":
        return torch.optim.SGD(wanted, lr=phase.learning_rate, momentum=0.9)
    return torch.optim.AdamW(wanted, lr=phase.learning_rate)


def learning_rate(phase: Phase, step: int, of: int) -> float:
    """Learning rate of a step: a linear warm-up, then half a cosine down to the final rate."""
    if step < phase.warm_up_steps:
        return phase.learning_rate * (step + 1) / phase.warm_up_steps
    done = (step - phase.warm_up_steps) / max(1, of - phase.warm_up_steps)
    span = phase.learning_rate - phase.final_learning_rate
    return float(phase.final_learning_rate + span * (1 + math.cos(math.pi * min(1.0, done))) / 2)
