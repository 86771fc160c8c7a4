"""Verification over pairs: which pairs are drawn, and figures against loops over them."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.evaluation.bootstrap import Estimate, Refused
from kith.evaluation.pairs import Pairs, all_comparisons, draw_pairs, verify
from kith.evaluation.verification import fold_accuracies, pair_scores, tar_at_far


def people(identities: int, pictures: int, noise: float) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((identities, 12)).repeat(pictures, axis=0)
    vectors += noise * random.standard_normal(vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.array([f"p{i // pictures}" for i in range(len(vectors))])


def test_drawn_pairs_are_balanced_and_no_identity_is_in_two_folds() -> None:
    _, labels = people(60, 4, 0.1)
    pairs = draw_pairs(labels, np.random.default_rng(1))
    assert pairs.folds is not None
    assert len({tuple(sorted(pair)) for pair in zip(pairs.left, pairs.right, strict=True)}) == len(pairs.left)
    assert (pairs.same == (labels[pairs.left] == labels[pairs.right])).all()
    assert (pairs.left != pairs.right).all()
    fold_of: dict[str, set[int]] = {}
    for row, fold in itertools.chain(
        zip(pairs.left, pairs.folds, strict=True), zip(pairs.right, pairs.folds, strict=True)
    ):
        fold_of.setdefault(str(labels[row]), set()).add(int(fold))
    assert all(len(folds) == 1 for folds in fold_of.values())
    for fold in range(10):
        mine = pairs.same[pairs.folds == fold]
        assert mine.sum() == (~mine).sum() == 6 * 6


def test_a_person_with_many_pictures_gives_no_more_pairs_than_others() -> None:
    labels = np.array(["many"] * 60 + [f"p{i}" for i in range(40) for _ in range(2)])
    pairs = draw_pairs(labels, np.random.default_rng(0))
    assert (labels[pairs.left[pairs.same]] == "many").sum() <= 10


def test_all_comparisons_are_all_of_them_until_there_are_too_many() -> None:
    _, labels = people(12, 3, 0.1)
    every = all_comparisons(labels, np.random.default_rng(0))
    assert (every.same.sum(), (~every.same).sum()) == (12 * 3, 36 * 35 // 2 - 36)
    some = all_comparisons(labels, np.random.default_rng(0), most=20)
    assert (some.same.sum(), (~some.same).sum()) == (20, 20)
    for pairs in (every, some):
        assert len({tuple(sorted(pair)) for pair in zip(pairs.left, pairs.right, strict=True)}) == len(pairs.left)
        assert (pairs.same == (labels[pairs.left] == labels[pairs.right])).all()


def test_figures_are_those_of_the_plain_functions_with_an_interval_around_them() -> None:
    vectors, labels = people(60, 4, 0.8)
    pairs = draw_pairs(labels, np.random.default_rng(1))
    assert pairs.folds is not None
    found = verify(vectors, labels, pairs, np.random.default_rng(2), fars=[0.01, 0.001])
    scores = pair_scores(vectors[pairs.left], vectors[pairs.right])
    assert isinstance(found.accuracy, Estimate)
    assert found.accuracy.value == pytest.approx(fold_accuracies(scores, pairs.same, pairs.folds).mean())
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    tar, cutoff = tar_at_far(scores, pairs.same, 0.01)
    at, refused = found.at
    assert isinstance(at.share, Estimate)
    assert isinstance(at.cutoff, Estimate)
    assert (at.share.value, at.cutoff.value) == (pytest.approx(tar), pytest.approx(cutoff))
    assert refused.share == Refused("360 impostor comparisons cannot show a rate of 0.1 %; it takes 3,000")
    assert (found.folds, len(found.genuine), len(found.impostor)) == (10, 360, 360)


def test_pairs_of_one_kind_only_are_refused() -> None:
    vectors, labels = people(4, 1, 0.1)
    left, right = np.array([0, 1]), np.array([2, 3])
    pairs = Pairs(left, right, labels[left] == labels[right], np.array([0, 1]))
    with pytest.raises(ValueError, match="of 2 pairs 0 show one person"):
        verify(vectors, labels, pairs, np.random.default_rng(0))


def test_the_same_seed_draws_the_same_pairs() -> None:
    _, labels = people(30, 3, 0.1)
    first, again, other = (draw_pairs(labels, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.left.tolist() == again.left.tolist()
    assert first.left.tolist() != other.left.tolist()
