"""The compressed searches against the definition."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import count as numbers

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.gallery_settings import Scoring
from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.half_layout import Layouts
from kith.searchers.int8 import Stretch
from kith.searchers.int8_pass import Packing
from kith.searchers.int8_products import contenders
from kith.searchers.int8_woven import woven_anew
from kith.searchers.searcher import HalfSearcher, Int8Searcher, PackingSearcher, open_searcher
from kith.similarity import Found, PlainSearcher, Searcher, Without, ranking, score_subject
from kith.similarity.searcher import NOBODY
from kith.view import GalleryView
from tests.unit.search_by_definition import exact, same_as_defined
from tests.unit.test_similarity import gallery, units

#: By who multiplies: what this CPU would choose is one of them.
INT8: dict[str, Callable[[int, int], Packing]] = {"int8": Stretch.empty} | {
    type(product).__name__: partial(woven_anew, product) for product in contenders(512)
}

SEARCHERS = ["plain", *INT8, "half", "half in parts"]

#: Galleries of these tests: each is another one, for searchers that have seen the others.
EPOCHS = numbers()


@cache
def opened_as(name: str) -> Searcher:
    """The same one for all tests: to find out what its arithmetic is worth takes longer than a test."""
    if name == "plain":
        return PlainSearcher()
    if name in INT8:
        return Int8Searcher(INT8[name])
    # Where there is a GPU the kernel is tested, else what does the same in its place. Stretches of 4 blocks, so that
    # small galleries have several.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layouts = Layouts(meanwhile_bytes=1) if name == "half in parts" else Layouts()
    return HalfSearcher(device, stretch_bytes=4 * BLOCK_ROWS * 64 * 4, layouts=layouts)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    for name in SEARCHERS:
        opened_as(name).close()


@pytest.fixture(params=SEARCHERS)
def searcher(request: pytest.FixtureRequest) -> Searcher:
    return opened_as(request.param)


def find(searcher: Searcher, view: GalleryView, probes: Vectors, k: int = 2, without: Without = NOBODY) -> Found:
    """What all ways to search say: with and without the proof, probes together and one by one."""
    view = replace(view, epoch=str(next(EPOCHS)))
    if isinstance(searcher, PackingSearcher):
        searcher.pack(view)
    found = searcher.find(view, probes, k, without)
    if isinstance(searcher, PackingSearcher):
        alone = [searcher.search(view, probe[np.newaxis], k, without)[0] for probe in probes[:3]]
        assert alone == found.hits[:3]
    return found


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(SEARCHERS),
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    dimension=st.sampled_from([1, 2, 3, 8, 33]),
    people=st.integers(1, 12),
    k=st.integers(1, 6),
    scoring=st.sampled_from(Scoring),
)
def test_small_galleries_with_ties_free_slots_and_exclusions(
    name: str, seed: int, count: int, dimension: int, people: int, k: int, scoring: Scoring
) -> None:
    rng = np.random.default_rng(seed)
    # Few dimensions and repeated rows: many exact ties, between subjects too.
    vectors = units(count, dimension, seed)[rng.integers(0, count, count)]
    owners = rng.integers(0, people, count).tolist()
    free = set(rng.choice(count, rng.integers(0, count), replace=False).tolist())
    slots = set(rng.choice(count, rng.integers(0, count), replace=False).tolist()) if seed % 2 else set()
    without = Without(slots, {int(rng.integers(1, people + 1))}) if seed % 3 else NOBODY
    probes = np.concatenate([units(3, dimension, seed + 1), vectors[:1]])
    view = gallery(vectors, owners, free, scoring)
    same_as_defined(find(opened_as(name), view, probes, k, without), view, probes, k, without)


@cache
def many(dimension: int) -> tuple[Vectors, list[int], GalleryView]:
    """Several blocks and a part of one; the subject of each template."""
    count = (1 << 20) // dimension + 77
    vectors, owners = units(count, dimension), [slot % 1900 for slot in range(count)]
    return vectors, owners, gallery(vectors, owners, free={0, 2000, count - 1})


@pytest.mark.parametrize(("dimension", "batch"), [(128, 1), (128, 5), (128, 40), (512, 40)])
def test_many_blocks_and_a_part_of_one(searcher: Searcher, dimension: int, batch: int) -> None:
    vectors, owners, view = many(dimension)
    probes = np.concatenate([units(batch, dimension, 4), vectors[[1, len(vectors) - 2]]])[-batch:]
    every = probes.astype(np.float64) @ vectors.astype(np.float64).T
    every[:, [0, 2000, len(vectors) - 1]] = -1
    found = find(searcher, view, probes)
    for (first, second), probe, scores in zip(found.hits, probes, every, strict=True):
        best = int(scores.argmax())
        assert (first.slot, first.score) == (best, exact(vectors[best], probe))
        scores[np.equal(owners, owners[best])] = -1
        assert second.slot == int(scores.argmax())
    if not isinstance(searcher, PlainSearcher):
        assert found.certificate.rescored.max() < len(vectors) / 20


def test_near_ties_that_int8_cannot_tell_apart_are_ranked_right_and_certified(searcher: Searcher) -> None:
    dimension, count = 512, 2 * BLOCK_ROWS + 300
    probe = units(1, dimension)
    rng = np.random.default_rng(5)
    # Within a few units in the last place of one another: neither int8, float16 nor float32 sums can order them.
    vectors = np.tile(probe, (count, 1)) + (rng.standard_normal((count, dimension)) * 2e-8).astype(np.float32)
    view = gallery(vectors, rng.permutation(count).tolist())
    scores = np.array([exact(vector, probe[0]) for vector in vectors])
    found = find(searcher, view, np.repeat(probe, 3, axis=0))
    expected = np.argsort(-scores, kind="stable")[:2].tolist()
    assert [[hit.slot for hit in hits] for hits in found.hits] == [expected] * 3
    assert found.certificate.fallback.min() > 0
    assert (found.certificate.excluded + found.certificate.rescored == count).all()


def test_more_near_ties_than_may_wait_for_their_scores_are_ranked_right(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_WAITING", 100)
    test_near_ties_that_int8_cannot_tell_apart_are_ranked_right_and_certified(searcher)


def test_float32_scores_in_the_wrong_order_do_not_decide(searcher: Searcher) -> None:
    dimension = 512
    vectors, probe = units(3 * BLOCK_ROWS, dimension), units(1, dimension, 3)
    rng = np.random.default_rng(8)
    near = rng.choice(len(vectors), 60, replace=False)
    # Apart by less than float32 sums are off, of 60 people beside thousands that int8 excludes.
    vectors[near] = probe + (rng.standard_normal((60, dimension)) * 3e-8).astype(np.float32)
    exactly = np.array([exact(vectors[slot], probe[0]) for slot in near])
    rounded = vectors[near] @ probe[0]
    assert (np.argsort(-exactly, kind="stable") != np.argsort(-rounded, kind="stable")).any()
    view = gallery(vectors, list(range(len(vectors))))
    found = find(searcher, view, np.concatenate([probe, units(3, dimension, 9), probe]), 4)
    order = sorted(near.tolist(), key=lambda slot: (-exact(vectors[slot], probe[0]), slot))[:4]
    for hits in (found.hits[0], found.hits[-1]):
        assert [(hit.slot, hit.score) for hit in hits] == [(slot, exact(vectors[slot], probe[0])) for slot in order]


def test_more_rows_than_are_scored_at_once_may_be_near(searcher: Searcher) -> None:
    # 40 templates within what int8 can tell apart, of 40 subjects, in several blocks: too many for the shortest way,
    # too few for the float32 pass.
    dimension, count = 64, 6 * BLOCK_ROWS
    vectors, probe = units(count, dimension), units(1, dimension, 3)
    rng = np.random.default_rng(6)
    near = rng.choice(count, 40, replace=False)
    vectors[near] = probe + rng.standard_normal((40, dimension)).astype(np.float32) * 1e-3
    vectors[near] /= np.linalg.norm(vectors[near], axis=1, keepdims=True)
    view = gallery(vectors, list(range(count)))
    found = find(searcher, view, np.repeat(probe, 2, axis=0), 3)
    order = sorted(near.tolist(), key=lambda slot: (-exact(vectors[slot], probe[0]), slot))
    assert [[hit.slot for hit in hits] for hits in found.hits] == [order[:3]] * 2


def test_a_subject_with_several_near_templates_is_found_once_by_the_nearest(searcher: Searcher) -> None:
    vectors, probe = units(2000, 64), units(1, 64, 3)
    owners = list(range(2000))
    for slot, off in ((10, 0.3), (1200, 0.1), (1900, 0.2)):
        vectors[slot] = probe + off * vectors[slot]
        vectors[slot] /= np.linalg.norm(vectors[slot])
        owners[slot] = 10
    view = gallery(vectors, owners)
    found = find(searcher, view, probe, 3)
    assert (found.hits[0][0].slot, found.hits[0][0].subject) == (1200, "name 10")
    same_as_defined(found, view, probe, 3)


def test_one_vector_under_two_names_ties_and_the_lower_slot_wins(searcher: Searcher) -> None:
    vectors = units(3 * BLOCK_ROWS, 64)
    vectors[2900] = vectors[40]
    view = gallery(vectors, list(range(len(vectors))))
    first, second = find(searcher, view, vectors[[40]]).hits[0]
    assert (first.slot, second.slot) == (40, 2900)
    assert first.score == second.score


def test_fewer_subjects_than_asked_for_are_all_found(searcher: Searcher) -> None:
    vectors = units(2 * BLOCK_ROWS, 16)
    view = gallery(vectors, [slot % 3 for slot in range(len(vectors))])
    probes = units(2, 16, 8)
    same_as_defined(find(searcher, view, probes, 9), view, probes, 9)


def test_a_gallery_whose_nearest_are_all_opposite_is_searched_like_any_other(searcher: Searcher) -> None:
    vectors = units(BLOCK_ROWS + 5, 8)
    vectors[vectors[:, 0] > 0] *= -1
    probe = np.zeros((1, 8), np.float32)
    probe[0, 0] = 1
    view = gallery(vectors, list(range(len(vectors))))
    same_as_defined(find(searcher, view, probe), view, probe, 2)


def test_the_answer_does_not_depend_on_the_batch_nor_on_how_its_memory_lies(searcher: Searcher) -> None:
    vectors = units(3000, 64)
    view = gallery(vectors, [slot // 2 for slot in range(3000)])
    probes = units(70, 64, 7)
    together = find(searcher, view, probes).hits
    assert [searcher.search(view, probes[at : at + 1])[0] for at in range(70)] == together
    assert searcher.search(view, np.asfortranarray(probes)) == together
    assert searcher.search(view, np.repeat(probes, 2, axis=0)[::2]) == together
    assert searcher.search(view, probes[::-1])[::-1] == together


def test_a_probe_that_is_no_number_is_near_nobody_and_spoils_no_other(searcher: Searcher) -> None:
    view = gallery(units(3000, 64), list(range(3000)))
    probes = units(3, 64, 9)
    alone = find(searcher, view, probes[2:]).hits[0]
    probes[0, 3], probes[1, 5] = np.nan, np.inf
    assert find(searcher, view, probes).hits == [[], [], alone]


def test_a_vector_with_one_great_number_among_small_ones_is_bounded_too(searcher: Searcher) -> None:
    vectors = units(2 * BLOCK_ROWS, 64)
    vectors[100] = 0
    vectors[100, 7] = 1
    view = gallery(vectors, list(range(len(vectors))))
    probes = np.concatenate([vectors[[100, 101]], units(1, 64, 3)])
    same_as_defined(find(searcher, view, probes, 3), view, probes, 3)


@pytest.mark.parametrize("scoring", [Scoring.MEAN, Scoring.QUALITY])
def test_means_of_a_large_gallery_and_of_the_subject_claimed(searcher: Searcher, scoring: Scoring) -> None:
    vectors = units(1500, 16)
    view = gallery(vectors, [slot % 1100 for slot in range(1500)], scoring=scoring)
    probes = units(2, 16, 5)
    same_as_defined(find(searcher, view, probes, 3), view, probes, 3)
    best = searcher.search(view, probes)[0][0]
    assert score_subject(view, probes[0], best.subject) == best


def test_blocks_held_in_half_precision_are_searched_exactly_as_what_they_hold(searcher: Searcher) -> None:
    view = gallery(units(1500, 16), list(range(1500)))
    half = replace(view, blocks=tuple(block.astype(np.float16) for block in view.blocks))
    probes = units(3, 16, 4)
    same_as_defined(find(searcher, half, probes), half, probes, 2)


def test_a_worker_on_a_cpu_searches_with_int8() -> None:
    assert isinstance(open_searcher("cpu"), Int8Searcher)
