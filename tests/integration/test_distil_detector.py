"""A detector distilled on real faces, in small: it learns, a kill costs nothing, and what cannot work is said at once.

What the same command reaches in an hour stands in the model card of the pack it made.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from kith.errors import Misconfigured, Rejected
from kith.training.detector_config import DetectorConfig
from kith.training.detector_trainer import CHECKPOINT, FAILED_BATCH
from kith.training.distil_detector import DETECTOR, FIGURES, distil_detector
from kith.training.errors import Diverged
from kith.training.progress import Epoch, Silent
from kith.yunet import YuNet
from tests.shared_data import shared_data

#: Steps of each phase: enough to see it learn, few enough to wait for.
STEPS = 30


class Collected(Silent):
    """Keeps what it is told; raises KeyboardInterrupt when `stop_at` steps were made."""

    def __init__(self, stop_at: int = 0) -> None:
        self.steps: list[Mapping[str, float]] = []
        self.epochs: list[Epoch] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, name: str, step: int, of: int, facts: Mapping[str, float], rate: float) -> None:
        self.steps.append(facts)
        if len(self.steps) == self._stop_at:
            raise KeyboardInterrupt

    def epoch(self, record: Epoch) -> None:
        self.epochs.append(record)


@pytest.fixture(scope="module")
def shared() -> Path:
    return shared_data()


@pytest.fixture(scope="module")
def faces(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen pictures, one a person."""
    folder = tmp_path_factory.mktemp("faces")
    for person in sorted((shared / "faces" / "train").iterdir())[:12]:
        (folder / person.name).mkdir()
        shutil.copy(min(person.iterdir()), folder / person.name)
    return folder


def config(shared: Path, faces: Path, **other: object) -> DetectorConfig:
    small = {"piece_steps": STEPS, "steps": STEPS, "epoch_steps": 20, "batch_px": 60_000, "scene_px": 128, "threads": 1}
    return DetectorConfig.model_validate(
        {"teacher": shared / "weights", "data": (faces,), "average": 0.9, **small, **other}
    )


@pytest.fixture(scope="module")
def run(shared: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Collected]:
    out, told = tmp_path_factory.mktemp("run"), Collected()
    distil_detector(config(shared, faces), out, told)
    return out, told


def test_thirty_steps_of_each_phase_bring_the_student_nearer(run: tuple[Path, Collected]) -> None:
    _, told = run
    losses = [step["loss"] for step in told.steps]
    assert len(losses) == 2 * STEPS
    assert np.mean(losses[STEPS - 5 : STEPS]) < 0.5 * np.mean(losses[:5])
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[STEPS : STEPS + 5])
    assert [record.objective for record in told.epochs] == ["piece by piece"] * 2 + ["as a whole"] * 2


def test_the_outcome_is_a_detector_with_its_figures(run: tuple[Path, Collected]) -> None:
    out, told = run
    data = (out / DETECTOR).read_bytes()
    assert YuNet(data).detect(np.zeros((64, 64, 3), np.uint8)) == []
    figures = json.loads((out / FIGURES).read_text())
    assert figures["images"] == 1
    assert figures["faces"] >= 1
    assert 0 <= figures["recall"] <= 1
    assert figures["bytes"] == len(data) < 400_000
    assert figures["frame_ms"] > 0
    assert told.epochs[-1].validation is not None
    assert "recall" in told.epochs[-1].validation


def test_a_run_that_was_killed_ends_where_an_undisturbed_one_does(
    run: tuple[Path, Collected], shared: Path, faces: Path, tmp_path: Path
) -> None:
    # In the midst of an epoch, just after a checkpoint: one is written after each step.
    often = config(shared, faces, checkpoint_minutes=1e-9)
    with pytest.raises(KeyboardInterrupt):
        distil_detector(often, tmp_path, Collected(stop_at=STEPS + 5))
    told = Collected()
    distil_detector(often, tmp_path, told, resume=True)
    assert len(told.steps) == STEPS - 4
    assert told.notes[-1] == "going on at phase 2, epoch 1, step 5"
    assert (tmp_path / DETECTOR).read_bytes() == (run[0] / DETECTOR).read_bytes()


def test_another_configuration_does_not_go_on_from_it(run: tuple[Path, Collected], shared: Path, faces: Path) -> None:
    with pytest.raises(Misconfigured, match="another configuration"):
        distil_detector(config(shared, faces, seed=1), run[0], resume=True)


def test_a_teacher_without_a_detector_is_refused_before_anything_is_read(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "weights" / "mobilefacenet_foamliu.pt", tmp_path)
    with pytest.raises(Misconfigured, match="has no detector to learn from"):
        distil_detector(
            config(tmp_path, tmp_path / "absent").model_copy(update={"teacher": tmp_path}), tmp_path / "out"
        )


def test_folders_without_faces_are_refused(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no pictures in"):
        distil_detector(config(shared, tmp_path), tmp_path / "out")


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_scenes(shared: Path, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=FAILED_BATCH):
        distil_detector(config(shared, faces, piece_rate=1e30, clip=1e30), tmp_path)
    assert np.load(tmp_path / FAILED_BATCH).dtype == np.uint8
    assert not (tmp_path / CHECKPOINT).exists()
