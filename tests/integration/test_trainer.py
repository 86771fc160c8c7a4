"""The loop: what it learns, what it keeps, how it goes on after a kill and what it says when it cannot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kith.errors import Misconfigured
from kith.manifest import EmbedderSpec
from kith.training.config import Phase, TrainConfig
from kith.training.distil import NetworkTeacher
from kith.training.errors import Diverged
from kith.training.faces import Faces
from kith.training.objective import Normalise
from kith.training.phases import Tools
from kith.training.progress import Epoch, Silent
from kith.training.trainer import CHECKPOINT, FAILED_BATCH, Trained, Trainer

CPU = torch.device("cpu")
NORMALISE = Normalise.of(EmbedderSpec("safetensors", 4, "x", network="tiny"), CPU)


def tiny(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 8),
    )


def people(count: int, each: int, seed: int) -> Faces:
    """Subjects are patterns of four colours under noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(40, 216, (count, 2, 2, 3))
    pictures = np.kron(np.repeat(patterns, each, axis=0), np.ones((1, 8, 8, 1)))
    pixels = np.clip(pictures + rng.normal(0, 50, pictures.shape), 0, 255).astype(np.uint8)
    labels = np.repeat(np.arange(count), each).astype(np.int64)
    return Faces(pixels, labels, tuple(f"s{number}" for number in range(count)), ())


def config(*phases: dict[str, Any], **more: Any) -> TrainConfig:
    plain = {
        "augment": dict.fromkeys(("shift_px", "turn_deg", "scale", "shrink", "erase"), 0),
        "average": 0.5,
        "validation": {"fpir": 0.2},
    }
    return TrainConfig.model_validate({"data": {"path": "nowhere"}, "phases": phases, **plain, **more})


TRIPLET = {"objective": "triplet", "epochs": 3, "learning_rate": 3e-3, "subjects": 4, "images": 3, "warm_up_steps": 2}
SOFTMAX = {"objective": "NormalizedSoftmaxLoss", "epochs": 2, "learning_rate": 3e-3, "batch": 12, "warm_up_steps": 2}


class Told(Silent):
    """Remembers notes and epochs; dies at step `fatal` when it is told to."""

    def __init__(self, fatal: int | None = None) -> None:
        self.notes: list[str] = []
        self.epochs: list[Epoch] = []
        self._left = fatal

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, record: Epoch) -> None:
        self.epochs.append(record)

    def step(self, name: str, step: int, of: int, facts: Mapping[str, float], rate: float) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt


def train(
    wanted: TrainConfig,
    out: Path,
    told: Silent | None = None,
    resume: bool = False,
    device: torch.device = CPU,
    amp: bool = False,
    **tools: Any,
) -> Trained:
    normalise = Normalise.of(EmbedderSpec("safetensors", 4, "x", network="tiny"), device)
    network = (tools.pop("network", None) or tiny()).to(device)
    made = Tools(network, 8, normalise, device, amp=amp, **tools)
    out.mkdir(exist_ok=True)
    return Trainer(wanted, made, people(12, 6, 0), people(8, 4, 1), out, told or Told()).run(resume)


def weights(trained: Trained) -> np.ndarray:
    return np.concatenate([value.cpu().numpy().ravel() for value in trained.network.state_dict().values()])


def test_classes_then_triplets_teach_to_tell_people_apart_who_were_never_seen(tmp_path: Path) -> None:
    told = Told()
    long = {**SOFTMAX, "epochs": 15}, {**TRIPLET, "epochs": 5}
    trained = train(config(*long), tmp_path, told)
    assert [(each.phase, each.epoch) for each in told.epochs] == [(0, n) for n in range(15)] + [
        (1, n) for n in range(5)
    ]
    first, last = told.epochs[0], told.epochs[14]
    assert last.facts["loss"] < 0.8 * first.facts["loss"]
    assert trained.score is not None
    assert trained.score == max(each.validation["dir"] for each in told.epochs if each.validation)
    assert not trained.network.training


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


@needs_cuda
@pytest.mark.parametrize("amp", [False, True])
def test_a_gpu_teaches_the_same_in_full_and_in_mixed_precision(tmp_path: Path, amp: bool) -> None:
    wanted = config({**SOFTMAX, "epochs": 15}, {**TRIPLET, "epochs": 5})
    device = torch.device("cuda")
    on_cpu, on_gpu = train(wanted, tmp_path / "cpu"), train(wanted, tmp_path / "gpu", device=device, amp=amp)
    assert next(on_gpu.network.parameters()).is_cuda
    assert on_gpu.history[14].facts["loss"] < 0.8 * on_gpu.history[0].facts["loss"]
    # One run, until rounding has led the two apart: then each epoch mines other triplets.
    for theirs, mine in zip(on_cpu.history[:15], on_gpu.history[:15], strict=True):
        assert mine.facts["loss"] == pytest.approx(theirs.facts["loss"], rel=0.15), theirs.epoch


