"""The two objectives that learn from labels: triplets, and margins between classes whose head is cut off afterwards."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from kith.training.collapse import CollapseGuard
from kith.training.loader import Batch
from kith.training.miners import miner
from kith.training.objective import Loss, Normalise
from kith.training.triplet_loss import triplet_loss


class Triplet:
    """max(0, |A−P|² − |A−N|² + margin) on unit vectors, for the triplets a miner finds in the batch."""

    def __init__(self, name: str, margin: float, normalise: Normalise, seed: int) -> None:
        self._mine = miner(name, margin)
        self._margin = margin
        self._normalise = normalise
        self._seed = seed
        self.guard = CollapseGuard()

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """facts: active, the fraction of triplets that still teach; distance, the mean between any two vectors."""
        found = functional.normalize(network(self._normalise(batch.pixels)).float())
        # Seeded by the batch itself: a resumed run draws the same triplets.
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + int(batch.indices.sum()))
        triplets = self._mine(found.detach(), batch.labels, generator)
        loss = triplet_loss(found, triplets, self._margin)
        spread = self.guard.feed(found.detach(), loss.active)
        return Loss(loss.value, {"active": loss.active, "distance": spread.mean_distance}, found)


class Margins:
    """A classification loss with a head of its own (softmax, ArcFace, …). The head is thrown away with this object."""

    def __init__(self, head: nn.Module, normalise: Normalise) -> None:
        self._head = head
        self._normalise = normalise
        self.guard = CollapseGuard()

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._head.parameters()

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        embeddings = network(self._normalise(batch.pixels)).float()
        value = self._head(embeddings, batch.labels)
        found = functional.normalize(embeddings.detach())
        spread = self.guard.feed(found, None)
        return Loss(value, {"distance": spread.mean_distance}, found)
