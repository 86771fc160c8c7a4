"""The two objectives that learn from labels: triplets, and margins between classes whose head is cut off afterwards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from kith.training.collapse import CollapseGuard
from kith.training.loader import Batch
from kith.training.miners import miner
from kith.training.objective import Loss, Normalise
from kith.training.sampler import NeighbourhoodSampler, Sampler
from kith.training.schedule import Curriculum
from kith.training.triplet_loss import triplet_loss


class Triplet:
    """max(0, |A−P|² − |A−N|² + margin) on unit vectors, for the triplets a miner finds in the batch.

    name: of the miner, or `curriculum`, which goes from easy triplets to hard ones (kith.training.schedule).
    """

    def __init__(self, name: str, margin: float, normalise: Normalise, seed: int) -> None:
        self.curriculum = Curriculum() if name == "curriculum" else None
        self._mine = miner(self.curriculum.difficulty.miner if self.curriculum else name, margin)
        self._active: list[float] = []
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
        self._active.append(loss.active)
        return Loss(loss.value, {"active": loss.active, "distance": spread.mean_distance}, found)

    def diagnosis(self) -> str | None:
        """What is going wrong, if anything is."""
        return self.guard.diagnosis()

    def move_on(self, sampler: Sampler) -> str | None:
        """After an epoch: let the curriculum choose the next one's difficulty; what it chose, where that is new."""
        if self.curriculum is None or not self._active:
            return None
        before = self.curriculum.difficulty
        self._stand_at(self.curriculum.after(sum(self._active) / len(self._active), self.guard.collapsed), sampler)
        self._active.clear()
        now = self.curriculum.difficulty
        if now == before:
            return None
        # A collapse is over with the triplets that caused it: the next epoch is judged by itself.
        self.guard = CollapseGuard()
        return f"curriculum: {now.miner} triplets, {now.neighbourhoods:.0%} of the batches look-alikes"

    def memory(self) -> dict[str, float]:
        """What a resumed run has to know: where the curriculum stands."""
        return {} if self.curriculum is None else {"level": self.curriculum.level, "highest": self.curriculum.highest}

    def recall(self, memory: Mapping[str, float], sampler: Sampler) -> None:
        """Stand where `memory` says."""
        if self.curriculum is not None and memory:
            level, highest = int(memory["level"]), int(memory["highest"])
            self._stand_at(replace(self.curriculum, level=level, highest=highest), sampler)

    def _stand_at(self, curriculum: Curriculum, sampler: Sampler) -> None:
        self.curriculum = curriculum
        self._mine = miner(curriculum.difficulty.miner, self._margin)
        if isinstance(sampler, NeighbourhoodSampler):
            sampler.share = 1 - curriculum.difficulty.neighbourhoods


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
