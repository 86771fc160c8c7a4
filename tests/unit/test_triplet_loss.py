"""The triplet loss against a loop over the triplets, and where its gradients could break."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kith.training.triplet_loss import Triplets, triplet_loss


def units(count: int, dimension: int = 5, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)))


def triplets(*rows: tuple[int, int, int]) -> Triplets:
    anchors, positives, negatives = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).T
    return Triplets(anchors, positives, negatives)


def test_the_value_is_that_of_a_loop_over_the_active_triplets() -> None:
    vectors = units(8)
    chosen = [(a, p, n) for a in range(4) for p in range(4) for n in range(4, 8) if a != p]
    losses = []
    for a, p, n in chosen:
        near = sum((float(x) - float(y)) ** 2 for x, y in zip(vectors[a], vectors[p], strict=True))
        far = sum((float(x) - float(y)) ** 2 for x, y in zip(vectors[a], vectors[n], strict=True))
        losses.append(max(0.0, near - far + 0.3))
    active = [loss for loss in losses if loss > 0]

    found = triplet_loss(vectors, triplets(*chosen), margin=0.3)

    assert 0 < len(active) < len(losses)
    assert float(found.value) == pytest.approx(sum(active) / len(active), rel=1e-5)
    assert found.active == pytest.approx(len(active) / len(losses))
    assert found.count == len(chosen)


def test_a_step_downhill_brings_the_positive_nearer_and_the_negative_farther() -> None:
    vectors = units(3, seed=1).requires_grad_()
    triplet_loss(vectors, triplets((0, 1, 2)), margin=5.0).value.backward()
    assert vectors.grad is not None
    moved = (vectors - 0.01 * vectors.grad).detach()

    def squared(rows: Tensor, one: int, other: int) -> float:
        return float((rows[one] - rows[other]).square().sum())

    assert squared(moved, 0, 1) < squared(vectors.detach(), 0, 1)
    assert squared(moved, 0, 2) > squared(vectors.detach(), 0, 2)


def test_gradients_are_finite_where_all_vectors_meet() -> None:
    vectors = units(1).repeat(3, 1).requires_grad_()
    found = triplet_loss(vectors, triplets((0, 1, 2)))
    found.value.backward()
    assert found.value.item() == pytest.approx(0.2)
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


@pytest.mark.parametrize("chosen", [[], [(0, 1, 2)]])
def test_without_active_triplets_the_loss_is_zero_and_can_still_be_followed(chosen: list[tuple[int, int, int]]) -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    found = triplet_loss(vectors, triplets(*chosen))
    found.value.backward()
    assert (found.value.item(), found.active, found.count) == (0.0, 0.0, len(chosen))
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() == 0


def test_a_vector_that_is_no_number_is_not_hidden() -> None:
    vectors = units(3)
    vectors[1, 0] = torch.nan
    assert torch.isnan(triplet_loss(vectors, triplets((0, 1, 2))).value)
