"""Two covariances, estimated from made-up people whose own are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.training.two_covariances import diagonalise, estimate

Floats = NDArray[np.float64]

BETWEEN = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
WITHIN = np.array([[1.0, 0.0, 0.3], [0.0, 0.5, 0.0], [0.3, 0.0, 2.0]])


def pictures(people: int, most: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """1 to `most` pictures of each person, in no order."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), rng.integers(1, most + 1, people))
    persons = rng.multivariate_normal([5, -3, 1], BETWEEN, people)
    vectors = persons[labels] + rng.multivariate_normal([0, 0, 0], WITHIN, len(labels))
    order = rng.permutation(len(labels))
    return vectors[order], labels[order]


def test_the_covariances_that_made_the_pictures_are_found() -> None:
    vectors, labels = pictures(4000, 5, seed=0)
    found = estimate(vectors, labels, np.random.default_rng(0))
    assert found.between == pytest.approx(BETWEEN, abs=0.25)
    assert found.within == pytest.approx(WITHIN, abs=0.1)


def test_the_moments_are_what_a_loop_over_people_gives() -> None:
    vectors, labels = pictures(60, 4, seed=1)
    found = estimate(vectors, labels, np.random.default_rng(0))
    people = [vectors[labels == person] for person in range(60) if (labels == person).sum() >= 2]
    scatter, counted = np.zeros((3, 3)), 0
    for person in people:
        for one in person:
            scatter += np.outer(one - person.mean(axis=0), one - person.mean(axis=0))
        counted += len(person) - 1
    within = scatter / counted
    means = np.array([person.mean(axis=0) for person in people])
    between = np.cov(means.T) - within * sum(1 / len(person) for person in people) / len(people)
    assert found.within == pytest.approx(within)
    assert found.between == pytest.approx(between)
    assert found.outliers == 0


def test_pictures_of_somebody_else_under_a_name_do_not_count() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(500), 5)
    vectors = 3 * rng.standard_normal((500, 40))[labels] + rng.standard_normal((2500, 40))
    wrong = rng.choice(2500, 50, replace=False)
    vectors[wrong] += 12 * rng.standard_normal((50, 40))
    found = estimate(vectors, labels, rng)
    assert np.trace(found.within) / 40 == pytest.approx(1, abs=0.15)
    assert 50 <= found.outliers < 300


def test_in_the_common_basis_both_covariances_are_diagonal_and_within_is_one() -> None:
    basis, variances = diagonalise(BETWEEN, WITHIN)
    assert basis @ basis.T == pytest.approx(WITHIN)
    assert basis @ np.diag(variances) @ basis.T == pytest.approx(BETWEEN, abs=1e-9)
    assert list(variances) == sorted(variances, reverse=True)


def test_a_variance_below_zero_is_none() -> None:
    _, variances = diagonalise(np.diag([1.0, -0.2]), np.eye(2))
    assert variances.tolist() == [1, 0]


def test_people_with_one_picture_each_say_nothing_about_pictures_of_one_person() -> None:
    with pytest.raises(ValueError, match="two at least"):
        estimate(np.zeros((5, 2)), np.arange(5), np.random.default_rng(0))
