"""Splits of identities and the figures made from them, against counting picture by picture."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.evaluation.identification import quick_open_set
from kith.evaluation.split import split_identities


def people(identities: int, pictures: int, noise: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Unit vectors around one centre per identity."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((identities, 16)).repeat(pictures, axis=0)
    vectors = centres + noise * random.standard_normal(centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.array([f"p{i // pictures}" for i in range(len(vectors))])


def test_a_split_puts_every_picture_in_one_place_and_keeps_strangers_strange() -> None:
    labels = np.array([f"p{i}" for i in range(20) for _ in range(1 + i % 4)])
    split = split_identities(labels, np.random.default_rng(0))
    assert sorted([*split.gallery, *split.mated, *split.non_mated]) == list(range(len(labels)))
    enrolled = Counter(labels[split.gallery].tolist())
    pictures = Counter(labels.tolist())
    assert len(enrolled) == 10
    assert enrolled == {name: min(2, pictures[name] - 1) for name in enrolled}
    assert set(labels[split.mated].tolist()) == set(enrolled)
    assert not set(labels[split.non_mated].tolist()) & set(enrolled)


def test_who_has_a_single_picture_is_a_stranger() -> None:
    labels = np.array(["a", "a", "b", "c", "d", "e", "f", "f", "f"])
    split = split_identities(labels, np.random.default_rng(1))
    assert set(labels[split.gallery].tolist()) == {"a", "f"}
    assert set(labels[split.non_mated].tolist()) == {"b", "c", "d", "e"}


def test_the_same_seed_gives_the_same_split_and_another_one_another() -> None:
    labels = np.arange(40).repeat(3)
    first, again, other = (split_identities(labels, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.gallery.tolist() == again.gallery.tolist()
    assert first.gallery.tolist() != other.gallery.tolist()


def test_quick_figures_are_those_of_a_loop_over_the_probes() -> None:
    vectors, labels = people(120, 4, noise=0.9)
    found = quick_open_set(vectors, labels, fpir=0.05, seed=2)
    split = split_identities(labels, np.random.default_rng(2))

    def nearest(row: int) -> tuple[float, str]:
        return max((float(vectors[row] @ vectors[t]), str(labels[t])) for t in split.gallery)

    strangers = sorted((nearest(row)[0] for row in split.non_mated), reverse=True)
    cutoff = strangers[int(0.05 * len(strangers))]
    answers = [(*nearest(row), str(labels[row])) for row in split.mated]
    assert found.cutoff == pytest.approx(cutoff, abs=1e-6)
    assert found.rank_1 == pytest.approx(sum(name == truth for _, name, truth in answers) / len(answers))
    named = sum(name == truth and score > cutoff + 1e-6 for score, name, truth in answers)
    assert found.dir == pytest.approx(named / len(answers))
    assert 0.2 < found.dir < found.rank_1 < 1
    assert quick_open_set(vectors, labels, fpir=0.05, seed=2) == found


def test_too_little_to_ask_about_is_refused() -> None:
    vectors, labels = people(30, 1, noise=0.1)
    with pytest.raises(ValueError, match="single picture"):
        quick_open_set(vectors, labels)
    vectors, labels = people(1, 5, noise=0.1)
    with pytest.raises(ValueError, match="only one identity"):
        quick_open_set(vectors, labels)
    vectors, labels = people(20, 3, noise=0.1)
    with pytest.raises(ValueError, match="cannot be measured on 30"):
        quick_open_set(vectors, labels, fpir=0.01)


def test_templates_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one"):
        split_identities(np.arange(4), np.random.default_rng(0), templates=0)
