"""A replica in half precision: what it holds, and what that changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.gallery import Enrolment
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot, Vectors
from kith.replica import Follower
from kith.similarity import PlainSearcher, Searcher
from kith.view import GalleryView, Replica
from tests.unit.test_searchers import EPOCHS, opened_as
from tests.unit.test_similarity import enrolled, units


def snapshot(vectors: Vectors) -> Snapshot:
    """Each template is somebody else's."""
    cuts = range(0, len(vectors), BLOCK_ROWS)
    numbers = np.arange(1, len(vectors) + 1, dtype=np.int32)
    return Snapshot(
        "door", "m", vectors.shape[1], str(next(EPOCHS)), sequence=1,
        blocks=[vectors[at : at + BLOCK_ROWS].copy() for at in cuts],
        owners=[numbers[at : at + BLOCK_ROWS] for at in cuts],
        qualities=[np.ones(min(BLOCK_ROWS, len(vectors) - at), np.float32) for at in cuts],
        names={number: (f"id{number - 1}", f"name {number - 1}") for number in numbers.tolist()},
    )  # fmt: skip


def changes(size: int) -> list[Change]:
    new = units(3, 64, 9)
    return [
        enrolled(2, size + 1, (size,), new[:1]),
        Change(3, Op.FORGET, number=5, slots=(4,), gone=5),
        enrolled(4, size + 2, (4,), new[1:2]),
        enrolled(5, size + 3, (size + 3000,), new[2:]),
    ]


def test_templates_are_float16_as_loaded_and_as_enrolled_and_take_half_the_memory() -> None:
    vectors = units(1500, 64)
    single, half = Replica(snapshot(vectors)), Replica(snapshot(vectors), half=True)
    assert bytes_of(half.view) * 2 == bytes_of(single.view)
    for change in changes(1500):
        single.apply([change])
        half.apply([change])
        assert all(block.dtype == np.float16 for block in half.view.blocks)
        for exact, kept in zip(single.view.blocks, half.view.blocks, strict=True):
            assert np.array_equal(exact.astype(np.float16), kept)


def test_a_template_set_again_to_what_it_is_copies_no_block() -> None:
    vectors = units(10, 64)
    replica = Replica(snapshot(vectors), half=True)
    before = replica.view.blocks[0]
    assert replica.apply([enrolled(2, 3, (2,), vectors[2:3])]).blocks[0].base is before.base


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), dimension=st.sampled_from([2, 16, 512]), scale=st.sampled_from([1, 30]))
def test_a_score_is_off_by_less_than_half_a_thousandth(seed: int, dimension: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    # Few large numbers among many that float16 hardly has, or all alike.
    vectors = rng.standard_normal((40, dimension)) ** (1 if scale == 1 else 15)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    single, half = (Replica(snapshot(vectors), half=half).view for half in (False, True))
    for exact, kept in zip(every(single, vectors[:5]), every(half, vectors[:5]), strict=True):
        assert exact.keys() == kept.keys()
        assert max(abs(exact[name] - kept[name]) for name in exact) < 0.0005


@pytest.mark.parametrize("name", ["plain", "int8", "half"])
def test_every_searcher_answers_exactly_for_the_rounded_templates(name: str) -> None:
    searcher: Searcher = opened_as(name)
    replica = Replica(snapshot(units(1500, 64)), half=True)
    probes = units(4, 64, 5)
    rounded = [block.astype(np.float32) for block in replica.view.blocks]
    expected = Replica(snapshot(np.concatenate(rounded))).view
    assert searcher.search(replica.view, probes, 3) == PlainSearcher().search(expected, probes, 3)
    view = replica.apply(changes(1500))
    assert searcher.search(view, probes, 3) == PlainSearcher().search(view, probes, 3)


def test_a_follower_keeps_half_precision_as_it_loads_and_as_it_loads_afresh() -> None:
    store = MemoryGalleryStore()
    store.create("door", model_id="m", dimension=64)
    vectors = units(2, 64)
    store.enrol("door", [Enrolment("Ann", "a", vectors[0], "key", 0.5, "m")])
    follower = Follower(store, half=True)
    assert follower.view("door").blocks[0].dtype == np.float16
    [sequence] = store.enrol("door", [Enrolment("Bob", "b", vectors[1], "key", 0.5, "m")])
    view = follower.view("door", at_least=sequence)
    follower.stop()
    assert np.array_equal(view.blocks[0][:2], vectors.astype(np.float16))


def bytes_of(view: GalleryView) -> int:
    return sum(block.nbytes for block in view.blocks)


def every(view: GalleryView, probes: Vectors) -> list[dict[str, float]]:
    found = PlainSearcher().search(view, probes, 100)
    return [{hit.subject: hit.score for hit in hits} for hits in found]
