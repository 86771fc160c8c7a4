"""What a phase of training minimises: one interface for triplets, margins and teachers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from kith.manifest import EmbedderSpec
from kith.training.loader import Batch


@dataclass(frozen=True, slots=True)
class Loss:
    """value: 0-d, with gradient. facts: numbers worth watching, by name. embeddings: (n, d) unit rows, where there are
    any, for the collapse guard."""

    value: Tensor
    facts: dict[str, float] = field(default_factory=dict)
    embeddings: Tensor | None = None


class Objective(Protocol):
    """Gives the loss of a batch."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Weights of its own, which learn along and are thrown away with it: a classification head."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """The loss of `network` (in training mode) on `batch`, whose tensors lie on the network's device."""
        ...


@dataclass(frozen=True, slots=True)
class Normalise:
    """Bytes to what a network takes: (n, h, w, 3) uint8 RGB to (n, 3, h, w) float32, as a pack's manifest says."""

    factor: Tensor
    offset: Tensor
    reverse: bool

    @classmethod
    def of(cls, spec: EmbedderSpec, device: torch.device) -> "Normalise":
        """The preprocessing of `spec`."""
        std = torch.tensor(spec.std)
        return cls((spec.scale / std).to(device), (-torch.tensor(spec.mean) / std).to(device), spec.channels == "BGR")

    def __call__(self, pixels: Tensor) -> Tensor:
        """See the class. The result lies in memory channels last, which convolutions like best."""
        if self.reverse:
            pixels = pixels.flip(-1)
        return torch.addcmul(self.offset, pixels.to(torch.float32), self.factor).permute(0, 3, 1, 2)
