"""Margin losses by name: the library's, seeded, and refused where there is none."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kith.errors import Rejected
from kith.training.margin_losses import MARGIN_LOSSES, margin_loss

CLASSES, DIMENSION = 5, 8


def vectors(seed: int = 0) -> Tensor:
    return 3 * torch.randn(20, DIMENSION, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(20) % CLASSES


def weights(loss: nn.Module) -> list[float]:
    return torch.cat([weight.detach().flatten() for weight in loss.parameters()]).tolist()


def gap(found: Tensor) -> float:
    """How much nearer, in cosine, vectors of one class are to each other than to those of others."""
    unit = functional.normalize(found.detach())
    same = LABELS[:, None] == LABELS
    cosines = unit @ unit.T
    return float(cosines[same & ~torch.eye(20, dtype=torch.bool)].mean() - cosines[~same].mean())


@pytest.mark.parametrize("name", MARGIN_LOSSES)
def test_each_can_be_learned_from(name: str) -> None:
    """Steps on vectors and head bring together what is of one class."""
    found = vectors().requires_grad_()
    before = gap(found)
    head = margin_loss(name, CLASSES, DIMENSION)
    optimiser = torch.optim.Adam([found, *head.parameters()], lr=0.05)
    values = []
    for _ in range(60):
        optimiser.zero_grad()
        value = head(found, LABELS)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < values[0]
    assert gap(found) > before + 0.2


def test_softmax_is_what_a_loop_over_cosines_gives() -> None:
    head = margin_loss("NormalizedSoftmaxLoss", CLASSES, DIMENSION, temperature=0.1)
    found = vectors()
    (columns,) = (weight.detach() for weight in head.parameters())
    losses = []
    for vector, label in zip(found, LABELS.tolist(), strict=True):
        cosines = [float(torch.cosine_similarity(vector, columns[:, c], dim=0)) for c in range(CLASSES)]
        logits = torch.tensor(cosines) / 0.1
        losses.append(float(logits.logsumexp(dim=0) - logits[label]))
    assert head(found, LABELS).item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_arcface_adds_its_angle_to_the_right_class() -> None:
    head = margin_loss("ArcFaceLoss", CLASSES, DIMENSION, margin=20.0, scale=10.0)
    found = vectors()
    (columns,) = (weight.detach() for weight in head.parameters())
    losses = []
    for vector, label in zip(found, LABELS.tolist(), strict=True):
        angles = torch.stack([torch.cosine_similarity(vector, columns[:, c], dim=0).acos() for c in range(CLASSES)])
        angles[label] += torch.deg2rad(torch.tensor(20.0))
        assert angles[label] < torch.pi
        logits = 10.0 * angles.cos()
        losses.append(float(logits.logsumexp(dim=0) - logits[label]))
    assert head(found, LABELS).item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize("name", MARGIN_LOSSES)
def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (weights(margin_loss(name, CLASSES, DIMENSION, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Rejected, match="'TripletMarginLoss'; known: ArcFaceLoss, CosFaceLoss, NormalizedSoftmaxLoss"):
        margin_loss("TripletMarginLoss", CLASSES, DIMENSION)


def test_an_unknown_option_is_refused_with_the_name_of_the_loss() -> None:
    with pytest.raises(Rejected, match=r"ArcFaceLoss: .*'slope'"):
        margin_loss("ArcFaceLoss", CLASSES, DIMENSION, slope=1.0)
