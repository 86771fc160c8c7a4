"""The compressed searches against the definition, computed plainly: exact sums, rounded once, ties by slot."""

import gc
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.gallery_settings import GallerySettings, Scoring
from kith.journal import BLOCK_ROWS, FREE, Change, Op, Snapshot, Vectors
from kith.searchers.int8 import Stretch, encode
from kith.searchers.searcher import HalfSearcher, Int8Searcher, PackingSearcher, open_searcher
from kith.similarity import Found, Hit, PlainSearcher, score_subject
from kith.view import GalleryView, Replica
from tests.unit.test_similarity import enrolled, gallery, units

SEARCHERS = ["plain", "int8", "half"]


@pytest.fixture(params=SEARCHERS)
def searcher(request: pytest.FixtureRequest) -> Iterator[PlainSearcher | PackingSearcher]:
    opened = opened_as(request.param)
    yield opened
    opened.close()


def opened_as(name: str) -> PlainSearcher | PackingSearcher:
    if name == "plain":
        return PlainSearcher()
    # Stretches of 4 blocks, so that small galleries have several.
    return Int8Searcher() if name == "int8" else HalfSearcher("cpu", stretch_bytes=4 * BLOCK_ROWS * 64 * 4)


def find(searcher: PlainSearcher | PackingSearcher, view: GalleryView, probes: Vectors, k: int = 2, **rest) -> Found:
    if isinstance(searcher, PackingSearcher):
        searcher.pack(view)
    return searcher.find(view, probes, k, **rest)


