"""The distillation loop on drawn pictures: what a step sees, how fast it learns, what is kept. Real faces are in
tests/integration/test_distil_detector.py."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kith.networks.face_detector import FaceDetector
from kith.training.cutouts import Cutout
from kith.training.detector_config import DetectorConfig
from kith.training.detector_export import export_detector
from kith.training.detector_teacher import DetectorTeacher
from kith.training.detector_trainer import DetectorTrainer
from kith.training.progress import Epoch, Silent

SMALL = {"teacher": "nobody", "data": ["nowhere"], "batch_px": 26_000, "scene_px": 64, "epoch_steps": 2}


@pytest.fixture(scope="module")
def teacher() -> DetectorTeacher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return DetectorTeacher(export_detector(FaceDetector().eval()), "the test")


@pytest.fixture(scope="module")
def cutouts() -> list[Cutout]:
    rng = np.random.default_rng(0)
    return [Cutout(rng.integers(0, 256, (60, 50, 3), dtype=np.uint8), (10, 12, 30, 36)) for _ in range(3)]


class Collected(Silent):
    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def epoch(self, record: Epoch) -> None:
        self.epochs.append(record)


def trainer(
    teacher: DetectorTeacher, cutouts: list[Cutout], out: Path, told: Silent | None = None, **other: object
) -> DetectorTrainer:
    return DetectorTrainer(DetectorConfig.model_validate({**SMALL, **other}), teacher, cutouts, out, told or Silent())


def test_a_step_always_sees_the_same_and_no_two_see_the_same(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path
) -> None:
    one, again = (trainer(teacher, cutouts, tmp_path) for _ in range(2))
    assert np.array_equal(one.scenes(1, 7), again.scenes(1, 7))
    seen = [one.scenes(phase, step).tobytes() for phase in (0, 1) for step in (0, 1)]
    assert len(set(seen)) == 4
    assert not np.array_equal(one.scenes(1, 7), trainer(teacher, cutouts, tmp_path, seed=1).scenes(1, 7))


def test_a_step_sees_about_as_many_pixels_whatever_it_looks_at(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path
) -> None:
    each = trainer(teacher, cutouts, tmp_path, batch_px=55_000)
    shapes = {each.scenes(0, step).shape for step in range(8)}
    assert shapes == {(2, 160, 160, 3), (13, 64, 64, 3)}


def test_the_rate_rises_from_nothing_and_falls_to_a_hundredth_along_half_a_cosine(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path
) -> None:
    each = trainer(teacher, cutouts, tmp_path, rate=1.0, piece_rate=8.0)
    assert each._rate(1, 0, 1000) == pytest.approx(1 / 50)
    assert each._rate(1, 500, 1000) == pytest.approx(0.01 + 0.99 / 2)
    assert each._rate(1, 250, 1000) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2)
    assert each._rate(1, 1000, 1000) == pytest.approx(0.01)
    assert each._rate(0, 500, 1000) == pytest.approx(8 * each._rate(1, 500, 1000))


def test_the_average_follows_at_once_while_it_knows_nothing_and_slowly_later(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path
) -> None:
    each = trainer(teacher, cutouts, tmp_path, average=0.99)
    moved = []
    for step in (0, 10, 10_000):
        for weight in each.average.parameters():
            weight.data.zero_()
        for weight in each.network.parameters():
            weight.data.fill_(1.0)
        each._follow(step)
        moved.append(next(each.average.parameters()).flatten()[0].item())
    assert moved == pytest.approx([0.9, 9 / 20, 0.01], rel=1e-3)


def test_both_phases_run_every_epoch_is_judged_and_the_seed_decides_the_outcome(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path
) -> None:
    def run(out: Path, seed: int) -> tuple[FaceDetector, Collected]:
        out.mkdir()
        told = Collected()
        each = trainer(teacher, cutouts, out, told, piece_steps=3, steps=2, seed=seed)
        return each.run(False, lambda _: {"recall": 0.5}), told

    network, told = run(tmp_path / "one", 0)
    assert [(record.phase, record.epoch) for record in told.epochs] == [(0, 0), (0, 1), (1, 0)]
    assert all(record.validation == {"recall": 0.5} for record in told.epochs)
    assert not network.training
    assert export_detector(network) == export_detector(run(tmp_path / "two", 0)[0])
    assert export_detector(network) != export_detector(run(tmp_path / "three", 1)[0])


def test_batch_norms_are_fixed_once_they_have_seen_enough(
    teacher: DetectorTeacher, cutouts: list[Cutout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = trainer(teacher, cutouts, tmp_path)
    assert [each._follows_batch(0, step, 500) for step in (0, 59, 60, 499)] == [True, True, False, False]
    assert not each._follows_batch(1, 0, 500)
    # Where only outputs are learned from, the network has to find its own statistics for longer.
    monkeypatch.setattr(teacher, "alike", False)
    assert [each._follows_batch(1, step, 500) for step in (0, 299, 300)] == [True, True, False]
