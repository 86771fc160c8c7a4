"""A phase as it is configured → what gives its batches and its loss."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kith.crops import CROP_PX
from kith.errors import Misconfigured
from kith.training.config import Phase
from kith.training.distil import AsAWhole, PieceByPiece, Teacher, stages_match
from kith.training.faces import Faces
from kith.training.front import FrozenFront, Stage
from kith.training.margin_losses import margin_loss
from kith.training.objective import Normalise, Objective
from kith.training.sampler import NeighbourhoodSampler, PkSampler, Sampler
from kith.training.triplets import Margins, Triplet

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tools:
    """What all phases of a run share. teacher, teacher_stages: see kith.training.distil; None without a teacher."""

    network: nn.Module
    dimension: int
    normalise: Normalise
    device: torch.device
    amp: bool
    teacher: Teacher | None = None
    teacher_stages: Sequence[Stage] | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """wants_vectors: the sampler learns from embeddings before each epoch. diagnosis: what is going wrong, if anything
    is. front: the network with its first stages frozen, where they are. triplet: the objective where it is made of
    triplets, whose curriculum moves on between epochs."""

    name: str
    objective: Objective
    sampler: Sampler
    wants_vectors: bool = False
    diagnosis: Callable[[], str | None] = lambda: None
    front: FrozenFront | None = None
    triplet: Triplet | None = None


class Shuffled:
    """Every picture once an epoch, in an order of its own; the last batch is left out when it is not full, for batch
    norms to see batches of one size."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self._count, self._batch, self._seed = count, min(batch, count), seed

    def batches(self, epoch: int) -> Iterator[Indices]:
        order = np.random.default_rng((self._seed, epoch)).permutation(self._count)
        for start in range(0, self._count - self._batch + 1, self._batch):
            yield order[start : start + self._batch]

    def learn(self, embeddings: NDArray[np.float32]) -> None:
        """Nothing: the order depends on nobody's vectors."""


def lesson_of(phase: Phase, tools: Tools, faces: Faces, seed: int) -> Lesson:
    """Raises Misconfigured for an objective nobody knows or one that lacks its teacher, Rejected for too few faces."""
    lesson = _lesson(phase, tools, faces, seed)
    return replace(lesson, front=_front(phase, tools)) if phase.frozen_stages else lesson


def _front(phase: Phase, tools: Tools) -> FrozenFront:
    stages = tools.network.stages() if hasattr(tools.network, "stages") else []  # type: ignore[operator]
    if phase.frozen_stages >= len(stages):
        raise Misconfigured(
            f"frozen_stages is {phase.frozen_stages}, the network has {len(stages)} stages; at least one must learn"
        )
    if phase.objective == "distil-pieces":
        raise Misconfigured("frozen_stages does not go with distil-pieces, where each stage learns alone")
    return FrozenFront(stages, phase.frozen_stages, tools.device, CROP_PX)


def _lesson(phase: Phase, tools: Tools, faces: Faces, seed: int) -> Lesson:
    shuffled = Shuffled(len(faces.labels), phase.batch, seed)
    if phase.objective == "triplet":
        triplet = Triplet(phase.miner, phase.margin, tools.normalise, seed)
        look_alikes = phase.sampler == "neighbourhoods" or triplet.curriculum is not None
        sampler = (NeighbourhoodSampler if look_alikes else PkSampler)(
            faces.labels.tolist(),
            subjects=phase.subjects,
            images=phase.images,
            seed=seed,
            batches_per_epoch=phase.steps_per_epoch,
        )
        name = f"triplets, {phase.miner}" + (", neighbourhoods" if phase.sampler == "neighbourhoods" else "")
        triplet.recall(triplet.memory(), sampler)
        return Lesson(name, triplet, sampler, look_alikes, triplet.diagnosis, triplet=triplet)
    if phase.objective in ("distil", "distil-pieces"):
        if tools.teacher is None:
            raise Misconfigured(
                f"the objective {phase.objective} needs a teacher: --teacher PACK, or teacher = in the file"
            )
        if phase.objective == "distil":
            whole = AsAWhole(tools.teacher, tools.dimension, tools.normalise)
            return Lesson(f"teacher {whole.name}", whole, shuffled)
        if tools.teacher_stages is None or not stages_match(tools.network, tools.teacher_stages):
            raise Misconfigured(
                "the objective distil-pieces needs a teacher whose network is cut like the student's (the same network "
                "of kith.networks, of the same dimension); use the objective distil"
            )
        pieces = PieceByPiece(tools.network, tools.teacher_stages, tools.normalise)  # type: ignore[arg-type]
        return Lesson(f"teacher {pieces.name}", pieces, shuffled)
    head = margin_loss(phase.objective, classes=len(faces.names), dimension=tools.dimension, seed=seed)
    margins = Margins(head.to(tools.device), tools.normalise)
    return Lesson(phase.objective, margins, shuffled, False, margins.guard.diagnosis)
