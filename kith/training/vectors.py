"""Crops through a network in training, as plain arrays."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from kith.training.objective import Normalise

_BATCH = 32


@torch.no_grad()
def embed_all(network: nn.Module, pixels: NDArray[np.uint8], normalise: Normalise) -> NDArray[np.float32]:
    """(n, 112, 112, 3) uint8 to (n, d) float32 unit rows, by `network` in eval mode (restored afterwards)."""
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    parts = []
    try:
        for start in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + _BATCH])).to(device)
            parts.append(functional.normalize(network(normalise(batch)).float()).cpu().numpy())
    finally:
        network.train(was_training)
    return np.concatenate(parts)