def defined(view: GalleryView, probe: Vectors, k: int, without=(), without_subjects=()) -> list[Hit]:
    """Every subject scored by exact sums; means by the definition, template by template."""
    whose: dict[int, list[int]] = {}
    for block, owners in enumerate(view.owners):
        for row, owner in enumerate(owners.tolist()):
            slot = block * BLOCK_ROWS + row
            if owner != FREE and owner not in without_subjects and slot not in without:
                whose.setdefault(owner, []).append(slot)
    hits = []
    for owner, slots in whose.items():
        candidates = [(view.vector(slot), slot) for slot in slots]
        if view.settings.scoring is not Scoring.BEST:
            weights = [1.0] * len(slots)
            if view.settings.scoring is Scoring.QUALITY:
                weights = [float(view.qualities[slot // BLOCK_ROWS][slot % BLOCK_ROWS]) for slot in slots]
            if not any(weights):
                weights = [1.0] * len(slots)
            total = np.zeros(view.dimension)
            for (vector, _), weight in zip(candidates, weights, strict=True):
                total += vector.astype(np.float64) * weight
            norm = np.sqrt((total * total).sum())
            candidates = [((total / norm if norm else total).astype(np.float32), slots[0])]
        scored = [(-exact(vector, probe), slot) for vector, slot in candidates]
        score, slot = min(scored)
        hits.append(Hit(*view.subject_at(owner), -score, slot))
    return sorted(hits, key=lambda hit: (-hit.score, hit.slot))[:k]


def exact(vector: Vectors, probe: Vectors) -> float:
    return float(np.float32(math.fsum((vector.astype(np.float64) * probe.astype(np.float64)).tolist())))


def same_as_defined(found: Found, view: GalleryView, probes: Vectors, k: int, **rest) -> None:
    assert found.hits == [defined(view, probe, k, **rest) for probe in probes]
    proof = found.certificate
    assert (proof.excluded >= 0).all()
    assert (proof.excluded + proof.rescored == proof.searched).all()
    for hits, floor in zip(found.hits, proof.floor.tolist(), strict=True):
        assert floor == (hits[-1].score if len(hits) == k else -math.inf)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(SEARCHERS),
    seed=st.integers(0, 10_000),
    count=st.integers(1, 80),
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
    without = set(rng.choice(count, rng.integers(0, count), replace=False).tolist()) if seed % 2 else set()
    subjects = {int(rng.integers(1, people + 1))} if seed % 3 else set()
    probes = np.concatenate([units(3, dimension, seed + 1), vectors[:1]])
    view = gallery(vectors, owners, free, scoring)
    searcher = opened_as(name)
    rest = {"without": without, "without_subjects": subjects}
    same_as_defined(find(searcher, view, probes, k, **rest), view, probes, k, **rest)
    searcher.close()


@pytest.mark.parametrize("dimension", [128, 512])
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_many_blocks_and_a_part_of_one(searcher: PackingSearcher, dimension: int, batch: int) -> None:
    count = 9 * BLOCK_ROWS + 77
    vectors = units(count, dimension)
    view = gallery(vectors, (np.arange(count) % 4000).tolist(), free={0, 5000, count - 1})
    probes = np.concatenate([units(batch, dimension, 4), vectors[[1, count - 2]]])[-batch:]
    every = vectors.astype(np.float64) @ probes.astype(np.float64).T
    found = find(searcher, view, probes)
    for number, (first, second) in enumerate(found.hits):
        order = np.argsort(-every[:, number]).tolist()
        order = [slot for slot in order if slot not in (0, 5000, count - 1)]
        best = order[0]
        assert (first.slot, first.score) == (best, exact(vectors[best], probes[number]))
        assert second.slot == next(slot for slot in order if slot % 4000 != best % 4000)
    if not isinstance(searcher, PlainSearcher):
        assert found.certificate.rescored.max() < count / 20


def test_near_ties_that_int8_cannot_tell_apart_are_ranked_right_and_certified(searcher: PackingSearcher) -> None:
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


def test_one_vector_under_two_names_ties_and_the_lower_slot_wins(searcher: PackingSearcher) -> None:
    vectors = units(3 * BLOCK_ROWS, 64)
    vectors[2900] = vectors[40]
    view = gallery(vectors, list(range(len(vectors))))
    first, second = find(searcher, view, vectors[[40]]).hits[0]
    assert (first.slot, second.slot) == (40, 2900)
    assert first.score == second.score


def test_fewer_subjects_than_asked_for_are_all_found(searcher: PackingSearcher) -> None:
    vectors = units(2 * BLOCK_ROWS, 16)
    view = gallery(vectors, [slot % 3 for slot in range(len(vectors))])
    probes = units(4, 16, 8)
    same_as_defined(find(searcher, view, probes, 9), view, probes, 9)


def test_the_answer_does_not_depend_on_the_batch_nor_on_how_its_memory_lies(searcher: PackingSearcher) -> None:
    vectors = units(3000, 64)
    view = gallery(vectors, [slot // 2 for slot in range(3000)])
    probes = units(70, 64, 7)
    together = find(searcher, view, probes).hits
    assert [searcher.search(view, probes[at : at + 1])[0] for at in range(70)] == together
    assert searcher.search(view, np.asfortranarray(probes)) == together
    assert searcher.search(view, np.repeat(probes, 2, axis=0)[::2]) == together
    assert searcher.search(view, probes[::-1])[::-1] == together


def test_a_probe_that_is_no_number_is_near_nobody_and_spoils_no_other(searcher: PackingSearcher) -> None:
    view = gallery(units(3000, 64), list(range(3000)))
    probes = units(3, 64, 9)
    alone = find(searcher, view, probes[2:]).hits[0]
    probes[0, 3], probes[1, 5] = np.nan, np.inf
    assert find(searcher, view, probes).hits == [[], [], alone]


def test_a_vector_with_one_great_number_among_small_ones_is_bounded_too(searcher: PackingSearcher) -> None:
    vectors = units(2 * BLOCK_ROWS, 64)
    vectors[100] = 0
    vectors[100, 7] = 1
    view = gallery(vectors, list(range(len(vectors))))
    probes = np.concatenate([vectors[[100, 101]], units(5, 64, 3)])
    same_as_defined(find(searcher, view, probes, 3), view, probes, 3)


@pytest.mark.parametrize("scoring", [Scoring.MEAN, Scoring.QUALITY])
def test_means_of_a_large_gallery_and_of_the_subject_claimed(searcher: PackingSearcher, scoring: Scoring) -> None:
    vectors = units(2500, 16)
    view = gallery(vectors, [slot % 1100 for slot in range(2500)], scoring=scoring)
    probes = units(3, 16, 5)
    same_as_defined(find(searcher, view, probes, 3), view, probes, 3)
    best = searcher.search(view, probes)[0][0]
    assert score_subject(view, probes[0], best.subject) == best


# --- kept up to date


def replica_of(vectors: Vectors, scoring: Scoring = Scoring.BEST) -> Replica:
    replica = Replica(Snapshot("door", "m", vectors.shape[1], "e", settings=GallerySettings(scoring=scoring)))
    replica.apply([enrolled(slot + 1, slot + 1, (slot,), vectors[slot : slot + 1]) for slot in range(len(vectors))])
    return replica


@pytest.mark.parametrize("scoring", Scoring)
@pytest.mark.parametrize("name", ["int8", "half"])
def test_each_view_of_a_changing_gallery_is_searched_as_it_is(name: str, scoring: Scoring) -> None:
    rng = np.random.default_rng(1)
    searcher, plain = opened_as(name), PlainSearcher()
    replica = replica_of(units(1500, 16), scoring)
    free: list[int] = []
    end, sequence = 1500, 1500
    probes = units(6, 16, 77)
    views = []
    for step in range(120):
        sequence += 1
        number = int(rng.integers(1, 1500))
        slots = replica.view.slots_of(number)
        if step % 3 == 0 and slots:
            change = Change(sequence, Op.FORGET, number=number, slots=tuple(slots))
            free += slots
        else:
            slot = free.pop() if free and step % 2 else end
            end = max(end, slot + 1)
            change = enrolled(sequence, sequence, (slot,), units(1, 16, sequence))
        view = replica.apply([change])
        if step % 10 == 3:
            searcher.pack(view)
        if step % 30 == 7:
            views.append((view, plain.search(view, probes, 3)))
        assert searcher.search(view, probes, 3) == plain.search(view, probes, 3)
    # Views that somebody still holds are answered as they were.
    for view, expected in views:
        assert searcher.search(view, probes, 3) == expected
    searcher.close()


def test_a_forgotten_vector_is_out_of_the_packed_form_before_the_next_search_is_answered() -> None:
    replica, searcher = replica_of(units(BLOCK_ROWS + 50, 16)), Int8Searcher()
    searcher.pack(replica.view)
    codes = encode(replica.view.blocks[0], each=False).codes[33]
    forms = forms_of(searcher)
    assert any((form.codes.numpy() == codes).all(axis=1).any() for form in forms)
    del forms
    view = replica.apply([Change(5000, Op.FORGET, number=34, slots=(33,))])
    searcher.search(view, units(1, 16))
    gc.collect()
    assert not any((form.codes.numpy() == codes).all(axis=1).any() for form in forms_of(searcher))
    searcher.close()


def forms_of(searcher: Int8Searcher) -> list[Stretch]:
    return [form for gallery in searcher._galleries.values() for form in gallery.packed._forms]


def test_what_is_new_is_packed_in_the_background_and_what_is_dead_is_dropped() -> None:
    replica, searcher = replica_of(units(3000, 16)), Int8Searcher()
    probe = units(1, 16, 2)
    expected = searcher.search(replica.view, probe)
    wait_until(lambda: searcher.nbytes(lambda form: form.codes.nbytes) >= 3000 * 16)
    assert searcher.search(replica.view, probe) == expected
    del replica
    gc.collect()
    wait_until(lambda: not searcher.nbytes(lambda form: form.codes.nbytes))
    searcher.close()


def test_packing_beside_searches_and_enrolments_never_gives_a_wrong_answer() -> None:
    replica, searcher, plain = replica_of(units(1200, 16)), Int8Searcher(), PlainSearcher()
    probes, wrong, stop = units(4, 16, 3), [], threading.Event()

    def search_on() -> None:
        while not stop.is_set():
            view = replica.view
            if searcher.search(view, probes) != plain.search(view, probes):
                wrong.append(view.sequence)

    threads = [threading.Thread(target=search_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(150):
        sequence = 2000 + step
        forget = Change(sequence, Op.FORGET, number=step + 1, slots=(step,))
        replica.apply([forget if step % 2 else enrolled(sequence, sequence, (1200 + step,), units(1, 16, sequence))])
        searcher.pack(replica.view)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    searcher.close()


def test_a_gallery_wiped_and_made_anew_at_the_same_number_is_another_one() -> None:
    searcher = Int8Searcher()
    one, other = gallery(units(2000, 16), list(range(2000))), gallery(units(2000, 16, 6), list(range(2000)))
    probe = units(1, 16, 3)
    plain = PlainSearcher()
    for view in (one, replace(other, epoch="f"), other):
        assert find(searcher, view, probe).hits == plain.search(view, probe)
    searcher.close()


def test_blocks_held_in_half_precision_are_searched_exactly_as_what_they_hold(searcher: PackingSearcher) -> None:
    view = gallery(units(1500, 16), list(range(1500)))
    half = replace(view, blocks=tuple(block.astype(np.float16) for block in view.blocks))
    probes = units(3, 16, 4)
    same_as_defined(find(searcher, half, probes), half, probes, 2)


def test_a_worker_on_a_cpu_searches_with_int8() -> None:
    assert isinstance(open_searcher("cpu"), Int8Searcher)


def wait_until(true) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not happen in 10 s"
        time.sleep(0.02)
