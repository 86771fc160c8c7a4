"""The figures of a batch's spread against loops, and what the guard says of runs that go well and badly."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kith.training.collapse import WARM_UP_STEPS, CollapseGuard, spread


def units(count: int, dimension: int, seed: int = 0, around: float = 0.0) -> Tensor:
    raw = torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))
    raw[:, 0] += around
    return functional.normalize(raw)


def test_the_figures_are_those_of_loops() -> None:
    vectors = units(9, 4)
    found = spread(vectors, active=0.25)
    apart = [math.dist(a, b) for i, a in enumerate(vectors.tolist()) for j, b in enumerate(vectors.tolist()) if i != j]
    covariance = np.cov(vectors.numpy(), rowvar=False, bias=True)
    values = np.linalg.eigvalsh(covariance)
    assert found.mean_distance == pytest.approx(sum(apart) / len(apart), rel=1e-4)
    assert found.variances.tolist() == pytest.approx(np.diag(covariance).tolist(), rel=1e-4)
    assert found.dimensions == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
    assert found.active == 0.25


def test_effective_dimensions_are_one_on_a_line_and_all_in_a_ball() -> None:
    line = torch.outer(torch.tensor([1.0, -1.0, 1.0, -1.0]), functional.normalize(torch.ones(8), dim=0))
    ball = torch.cat([torch.eye(8), -torch.eye(8)])
    assert spread(line).dimensions == pytest.approx(1.0)
    assert spread(ball).dimensions == pytest.approx(8.0)
    assert spread(torch.ones(4, 4) / 2).dimensions == pytest.approx(0.0)


def test_a_healthy_run_is_not_remarked_on() -> None:
    guard = CollapseGuard()
    for step in range(3 * WARM_UP_STEPS):
        guard.feed(units(32, 16, seed=step), active=0.5)
    assert guard.diagnosis() is None
    assert not guard.collapsed


def test_a_run_that_falls_together_is_told_from_where_to_where_and_what_to_do() -> None:
    guard = CollapseGuard()
    for step in range(WARM_UP_STEPS):
        guard.feed(units(32, 16, seed=step), active=0.9)
    assert guard.diagnosis() is None
    for step in range(4 * WARM_UP_STEPS):
        guard.feed(units(32, 16, seed=step, around=200.0), active=1.0)
    said = guard.diagnosis()
    assert said is not None
    assert "mean pairwise distance fell from 1.4" in said
    assert "to 0.0" in said
    assert "semi-hard" in said
    assert guard.collapsed


def test_a_run_that_begins_on_one_spot_has_time_to_spread() -> None:
    guard = CollapseGuard()
    for step in range(WARM_UP_STEPS - 1):
        guard.feed(units(32, 16, seed=step, around=200.0))
        assert guard.diagnosis() is None
    guard.feed(units(32, 16, around=200.0))
    assert "is still 0.0" in (guard.diagnosis() or "")


def test_vectors_along_a_line_are_told() -> None:
    guard = CollapseGuard()
    direction = functional.normalize(torch.ones(16), dim=0)
    for _ in range(WARM_UP_STEPS):
        guard.feed(torch.stack([direction, -direction] * 8))
    assert "along a line: 1.0 effective dimensions" in (guard.diagnosis() or "")
    assert guard.collapsed


def test_triplets_that_teach_nothing_any_more_are_told_and_are_no_collapse() -> None:
    guard = CollapseGuard()
    for step in range(WARM_UP_STEPS):
        guard.feed(units(32, 16, seed=step), active=0.001)
    assert "only 0.1 % of the triplets are active" in (guard.diagnosis() or "")
    assert not guard.collapsed


def test_what_is_no_number_is_told_with_its_step_and_is_never_forgotten() -> None:
    guard = CollapseGuard()
    guard.feed(units(8, 4))
    broken = units(8, 4)
    broken[2, 1] = torch.nan
    for vectors in (broken, broken, *(units(8, 4, seed=seed) for seed in range(2 * WARM_UP_STEPS))):
        guard.feed(vectors)
    assert (guard.diagnosis() or "").startswith("embeddings are no numbers since step 2:")
    assert guard.collapsed
