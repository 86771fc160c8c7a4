"""A small network learns what a trained one says (Hinton, Vinyals and Dean 2015), on any faces, labelled or not.

Two lessons. *Piece by piece*: where student and teacher are cut alike, each piece of the student learns its piece of
the teacher from the teacher's own maps (FitNets, Romero et al. 2015; block by block as in Li et al. 2020, "Blockwisely
supervised neural architecture search with knowledge distillation"). Twenty shallow problems at once converge in a few
epochs where one deep one takes dozens. *As a whole*: the student's vectors learn the teacher's, which removes the
errors that the pieces pass on to each other.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from kith.checkpoints import Pack
from kith.embedder import Embedder, embed, open_embedder
from kith.errors import Rejected
from kith.runtimes.pytorch import load_network
from kith.training.front import Stage, serving_form
from kith.training.loader import Batch
from kith.training.objective import Loss, Normalise

#: Side of the maps from which on a stage is shown a part of the batch; the smallest part, enough for its batch norms.
_ENOUGH_PX, _FEWEST = 10, 8


class Staged(Protocol):
    """A network that says where its maps change."""

    def stages(self) -> list[nn.Sequential]:
        """Pieces which run one after the other are the network."""
        ...


class PieceByPiece:
    """Each stage of the student is to map the teacher's maps to the teacher's next ones.

    The loss of a stage is its squared error over the variance of what the teacher's stage changes, so that 1 is the
    error of doing nothing and stages of all scales count alike. Every position of a map is an example: a stage on large
    maps is shown a part of the batch, for it costs the most and has the most examples.
    """

    name = "piece by piece"

    def __init__(self, student: Staged, teacher: Sequence[Stage], normalise: Normalise) -> None:
        self._student, self._teacher = student.stages(), list(teacher)
        if len(self._student) != len(self._teacher):
            raise Rejected(
                f"the student has {len(self._student)} stages and the teacher {len(self._teacher)}: only networks of "
                "one shape can be taught piece by piece; use the objective `distil`"
            )
        self._normalise = normalise

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def loss(self, network: nn.Module, batch: Batch) -> Loss:  # noqa: ARG002 - the stages are the network
        errors = []
        before = self._normalise(batch.pixels)
        for student, teacher in zip(self._student, self._teacher, strict=True):
            with torch.no_grad():
                after = teacher(before)
                some = slice(_shown(before))
                wanted = after[some].float()
                same = after.shape == before.shape
                change = wanted - before[some] if same else wanted - wanted.mean(dim=0, keepdim=True)
                scale = change.square().mean()
            errors.append((student(before[some]).float() - wanted).square().mean() / scale)
            before = after
        worst = max(errors, key=lambda error: float(error.detach()))
        return Loss(
            torch.stack(errors).sum(),
            {"error": float(sum(errors).detach()) / len(errors), "worst": float(worst.detach())},
        )


def _shown(maps: Tensor) -> int:
    """How many of the batch a stage is shown that reads `maps`."""
    area = maps.shape[2] * maps.shape[3] if maps.ndim == 4 else 1
    return min(len(maps), max(_FEWEST, len(maps) * _ENOUGH_PX**2 // area))


class AsAWhole:
    """The student's unit vectors are to be the teacher's: 1 − cosine, plus `relations` times the squared difference of
    all cosines within the batch, which is all there is where the two have different dimensions (Park et al. 2019,
    "Relational knowledge distillation")."""

    name = "as a whole"

    def __init__(self, teacher: "Teacher", dimension: int, normalise: Normalise, relations: float = 1.0) -> None:
        self._teacher = teacher
        self._same = teacher.dimension == dimension
        self._normalise = normalise
        self._relations = relations

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        target = self._teacher.vectors(batch)
        found = functional.normalize(network(self._normalise(batch.pixels)).float())
        difference = (found @ found.T - target @ target.T).square().mean()
        value = self._relations * difference
        facts = {"relations": float(difference.detach())}
        if self._same:
            cosine = (found * target).sum(dim=1).mean()
            value = value + 1 - cosine
            facts["cosine"] = float(cosine.detach())
        return Loss(value, facts, found)


class Teacher(Protocol):
    """Gives the vectors to learn."""

    dimension: int

    def vectors(self, batch: Batch) -> Tensor:
        """(n, dimension) float32 unit rows, without gradient."""
        ...


class NetworkTeacher:
    """A torch network on the device of the student; stages which run one after the other are the network."""

    def __init__(self, stages: Sequence[Stage], dimension: int, normalise: Normalise) -> None:
        self._stages = stages
        self._normalise = normalise
        self.dimension = dimension

    @torch.no_grad()
    def vectors(self, batch: Batch) -> Tensor:
        maps = self._normalise(batch.pixels)
        for stage in self._stages:
            maps = stage(maps)
        return functional.normalize(maps.float())


class PackTeacher:
    """Whatever a model pack runs: ONNX models too."""

    def __init__(self, embedder: Embedder, device: torch.device) -> None:
        self._embedder = embedder
        self._device = device
        self.dimension = embedder.dimension

    def vectors(self, batch: Batch) -> Tensor:
        crops = list(batch.pixels.cpu().numpy())
        return torch.from_numpy(embed(self._embedder, crops)).to(self._device)


def open_teacher(pack: Pack, device: torch.device, threads: int) -> tuple[Teacher, list[Stage] | None]:
    """The teacher in `pack`, and its stages where it is a network of ours that says them."""
    spec = pack.manifest.embedder
    if spec.format not in ("torch", "safetensors"):
        return PackTeacher(open_embedder(pack, device.type, threads), device), None
    network = load_network(pack).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalise = Normalise.of(spec, device)
    staged = hasattr(network, "stages")
    stages = serving_form(network.stages() if staged else [network], device, pack.input_size)
    return NetworkTeacher(stages, pack.dimension, normalise), stages if staged else None


def stages_match(student: nn.Module, teacher: Sequence[Stage] | None, sizes: Sequence[int] = (2, 3, 112, 112)) -> bool:
    """Whether `student` can be taught piece by piece: as many stages, maps of the same shapes."""
    if teacher is None or not callable(getattr(student, "stages", None)):
        return False
    here, there = student.stages(), list(teacher)  # type: ignore[operator]
    if len(here) != len(there):
        return False
    maps = torch.zeros(*sizes, device=next(student.parameters()).device)
    was_training = student.training
    student.eval()
    try:
        with torch.no_grad():
            for mine, theirs in zip(here, there, strict=True):
                after = theirs(maps)
                if mine(maps).shape != after.shape:
                    return False
                maps = after
    finally:
        student.train(was_training)
    return True