@needs_cuda
def test_a_run_on_a_gpu_that_was_killed_goes_on(tmp_path: Path) -> None:
    device = torch.device("cuda")
    whole = train(BOTH, tmp_path / "whole", device=device, amp=True)
    with pytest.raises(KeyboardInterrupt):
        train(BOTH, tmp_path / "killed", Told(fatal=7), device=device, amp=True)
    resumed = train(BOTH, tmp_path / "killed", resume=True, device=device, amp=True)
    # Sums of a GPU are added in an order of their own.
    np.testing.assert_allclose(weights(resumed), weights(whole), rtol=0.02, atol=0.02)


#: Checkpoints at every step: none of them may change what is learned.
BOTH = config(SOFTMAX, TRIPLET, checkpoint_minutes=1e-9)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(BOTH, tmp_path_factory.mktemp("whole"))


# 13 is in the second phase.
@pytest.mark.parametrize("fatal", [3, 7, 13])
def test_a_run_that_was_killed_goes_on_to_the_very_weights_of_one_that_was_not(
    tmp_path: Path, fatal: int, whole: Trained
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(BOTH, tmp_path / "killed", Told(fatal))
    told = Told()
    resumed = train(BOTH, tmp_path / "killed", told, resume=True, network=tiny(99))
    assert any("going on at phase" in note for note in told.notes)
    assert (weights(resumed) == weights(whole)).all()
    assert [(each.phase, each.epoch) for each in resumed.history] == [(e.phase, e.epoch) for e in whole.history]


def test_the_same_seed_gives_the_same_network_and_another_gives_another(tmp_path: Path) -> None:
    runs = [train(config(TRIPLET, seed=seed), tmp_path / str(n)) for n, seed in enumerate((1, 1, 2))]
    assert (weights(runs[0]) == weights(runs[1])).all()
    assert (weights(runs[0]) != weights(runs[2])).any()


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(config(TRIPLET), tmp_path)
    with pytest.raises(Misconfigured, match="another configuration"):
        train(config({**TRIPLET, "margin": 0.5}), tmp_path, resume=True)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = train(config(TRIPLET), tmp_path)
    told = Told()
    again = train(config(TRIPLET), tmp_path, told, resume=True)
    assert told.epochs == []
    assert (weights(again) == weights(first)).all()


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny()
            self.calls = 0

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.inner(pixels) * (float("nan") if self.calls == 3 else 1.0)

    with pytest.raises(Diverged, match=FAILED_BATCH):
        train(config(SOFTMAX), tmp_path, network=Broken())
    with np.load(tmp_path / FAILED_BATCH) as kept:
        assert kept["pixels"].shape == (12, 16, 16, 3)
        assert len(kept["rows"]) == 12


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(Exception, match=r"checkpoint\.pt is not a checkpoint"):
        train(config(TRIPLET), tmp_path, resume=True)


def test_a_teacher_is_needed_where_one_is_learned_from(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="needs a teacher"):
        train(config({"objective": "distil", "epochs": 1, "learning_rate": 1e-3}), tmp_path)


def test_a_student_learns_what_its_teacher_says(tmp_path: Path) -> None:
    told = Told()
    phase = {"objective": "distil", "epochs": 12, "learning_rate": 1e-2, "batch": 12, "warm_up_steps": 0}
    teacher = NetworkTeacher([tiny(5).eval()], 8, NORMALISE)
    train(config(phase), tmp_path, told, teacher=teacher)
    cosines = [each.facts["cosine"] for each in told.epochs]
    assert cosines[-1] > 0.9 > cosines[0]


def test_the_curriculum_says_when_it_moves_on_and_remembers_it(tmp_path: Path) -> None:
    # Everything is mastered at once with a margin this small: a level an epoch.
    phase = {**TRIPLET, "miner": "curriculum", "margin": 1e-6, "epochs": 3, "subjects": 3}
    told = Told()
    train(
        config({"objective": "NormalizedSoftmaxLoss", "epochs": 10, "learning_rate": 1e-2, "batch": 12}, phase),
        tmp_path,
        told,
    )
    moves = [note for note in told.notes if note.startswith("curriculum")]
    assert moves[:2] == [
        "curriculum: semi-hard triplets, 0% of the batches look-alikes",
        "curriculum: semi-hard triplets, 25% of the batches look-alikes",
    ]


def test_people_too_few_to_judge_by_are_said_to_be(tmp_path: Path) -> None:
    told = Told()
    trained = train(config(TRIPLET, validation={"fpir": 0.01}), tmp_path, told)
    assert "the 8 people held out judge nothing" in told.notes[0]
    assert trained.score is None
    assert all(each.validation is None for each in told.epochs)


def test_phases_may_name_only_what_exists(tmp_path: Path) -> None:
    for phase in ({"objective": "tripled"}, {"objective": "triplet", "frozen_stages": 3}):
        wanted = config(TRIPLET)
        bad = Phase.model_validate({**TRIPLET, **phase})
        with pytest.raises(Exception, match=r"no margin loss is called 'tripled'|the network has 0 stages"):
            train(wanted.model_copy(update={"phases": (bad,)}), tmp_path)
