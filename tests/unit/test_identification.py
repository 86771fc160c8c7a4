"""Splits of identities and the figures made from them, against counting picture by picture."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.evaluation.bootstrap import Estimate, Refused
from kith.evaluation.identification import Scored, _ranked, identify, quick_open_set, score
from kith.evaluation.split import Split, split_identities


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


def scored_people() -> tuple[Scored, NDArray[np.float32], NDArray[np.str_], Split]:
    vectors, labels = people(60, 6, noise=0.8, seed=5)
    split = split_identities(labels, np.random.default_rng(6))
    parts = [part for rows in (split.gallery, split.mated, split.non_mated) for part in (vectors[rows], labels[rows])]
    return score(*parts), vectors, labels, split


def test_figures_of_the_whole_gallery_are_those_of_a_loop_over_the_probes() -> None:
    scored, vectors, labels, split = scored_people()
    found = identify(scored, 0.5, np.random.default_rng(0), fpirs=[0.05, 0.001])
    whole = found.sizes[-1]

    def ranked(row: int) -> list[tuple[float, str]]:
        best: dict[str, float] = {}
        for t in split.gallery:
            best[labels[t]] = max(best.get(labels[t], -2.0), float(vectors[row] @ vectors[t]))
        return sorted(((s, name) for name, s in best.items()), reverse=True)

    answers = [(ranked(row), str(labels[row])) for row in split.mated]
    for k in (1, 5, 10):
        figure = whole.ranks[k]
        assert isinstance(figure, Estimate)
        assert figure.value == pytest.approx(np.mean([truth in [n for _, n in got[:k]] for got, truth in answers]))
    strangers = sorted((ranked(row)[0][0] for row in split.non_mated), reverse=True)
    cutoff = strangers[int(0.05 * len(strangers))]
    at, refused = whole.at
    assert isinstance(at.cutoff, Estimate)
    assert isinstance(at.share, Estimate)
    assert at.cutoff.value == pytest.approx(cutoff, abs=1e-6)
    named = [got[0][1] == truth and got[0][0] > cutoff + 1e-6 for got, truth in answers]
    assert at.share.value == pytest.approx(np.mean(named))
    assert at.share.low < at.share.value < at.share.high
    assert isinstance(refused.share, Refused)
    assert isinstance(found.in_use.fpir, Estimate)
    assert found.in_use.fpir.value == pytest.approx(np.mean([s >= 0.5 for s in strangers]))
    assert (whole.subjects, whole.draws, whole.mated, whole.non_mated) == (30, 1, 120, 180)
    assert found.templates_per_subject == 2


def test_smaller_galleries_come_first_and_are_easier() -> None:
    scored, *_ = scored_people()
    found = identify(scored, 0.5, np.random.default_rng(0), fpirs=[0.05])
    assert [size.subjects for size in found.sizes] == [10, 30]
    small, whole = (size.ranks[1] for size in found.sizes)
    assert isinstance(small, Estimate)
    assert isinstance(whole, Estimate)
    assert small.value > whole.value
    assert 10 not in found.sizes[0].ranks, "among 10 of 10 the right one always is"


def test_a_stranger_as_near_as_the_right_subject_is_not_counted_as_right() -> None:
    twin = np.array([[1.0, 0.0]], np.float32)
    scored = score(
        np.concatenate([twin, twin]), np.array(["a", "b"]), twin, np.array(["b"]), twin, np.array(["stranger"])
    )
    ranks, _ = _ranked(scored, np.arange(2))
    assert ranks.tolist() == [2]


def test_a_gallery_that_contradicts_its_probes_is_refused() -> None:
    one = np.ones((1, 1), np.float32)
    a, b = np.array(["a"]), np.array(["b"])
    with pytest.raises(ValueError, match="not enrolled: b"):
        score(one, a, one, b, one, np.array(["c"]))
    with pytest.raises(ValueError, match="among the strangers: a"):
        score(one, a, one, a, one, a)
    with pytest.raises(ValueError, match="nobody is enrolled"):
        score(one[:0], a[:0], one, a, one, b)
