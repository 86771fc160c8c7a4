"""Every miner against a loop over a batch, and where its randomness comes from."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kith.errors import Rejected
from kith.training.miners import MINERS, miner
from kith.training.triplet_loss import Triplets

# Four of the first, three of the second, two each of the next, and one who stands alone.
LABELS = torch.tensor([7, 7, 3, 3, 3, 9, 5, 5, 7, 7, 1, 1])
ALONE = 5


def units(count: int, dimension: int, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)))


def rows(found: Triplets) -> list[tuple[int, int, int]]:
    return list(zip(found.anchors.tolist(), found.positives.tolist(), found.negatives.tolist(), strict=True))


def mine(name: str, vectors: Tensor, labels: Tensor = LABELS, seed: int = 0, margin: float = 0.2) -> Triplets:
    return miner(name, margin)(vectors, labels, torch.Generator().manual_seed(seed))


def pairs(labels: Tensor) -> list[tuple[int, int]]:
    return [(a, p) for a in range(len(labels)) for p in range(len(labels)) if a != p and labels[a] == labels[p]]


def squared(vectors: Tensor, a: int, b: int) -> float:
    return sum((x - y) ** 2 for x, y in zip(vectors[a].tolist(), vectors[b].tolist(), strict=True))


def others(labels: Tensor, anchor: int) -> list[int]:
    return [n for n in range(len(labels)) if labels[n] != labels[anchor]]


@pytest.mark.parametrize("name", MINERS)
def test_a_triplet_is_an_anchor_another_picture_of_it_and_somebody_else(name: str) -> None:
    found = rows(mine(name, units(12, 6)))
    assert all(a != p and LABELS[a] == LABELS[p] and LABELS[a] != LABELS[n] for a, p, n in found)
    assert {a for a, _, _ in found} == set(range(12)) - {ALONE}
    if name != "batch-hard":
        assert [(a, p) for a, p, _ in found] == pairs(LABELS)


@pytest.mark.parametrize("name", MINERS)
def test_the_same_generator_gives_the_same_triplets_and_the_global_one_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (rows(mine(name, units(12, 6), seed=seed, margin=1.0)) for seed in (1, 1, 2))
    assert first == again
    assert (first != other) == (name != "batch-hard")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MINERS)
def test_a_batch_of_one_label_is_refused_by_name(name: str) -> None:
    with pytest.raises(Rejected, match=r"all 4 images of the batch have the label 8: .* at least 2 subjects"):
        mine(name, units(4, 3), torch.tensor([8, 8, 8, 8]))


@pytest.mark.parametrize("name", MINERS)
def test_a_batch_in_which_everybody_stands_alone_has_no_triplets(name: str) -> None:
    assert len(mine(name, units(4, 3), torch.tensor([0, 1, 2, 3]))) == 0


def test_batch_hard_takes_the_farthest_positive_and_the_nearest_negative() -> None:
    vectors = units(12, 6)
    expected = []
    for a in sorted(set(range(12)) - {ALONE}):
        positive = max((p for x, p in pairs(LABELS) if x == a), key=lambda p: squared(vectors, a, p))
        expected.append((a, positive, min(others(LABELS, a), key=lambda n: squared(vectors, a, n))))
    assert sorted(rows(mine("batch-hard", vectors))) == expected


def semi_hard_choices(vectors: Tensor, labels: Tensor, a: int, p: int, margin: float) -> set[int]:
    near = squared(vectors, a, p)
    farther = [n for n in others(labels, a) if squared(vectors, a, n) > near]
    within = {n for n in farther if squared(vectors, a, n) < near + margin}
    if within:
        return within
    if farther:
        return {min(farther, key=lambda n: squared(vectors, a, n))}
    return {max(others(labels, a), key=lambda n: squared(vectors, a, n))}


@pytest.mark.parametrize("margin", [0.02, 0.2, 2.0])
def test_semi_hard_draws_among_those_within_the_margin_else_the_next_best(margin: float) -> None:
    kinds = Counter[str]()
    for seed in range(6):
        vectors = units(12, 6, seed)
        drawn: dict[tuple[int, int], set[int]] = {pair: set() for pair in pairs(LABELS)}
        for draw in range(60):
            for a, p, n in rows(mine("semi-hard", vectors, seed=draw, margin=margin)):
                drawn[a, p].add(n)
        for (a, p), found in drawn.items():
            allowed = semi_hard_choices(vectors, LABELS, a, p, margin)
            # 60 draws among at most 8 leave one out once in 3,000 times; half of them never.
            assert found <= allowed
            assert len(found) >= len(allowed) / 2
            inside = [
                n for n in allowed if squared(vectors, a, p) < squared(vectors, a, n) < squared(vectors, a, p) + margin
            ]
            hard = all(squared(vectors, a, n) < squared(vectors, a, p) for n in allowed)
            kinds["within" if inside else "hard" if hard else "easy"] += 1
    # All three rules were at work.
    assert kinds["within"]
    assert kinds["hard"]
    assert kinds["easy"] or margin == 2.0


def test_random_negatives_are_all_alike() -> None:
    vectors, labels = units(12, 6), LABELS
    seen = Counter(n for seed in range(600) for a, p, n in rows(mine("random", vectors, seed=seed)) if (a, p) == (0, 1))
    assert set(seen) == set(others(labels, 0))
    # 600 draws among 8: 75 each, standard deviation 8.
    assert all(abs(count - 75) < 35 for count in seen.values())


def inverse_density(distance: float, dimension: int) -> float:
    near = max(distance, 0.5)
    return 1 / (near ** (dimension - 2) * (1 - near**2 / 4) ** ((dimension - 3) / 2))


@pytest.mark.parametrize("dimension", [3, 8])
def test_distance_weighted_draws_each_negative_as_often_as_its_distance_is_rare(dimension: int) -> None:
    # Moved to one side: more of them are within 1.4 of each other.
    vectors, labels = functional.normalize(units(12, dimension, seed=3) + 0.3), LABELS
    distances = {n: math.sqrt(squared(vectors, 0, n)) for n in others(labels, 0)}
    weights = {n: inverse_density(d, dimension) if d < 1.4 else 0.0 for n, d in distances.items()}
    total = sum(weights.values())
    draws = 1500
    seen = Counter(
        n
        for seed in range(draws)
        for a, p, n in rows(mine("distance-weighted", vectors, seed=seed))
        if (a, p) == (0, 1)
    )
    assert len([weight for weight in weights.values() if weight]) >= 3
    for n, weight in weights.items():
        share = weight / total
        assert seen[n] / draws == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / draws) + 1e-9)


def test_distance_weighted_takes_anybody_where_all_are_far() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    vectors = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0], [-0.6, -0.8, 0]])
    seen = {n for seed in range(40) for a, _, n in rows(mine("distance-weighted", vectors, labels, seed)) if a == 0}
    assert seen == {2, 3, 4}


def test_distances_in_high_dimensions_do_not_run_out_of_numbers() -> None:
    # 1/q of the two negatives differs by more than a float32 holds: the nearer one is always drawn, never the farther.
    labels = torch.tensor([0, 0, 1, 2])
    angles = torch.tensor([0.0, 0.05, 0.6, 1.3])
    vectors = functional.pad(torch.stack([angles.cos(), angles.sin()], dim=1), (0, 510))
    seen = {n for seed in range(40) for a, _, n in rows(mine("distance-weighted", vectors, labels, seed)) if a == 0}
    assert seen == {2}


def test_an_unknown_miner_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Rejected, match="'hardest'; known: random, batch-hard, semi-hard, distance-weighted"):
        miner("hardest")
