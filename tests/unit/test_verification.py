"""Verification numbers against loops that count one pair at a time."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.evaluation.verification import best_cutoff, cutoff_at_rate, fold_accuracies, pair_scores, tar_at_far


def pairs(seed: int, count: int = 300) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    # Rounded, so that equal scores occur on both sides of a cutoff.
    return np.round(random.normal(np.where(same, 0.6, 0.1), 0.25), 2), same


def naive_best(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    distinct = sorted(set(scores.tolist()))
    between = [(low + high) / 2 for low, high in itertools.pairwise(distinct)]
    candidates = [distinct[0] - 1, *between, distinct[-1] + 1]

    def correct(cutoff: float) -> int:
        return sum(bool(score >= cutoff) == bool(truth) for score, truth in zip(scores, same, strict=True))

    most = max(correct(cutoff) for cutoff in candidates)
    best = [cutoff for cutoff in candidates if correct(cutoff) == most]
    return float(best[len(best) // 2])


@pytest.mark.parametrize("seed", range(5))
def test_the_best_cutoff_is_the_one_a_loop_over_all_cutoffs_finds(seed: int) -> None:
    scores, same = pairs(seed)
    assert best_cutoff(scores, same) == pytest.approx(naive_best(scores, same))


@pytest.mark.parametrize("seed", range(3))
def test_each_fold_is_judged_by_the_cutoff_of_the_others(seed: int) -> None:
    scores, same = pairs(seed, 200)
    folds = np.arange(200) % 10
    expected = []
    for fold in range(10):
        train = [i for i in range(200) if folds[i] != fold]
        cutoff = naive_best(scores[train], same[train])
        held_out = [i for i in range(200) if folds[i] == fold]
        expected.append(sum((scores[i] >= cutoff) == same[i] for i in held_out) / len(held_out))
    assert fold_accuracies(scores, same, folds) == pytest.approx(expected)


def test_a_fold_does_not_choose_its_own_cutoff() -> None:
    # Fold 1 alone would be separated perfectly at 0.8; fold 0 teaches 0.35, which is wrong for fold 1.
    scores = np.array([0.5, 0.2, 0.9, 0.7])
    same = np.array([True, False, True, False])
    assert fold_accuracies(scores, same, np.array([0, 0, 1, 1])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("far", [0.01, 0.05, 0.2])
def test_the_accept_rate_counts_genuine_pairs_above_a_cutoff_few_impostors_pass(far: float) -> None:
    scores, same = pairs(7, 500)
    rate, cutoff = tar_at_far(scores, same, far)
    impostors = [score for score, truth in zip(scores, same, strict=True) if not truth]
    genuine = [score for score, truth in zip(scores, same, strict=True) if truth]
    assert sum(score > cutoff for score in impostors) <= far * len(impostors)
    assert rate == pytest.approx(sum(score > cutoff for score in genuine) / len(genuine))
    # Lowest such cutoff: the next lower score that an impostor has would let too many in.
    lower = max(score for score in impostors if score < cutoff)
    assert sum(score > lower for score in impostors) > far * len(impostors)


def test_a_rate_at_a_binary_fraction_is_not_lost_to_rounding() -> None:
    assert cutoff_at_rate(np.arange(700.0), 0.01) == 692.0


def test_a_rate_too_small_for_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be measured on 99"):
        cutoff_at_rate(np.arange(99.0), 0.01)


def test_labels_without_meaning_give_chance() -> None:
    random = np.random.default_rng(3)
    accuracies = fold_accuracies(random.normal(size=20_000), random.random(20_000) < 0.5, np.arange(20_000) % 10)
    assert abs(accuracies.mean() - 0.5) < 0.02


def test_pair_scores_are_dot_products_row_by_row() -> None:
    left, right = np.random.default_rng(1).standard_normal((2, 5, 8)).astype(np.float32)
    expected = [sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) for x, y in zip(left, right, strict=True)]
    assert pair_scores(left, right) == pytest.approx(expected)


def test_columns_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        best_cutoff(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(ValueError, match="finite"):
        best_cutoff(np.array([0.0, np.nan]), np.zeros(2, bool))
    with pytest.raises(ValueError, match="two folds"):
        fold_accuracies(np.zeros(3), np.zeros(3, bool), np.zeros(3))
    with pytest.raises(ValueError, match="genuine"):
        tar_at_far(np.zeros(3), np.zeros(3, bool), 0.5)
