"""Search against a naive loop in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kith.errors import ModelMismatch, UnknownSubject
from kith.gallery_settings import GallerySettings, Scoring
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot
from kith.similarity import Hit, score_subject, search
from kith.view import FREE, GalleryView, Replica

Vectors = NDArray[np.float32]


def units(count: int, dimension: int, seed: int = 0) -> Vectors:
    raw = np.random.default_rng(seed).standard_normal((count, dimension))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def gallery(
    vectors: Vectors,
    owners: list[int],
    free: set[int] = frozenset(),  # type: ignore[assignment]
    scoring: Scoring = Scoring.BEST,
) -> GalleryView:
    """Subject number n + 1 is called "name n"; qualities are those of `quality`."""
    vectors, numbers = vectors.copy(), np.array(owners, np.int32) + 1
    for slot in free:
        vectors[slot], numbers[slot] = 0, FREE
    qualities = np.array([quality(slot) for slot in range(len(vectors))], np.float32)
    cuts = range(0, len(vectors), BLOCK_ROWS)
    names = {number: (f"id{number - 1}", f"name {number - 1}") for number in set(numbers.tolist()) - {FREE}}
    return Replica(
        Snapshot(
            "door", "m", vectors.shape[1], "e", sequence=1, settings=GallerySettings(scoring=scoring), names=names,
            blocks=[vectors[at : at + BLOCK_ROWS] for at in cuts],
            owners=[numbers[at : at + BLOCK_ROWS] for at in cuts],
            qualities=[qualities[at : at + BLOCK_ROWS] for at in cuts],
        )
    ).view  # fmt: skip


def quality(slot: int) -> float:
    """0 for every fifth template."""
    return (slot * 7 % 5) / 4


def enrolled(sequence: int, number: int, slots: tuple[int, ...], vectors: Vectors) -> Change:
    """Subject `number` has these templates now."""
    return Change(
        sequence, Op.ENROL, number=number, subject_id=f"id{number - 1}", subject=f"name {number - 1}", slots=slots,
        vectors=vectors, qualities=np.array([quality(slot) for slot in slots], np.float32),
    )  # fmt: skip


def naive(vectors: Vectors, owners: list[int], probe: Vectors, k: int, free: set[int] = frozenset()) -> list[Hit]:  # type: ignore[assignment]
    best: dict[int, tuple[np.float32, int]] = {}
    for slot, (vector, owner) in enumerate(zip(vectors, owners, strict=True)):
        if slot in free:
            continue
        score = np.float32(sum(float(a) * float(b) for a, b in zip(vector, probe, strict=True)))
        if owner not in best or score > best[owner][0]:
            best[owner] = (score, slot)
    ranked = sorted(best.items(), key=lambda item: (-item[1][0], item[1][1]))
    return [Hit(f"id{owner}", f"name {owner}", float(score), slot) for owner, (score, slot) in ranked[:k]]


def same(found: list[Hit], expected: list[Hit]) -> None:
    assert [hit[:2] + hit[3:] for hit in found] == [hit[:2] + hit[3:] for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-7)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    dimension=st.sampled_from([1, 2, 3, 8, 33]),
    people=st.integers(1, 12),
    batch=st.integers(1, 5),
    k=st.integers(1, 4),
)
def test_it_finds_what_a_naive_loop_finds(
    seed: int, count: int, dimension: int, people: int, batch: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    # Few dimensions and repeated rows: many exact ties.
    vectors = units(count, dimension, seed)[rng.integers(0, count, count)]
    owners = rng.integers(0, people, count).tolist()
    free = set(rng.choice(count, rng.integers(0, count), replace=False).tolist())
    probes = np.concatenate([units(batch, dimension, seed + 1), vectors[:1]])
    view = gallery(vectors, owners, free)
    for probe, found in zip(probes, search(view, probes, k), strict=True):
        same(found, naive(vectors, owners, probe, k, free))


def test_it_finds_the_best_across_many_blocks() -> None:
    count, dimension = 20 * BLOCK_ROWS + 17, 16
    vectors = units(count, dimension)
    owners = np.random.default_rng(3).integers(0, 5000, count).tolist()
    probes = np.concatenate([units(6, dimension, 9), vectors[[0, BLOCK_ROWS, count - 1]]])
    view = gallery(vectors, owners)
    every = vectors.astype(np.float64) @ probes.astype(np.float64).T
    for number, found in enumerate(search(view, probes, 3)):
        order = np.argsort(-every[:, number].astype(np.float32), kind="stable")
        expected: list[int] = []
        for slot in order.tolist():
            if owners[slot] not in [owners[other] for other in expected]:
                expected.append(slot)
            if len(expected) == 3:
                break
        assert [hit.slot for hit in found] == expected
        assert [hit.score for hit in found] == pytest.approx(every[expected, number].tolist(), abs=1e-7)


def test_scores_closer_than_float32_products_can_tell_are_ranked_right() -> None:
    dimension = 512
    probe = units(1, dimension)[0]
    rng = np.random.default_rng(5)
    # 3,000 people within a few units in the last place of one another, in every block position.
    vectors = np.tile(probe, (3000, 1)) + (rng.standard_normal((3000, dimension)) * 2e-8).astype(np.float32)
    owners = rng.permutation(3000).tolist()
    view = gallery(vectors, owners)
    exact = (vectors.astype(np.float64) @ probe.astype(np.float64)).astype(np.float32)
    expected = np.argsort(-exact, kind="stable")[:2].tolist()
    assert [hit.slot for hit in search(view, probe[np.newaxis])[0]] == expected


def test_a_probe_gets_the_same_answer_alone_and_in_any_batch() -> None:
    vectors, probes = units(3000, 64), units(33, 64, 7)
    view = gallery(vectors, [slot // 2 for slot in range(3000)])
    together = search(view, probes)
    assert [search(view, probes[number : number + 1])[0] for number in range(33)] == together
    assert search(view, probes[::-1])[::-1] == together


def test_equal_scores_are_ordered_by_slot() -> None:
    vector = units(1, 512)
    view = gallery(np.repeat(vector, 2500, axis=0), list(range(2500))[::-1])
    assert [hit.slot for hit in search(view, vector, 3)[0]] == [0, 1, 2]


def test_a_subject_with_many_near_templates_does_not_hide_the_runner_up() -> None:
    vector, other = units(2, 32)
    vectors = np.concatenate([np.repeat(vector[np.newaxis], 1500, axis=0), other[np.newaxis]])
    view = gallery(vectors, [0] * 1500 + [1])
    first, second = search(view, vector[np.newaxis])[0]
    assert (first.subject, second.subject) == ("name 0", "name 1")
    assert second.score == pytest.approx(float(vector.astype(float) @ other.astype(float)), abs=1e-7)


def test_a_free_slot_is_never_found_even_where_everybody_is_opposite() -> None:
    vector = units(1, 8)
    view = gallery(np.concatenate([-vector, vector, -vector]), [0, 1, 2], free={1})
    assert [hit.slot for hit in search(view, vector, 3)[0]] == [0, 2]


def test_an_empty_gallery_and_an_empty_batch_give_no_hits() -> None:
    empty = Replica(Snapshot("door", "m", 8, "e")).view
    assert search(empty, units(3, 8)) == [[], [], []]
    assert search(gallery(units(4, 8), [0, 1, 2, 3]), np.empty((0, 8), np.float32)) == []
    emptied = Replica(Snapshot("door", "m", 8, "e"))
    emptied.apply([enrolled(1, 1, (0,), units(1, 8))])
    assert search(emptied.apply([Change(2, Op.FORGET, number=1, slots=(0,))]), units(1, 8)) == [[]]


def test_probes_of_another_dimension_and_a_k_of_zero_are_refused() -> None:
    view = gallery(units(4, 8), [0, 1, 2, 3])
    with pytest.raises(ModelMismatch, match="8 numbers"):
        search(view, units(1, 9))
    with pytest.raises(ModelMismatch):
        search(view, units(1, 8)[0])
    with pytest.raises(ValueError, match="at least 1"):
        search(view, units(1, 8), 0)


def test_a_claim_is_scored_by_the_best_template_of_the_claimed_subject() -> None:
    vectors = units(3 * BLOCK_ROWS, 8)
    owners = [slot % 700 for slot in range(len(vectors))]
    view, probe = gallery(vectors, owners), units(1, 8, 4)[0]
    found = score_subject(view, probe, " name 33 ")
    mine = [slot for slot, owner in enumerate(owners) if owner == 33]
    exact = {slot: sum(float(a) * float(b) for a, b in zip(vectors[slot], probe, strict=True)) for slot in mine}
    assert found.slot == max(mine, key=lambda slot: exact[slot])
    assert found.score == pytest.approx(max(exact.values()), abs=1e-7)
    assert (found.subject, found.subject_id) == ("name 33", "id33")
    with pytest.raises(UnknownSubject, match="nobody is called 'somebody'"):
        score_subject(view, probe, "somebody")
