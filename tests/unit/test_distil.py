"""Teachers and students: losses recomputed by hand, lessons that are learned, students that do not fit."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kith.errors import Rejected
from kith.manifest import EmbedderSpec
from kith.networks import build
from kith.training.distil import AsAWhole, NetworkTeacher, PieceByPiece, stages_match
from kith.training.front import FrozenFront
from kith.training.loader import Batch
from kith.training.objective import Normalise

NORMALISE = Normalise.of(EmbedderSpec("safetensors", 4, "x", network="tiny"), torch.device("cpu"))


class Tiny(nn.Module):
    """Two convolutions and a linear layer, cut behind each."""

    def __init__(self, seed: int, width: int = 4, dimension: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, width, 3, stride=4)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Linear(width, dimension)

    def stages(self) -> list[nn.Sequential]:
        pool = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]
        return [nn.Sequential(self.first), nn.Sequential(self.second), nn.Sequential(*pool, self.last)]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        for stage in self.stages():
            pixels = stage(pixels)
        return pixels


def batch(n: int = 6, side: int = 16) -> Batch:
    pixels = np.random.default_rng(1).integers(0, 256, (n, side, side, 3)).astype(np.uint8)
    return Batch(torch.from_numpy(pixels), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def test_the_loss_of_the_pieces_is_the_error_of_each_over_what_it_changes() -> None:
    student, teacher = Tiny(0), Tiny(1)
    found = PieceByPiece(student, teacher.stages(), NORMALISE).loss(student, batch())
    before, expected = NORMALISE(batch().pixels), 0.0
    for mine, theirs in zip(student.stages(), teacher.stages(), strict=True):
        with torch.no_grad():
            after, out = theirs(before), mine(before)
        # Only the second stage keeps the shape: it is judged by what it adds.
        change = after - before if after.shape == before.shape else after - after.mean(dim=0, keepdim=True)
        expected += float(((out - after) ** 2).mean() / (change**2).mean())
        before = after
    assert float(found.value.detach()) == pytest.approx(expected, rel=1e-5)
    assert found.facts["error"] == pytest.approx(expected / 3, rel=1e-5)


def test_a_teacher_who_teaches_himself_has_nothing_to_correct() -> None:
    teacher = Tiny(1)
    assert float(PieceByPiece(teacher, teacher.stages(), NORMALISE).loss(teacher, batch()).value.detach()) == 0


def test_no_piece_is_blamed_for_the_errors_of_the_one_before_it() -> None:
    student, teacher = Tiny(0), Tiny(1)
    found = PieceByPiece(student, teacher.stages(), NORMALISE)
    found.loss(student, batch()).value.backward()
    alone = student.last.weight.grad.clone()
    student.zero_grad()
    with torch.no_grad():
        student.first.weight.add_(1.0)
    found.loss(student, batch()).value.backward()
    assert torch.allclose(student.last.weight.grad, alone)


def test_the_loss_of_the_whole_is_one_minus_cosine_and_the_relations() -> None:
    student, teacher = Tiny(0), Tiny(1)
    objective = AsAWhole(NetworkTeacher(teacher.stages(), 4, NORMALISE), 4, NORMALISE, relations=2.0)
    found = objective.loss(student, batch())
    with torch.no_grad():
        mine = functional.normalize(student(NORMALISE(batch().pixels))).numpy()
        theirs = functional.normalize(teacher(NORMALISE(batch().pixels))).numpy()
    cosine = np.mean([mine[i] @ theirs[i] for i in range(6)])
    relations = np.mean([(mine[i] @ mine[j] - theirs[i] @ theirs[j]) ** 2 for i in range(6) for j in range(6)])
    assert float(found.value.detach()) == pytest.approx(1 - cosine + 2 * relations, abs=1e-5)
    assert found.facts["cosine"] == pytest.approx(cosine, abs=1e-6)


def test_a_teacher_of_another_dimension_teaches_by_relations_alone() -> None:
    student, teacher = Tiny(0, dimension=3), Tiny(1)
    found = AsAWhole(NetworkTeacher(teacher.stages(), 4, NORMALISE), 3, NORMALISE).loss(student, batch())
    assert set(found.facts) == {"relations"}
    assert float(found.value.detach()) == pytest.approx(found.facts["relations"])


@pytest.mark.parametrize("how", ["pieces", "whole"])
def test_both_lessons_are_learned(how: str) -> None:
    student, teacher = Tiny(0), Tiny(1)
    objective = (
        PieceByPiece(student, teacher.stages(), NORMALISE)
        if how == "pieces"
        else AsAWhole(NetworkTeacher(teacher.stages(), 4, NORMALISE), 4, NORMALISE)
    )
    optimiser = torch.optim.Adam(student.parameters(), 0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = objective.loss(student, batch()).value
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_the_teacher_is_not_taught() -> None:
    teacher = Tiny(1)
    found = NetworkTeacher(teacher.stages(), 4, NORMALISE).vectors(batch())
    assert not found.requires_grad
    assert torch.allclose(found.norm(dim=1), torch.ones(6))


def test_networks_that_are_cut_differently_are_told_apart() -> None:
    teacher = Tiny(1).stages()
    assert stages_match(Tiny(0), teacher, (2, 3, 16, 16))
    assert not stages_match(Tiny(0, width=5), teacher, (2, 3, 16, 16))
    assert not stages_match(nn.Linear(1, 1), teacher, (2, 3, 16, 16))
    assert not stages_match(Tiny(0), None)


def test_a_student_of_another_depth_is_refused_in_words() -> None:
    class Shallow(Tiny):
        def stages(self) -> list[nn.Sequential]:
            return super().stages()[:2]

    with pytest.raises(Rejected, match="2 stages and the teacher 3"):
        PieceByPiece(Shallow(0), Tiny(1).stages(), NORMALISE)


def test_a_stage_on_large_maps_is_shown_a_part_of_the_batch() -> None:
    seen: list[int] = []

    class Watched(Tiny):
        def stages(self) -> list[nn.Sequential]:
            first, *others = super().stages()
            first.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
            return [first, *others]

    student = Watched(0)
    objective = PieceByPiece(student, Tiny(1).stages(), NORMALISE)
    objective.loss(student, batch(32, side=16))
    objective.loss(student, batch(32, side=10))
    # 32 · 10² / 16² = 12.5, and all of them where the maps are small.
    assert seen == [12, 32]


def test_a_frozen_front_gives_what_the_network_gives_and_learns_nothing() -> None:
    torch.manual_seed(0)
    network = build("mobilefacenet", 16)
    front = FrozenFront(network.stages(), 8, torch.device("cpu"), 112).eval()
    pixels = torch.randn(2, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        plain, fast = functional.normalize(network(pixels)), functional.normalize(front(pixels))
    assert float((plain * fast).sum(dim=1).min()) > 0.99
    front(pixels).sum().backward()
    learning = {id(weight) for weight in front.parameters()}
    stages = network.stages()
    assert learning == {id(weight) for stage in stages[8:] for weight in stage.parameters()}
    assert all(weight.grad is None for stage in stages[:8] for weight in stage.parameters())


def test_the_stages_of_mobilefacenet_are_the_network() -> None:
    torch.manual_seed(0)
    network = build("mobilefacenet", 16)
    pixels = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        maps = pixels
        for stage in network.stages():
            maps = stage(maps)
        assert torch.equal(maps, network(pixels))
    pieces = {id(weight) for stage in network.stages() for weight in stage.parameters()}
    assert pieces == {id(weight) for weight in network.parameters()}


def test_bytes_become_what_the_manifest_says() -> None:
    spec = EmbedderSpec("onnx", 4, "x", channels="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    out = Normalise.of(spec, torch.device("cpu"))(torch.tensor([[[[10, 20, 30]]]], dtype=torch.uint8))
    expected = [(30 * 0.5 - 1) / 1, (20 * 0.5 - 2) / 2, (10 * 0.5 - 3) / 4]
    assert out.shape == (1, 3, 1, 1)
    assert out.flatten().tolist() == pytest.approx(expected)
