"""The study of triplets: its statistics against the textbook, its training and protocol on a toy, its page."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from benchmarks import triplets_faces, triplets_report
from benchmarks.triplets_digits import METHODS, SHOTS
from benchmarks.triplets_faces import Faces, measure
from benchmarks.triplets_report import DigitStudy, FaceStudy
from benchmarks.triplets_statistics import differences, holm
from benchmarks.triplets_training import Stage, Task, Trained, embed, train

RUNS = {
    "good": [0.50, 0.54, 0.47, 0.52, 0.55],
    "fair": [0.40, 0.43, 0.38, 0.41, 0.46],
    "like fair": [0.41, 0.42, 0.39, 0.40, 0.46],
}


def test_a_difference_is_the_paired_t_test_of_the_seeds() -> None:
    [found] = differences(RUNS, [("good", "fair")])
    gaps = [a - b for a, b in zip(RUNS["good"], RUNS["fair"], strict=True)]
    mean = sum(gaps) / 5
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 4)
    assert found.mean == pytest.approx(mean)
    # 2.776 is the 97.5 % point of Student's t with four degrees of freedom.
    assert found.half_width == pytest.approx(2.776 * deviation / math.sqrt(5), rel=1e-3)
    assert found.p == pytest.approx(float(stats.ttest_rel(RUNS["good"], RUNS["fair"]).pvalue))
    assert (found.better, found.seeds, found.real) == (5, 5, True)
    assert str(found).startswith("good is 0.100 ± 0.012 better than fair (better in 5 of 5 seeds): real")


def test_what_chance_explains_is_not_called_real() -> None:
    [found] = differences(RUNS, [("like fair", "fair")])
    assert not found.real
    assert str(found).endswith("not shown")


def test_one_seed_shows_nothing_and_equal_runs_do_not_differ() -> None:
    single = {"a": [0.9], "b": [0.1]}
    assert not differences(single, [("a", "b")])[0].real
    same = {"a": [0.5, 0.6], "b": [0.5, 0.6]}
    assert not differences(same, [("a", "b")])[0].real


def test_holm_raises_each_p_by_the_number_of_those_not_smaller() -> None:
    # 0.01·4, 0.02·3, then 0.03·2 which must not fall below its predecessor, and 0.4·1.
    assert holm([0.4, 0.01, 0.03, 0.02]) == pytest.approx([0.4, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def tiny() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 8, bias=False), nn.BatchNorm1d(8))


def toy(people: int = 30, images: int = 4) -> Faces:
    """A pattern for each person, 8×8 pixels, behind a stronger one that has nothing to do with who it is."""
    random = np.random.default_rng(0)
    patterns = random.normal(128, 20, (people, 8, 8, 3)).repeat(images, axis=0)
    light = random.normal(0, 40, (4, 8, 8, 3))
    noise = np.tensordot(random.standard_normal((len(patterns), 4)), light, axes=1)
    return Faces(np.clip(patterns + noise, 0, 255).astype(np.uint8), np.repeat(np.arange(people), images))


STAGES = {
    "triplets": (Stage("triplet", "semi-hard"),),
    "look-alikes": (Stage("triplet", "semi-hard", neighbourhoods=True),),
    "curriculum": (Stage("triplet", "curriculum"),),
    "two stages": (Stage("NormalizedSoftmaxLoss", part=0.5), Stage("triplet", part=0.5)),
}


def task(steps: int) -> Task:
    faces = toy()
    return Task(faces.pixels, faces.labels, tiny, steps, subjects=5)


def vectors(steps: int, stages: tuple[Stage, ...], seed: int = 1) -> NDArray[np.float32]:
    return embed(train(task(steps), stages, seed).network, toy().pixels)


def gap(found: NDArray[np.float32]) -> float:
    """How much nearer pictures of one person are than those of two."""
    same = toy().labels[:, None] == toy().labels
    cosines = found @ found.T
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("name", STAGES)
def test_every_kind_of_stage_learns_from_people(name: str) -> None:
    assert gap(vectors(50, STAGES[name])) > gap(vectors(0, STAGES[name])) + 0.05


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    stages = (*STAGES["two stages"], Stage("triplet", "curriculum", part=0.5))
    first, again, other = (vectors(12, stages, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_people_who_are_all_alike_are_found_as_often_as_chance_finds_them() -> None:
    random = np.random.default_rng(0)
    noise = Faces(random.integers(0, 255, (800, 44, 44, 3)).astype(np.uint8), np.repeat(np.arange(200), 4))
    found = measure(triplets_faces.RAW, noise, noise, 0, seed=0)
    assert found.rank_1 < 0.05
    assert found.tpir < 0.05
    assert 0.0 < found.fpir < 0.05


def test_people_who_differ_are_found() -> None:
    random = np.random.default_rng(0)
    patterns = random.integers(0, 255, (200, 44, 44, 3)).repeat(4, axis=0)
    noisy = np.clip(patterns + random.normal(0, 30, patterns.shape), 0, 255).astype(np.uint8)
    people = Faces(noisy, np.repeat(np.arange(200), 4))
    found = measure(triplets_faces.RAW, people, people, 0, seed=0)
    assert (found.rank_1, found.tpir) == (1.0, 1.0)


def test_without_the_norm_at_the_end_it_is_the_same_network_otherwise() -> None:
    def built(norm_at_end: bool) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return triplets_faces.build(norm_at_end).eval()

    bare = built(norm_at_end=False)
    *others, norm = built(norm_at_end=True).children()
    assert isinstance(norm, nn.BatchNorm1d)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in bare.modules())
    images = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bare(images), nn.Sequential(*others)(images))


def test_every_method_without_the_norm_is_measured_on_the_network_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def watched(task: Task, stages: tuple[Stage, ...], seed: int) -> Trained:
        found = train(task, stages, seed)
        trained.append((stages, found.network))
        return found

    monkeypatch.setattr(triplets_faces, "train", watched)
    noise = np.random.default_rng(0).integers(0, 255, (440, 44, 44, 3)).astype(np.uint8)
    people = Faces(noise, np.repeat(np.arange(220), 2))
    for method in ("batch-hard from the start", "batch-hard from the start, no norm at the end"):
        measure(method, people, people, 1, seed=0)
    (stages, with_norm), (same_stages, without) = trained
    assert stages == same_stages
    assert isinstance([*with_norm.children()][-1], nn.BatchNorm1d)
    assert isinstance([*without.children()][-1], nn.Linear)


def test_the_page_and_the_picture_show_every_method(tmp_path: Path) -> None:
    faces = FaceStudy(
        *(RUNS for _ in range(6)),
        collapsed=dict.fromkeys(RUNS, 2),
        compared={"rank-1": differences(RUNS, [("good", "fair")])},
    )
    told = {method: [0.5, 0.6] for method in METHODS}
    runs = {(known, shots): told for known in (6, 7) for shots in SHOTS}
    digits = DigitStudy(runs, dict.fromkeys(runs, differences(told, [(METHODS[0], METHODS[1])])))
    text = triplets_report.page(faces, digits, 1000, 100, 5)
    assert "| good | 0.516 ± 0.032 |" in text
    assert "| 2 of 5 |" in text
    assert "- good is 0.100 ± 0.012 better than fair (better in 5 of 5 seeds): real" in text
    assert all(f"| {method} | 0.550 ± 0.071 |" in text for method in METHODS)
    triplets_report.draw(faces, digits, tmp_path / "triplets.png")
    assert (tmp_path / "triplets.png").read_bytes().startswith(b"\x89PNG")
