"""Open-set identification against loops over probes, templates and cutoffs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.evaluation.open_set import evaluate, search

Vectors = NDArray[np.float32]


def units(count: int, seed: int) -> Vectors:
    raw = np.random.default_rng(seed).standard_normal((count, 6))
    unit: Vectors = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return unit


def naive_search(probe: Vectors, templates: Vectors, labels: list[str]) -> tuple[float, str]:
    best = (-2.0, "")
    for template, label in zip(templates, labels, strict=True):
        score = sum(float(a) * float(b) for a, b in zip(probe, template, strict=True))
        if score > best[0]:
            best = (score, label)
    return best


def test_a_subject_is_as_near_as_its_best_template() -> None:
    probes, templates = units(20, 0), units(9, 1)
    labels = [f"s{i // 3}" for i in range(9)]
    found = search(probes, templates, np.array(labels))
    expected = [naive_search(probe, templates, labels) for probe in probes]
    assert found.scores == pytest.approx([score for score, _ in expected])
    assert found.subjects.tolist() == [label for _, label in expected]


@pytest.mark.parametrize("fpir", [0.02, 0.1])
def test_rates_are_what_counting_probe_by_probe_gives(fpir: float) -> None:
    templates = units(30, 2)
    labels = np.array([f"s{i // 2}" for i in range(30)])
    noise = np.random.default_rng(3).standard_normal((30, 6)).astype(np.float32) * 0.4
    mated_vectors = templates + noise
    mated_vectors /= np.linalg.norm(mated_vectors, axis=1, keepdims=True)
    mated, non_mated = search(mated_vectors, templates, labels), search(units(100, 4), templates, labels)
    result = evaluate(mated, labels, non_mated, fpir)

    # The lowest cutoff among the strangers' own scores that names at most the allowed share of them.
    allowed = [c for c in sorted(non_mated.scores) if sum(s > c for s in non_mated.scores) <= fpir * 100]
    assert result.cutoff == allowed[0]
    assert result.fpir == sum(score > allowed[0] for score in non_mated.scores) / 100
    right = [str(subject) == str(truth) for subject, truth in zip(mated.subjects, labels, strict=True)]
    assert result.rank_1 == sum(right) / 30
    named = [ok and score > allowed[0] for ok, score in zip(right, mated.scores, strict=True)]
    assert result.dir == sum(named) / 30
    assert result.dir < result.rank_1 < 1


def test_a_wrong_name_above_the_cutoff_is_no_detection() -> None:
    templates = np.eye(6, dtype=np.float32)[:2]
    mated = search(templates[[0, 1]], templates, np.array(["a", "b"]))
    strangers = search(np.eye(6, dtype=np.float32)[[2, 3]], templates, np.array(["a", "b"]))
    result = evaluate(mated, np.array(["a", "a"]), strangers, 0.5)
    assert (result.rank_1, result.dir) == (0.5, 0.5)


def test_too_few_strangers_for_the_rate_are_refused() -> None:
    gallery = units(4, 5)
    found = search(gallery, gallery, np.arange(4))
    with pytest.raises(ValueError, match="cannot be measured"):
        evaluate(found, np.arange(4), found, 0.01)


def test_a_gallery_without_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="not a gallery"):
        search(units(2, 6), np.empty((0, 6), np.float32), np.empty(0))
