"""Merges of merges, undone and made again: who is forgotten is forgotten in all of them, and nobody else is."""

import uuid
from collections.abc import Callable

import pytest
import redis

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.errors import CannotUndo, UnknownGallery, UnknownSubject
from kith.gallery import Enrolment, GalleryStore, Op
from kith.replica import Replica
from tests import gallery_schema
from tests.plain_gallery import DIMENSION, key, unit


def face(subject: str, seed: int) -> Enrolment:
    return Enrolment(subject, key(subject, seed), unit(seed), f"ab/{seed}", 0.25, "m")


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> GalleryStore:
    made: Callable[[], GalleryStore] = MemoryGalleryStore
    if request.param == "redis":
        client = request.getfixturevalue("redis_client")
        made = lambda: RedisGalleryStore(client, f"t{uuid.uuid4().hex[:12]}")  # noqa: E731
    store = made()
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Bob", 2), face("Cid", 3)])
    return store


def told(store: GalleryStore) -> set[str]:
    """The names the journal still tells of."""
    entries = store.history("door")
    ended = {each.before[1] for each in entries if each.op in (Op.MOVE, Op.REMOVE) and isinstance(each.before, tuple)}
    return {each.subject for each in entries} | {str(name) for name in ended}


def test_what_a_forget_would_take_is_told_before_of_the_living_and_of_those_who_ended(store: GalleryStore) -> None:
    assert store.forgettable("door", "Ann") == [key("Ann", 1)]
    store.merge("door", "Ann", "Bob")
    store.enrol("door", [face("Ann", 4)])
    before = store.info("door")
    assert store.forgettable("door", "Ann") == sorted([key("Ann", 1), key("Ann", 4)])
    assert store.forgettable("door", "Bob") == sorted([key("Ann", 1), key("Bob", 2)])
    assert store.info("door") == before
    assert store.forget("door", "Ann").templates == 2
    for name in ("Ann", "Eve"):
        with pytest.raises(UnknownSubject):
            store.forgettable("door", name)
    with pytest.raises(UnknownGallery):
        store.forgettable("gate", "Bob")


def test_what_somebody_took_out_who_is_forgotten_and_was_brought_back_is_still_found_as_his_who_ended(
    store: GalleryStore,
) -> None:
    hers = key("Ann", 1)
    store.merge("door", "Ann", "Bob")
    store.move("door", "Bob", [hers], "Cid")
    store.undo("door", store.remove("door", "Cid", [hers]))
    store.move("door", "Cid", [hers], "Dot")
    store.forget("door", "Cid")
    assert [each.template_id for each in store.show("door", "Dot").templates] == [hers]
    assert store.forget("door", "Ann").templates == 1
    assert store.show("door", "Dot").templates == ()


def test_what_lies_in_the_removal_of_another_is_still_found_as_his_who_ended(store: GalleryStore) -> None:
    hers = key("Ann", 1)
    store.merge("door", "Ann", "Bob")
    store.move("door", "Bob", [hers], "Cid")
    store.undo("door", store.remove("door", "Cid", [hers]))
    store.move("door", "Cid", [hers], "Dot")
    removal = store.remove("door", "Dot", [hers])
    store.forget("door", "Cid")
    gone = store.forget("door", "Ann")
    assert (gone.templates, gone.images) == (0, ("ab/1",))
    assert hers not in {template for each in store.history("door") for template in each.templates}
    with pytest.raises(CannotUndo, match="forgotten"):
        store.undo("door", removal)


def test_a_removal_that_is_cleared_of_it_too_leaves_nothing_of_a_template_with_whoever_ended(
    store: GalleryStore,
) -> None:
    hers = key("Ann", 1)
    merge = store.merge("door", "Ann", "Bob")
    store.merge("door", "Bob", "Cid")
    store.remove("door", "Cid", [hers])
    store.forget("door", "Ann")
    assert hers not in {template for each in store.history("door") for template in each.templates}
    assert store.show("door", "Cid").templates
    with pytest.raises(CannotUndo, match="forgotten"):
        store.undo("door", merge)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_forgetting_the_one_erases_every_merge_that_was_undone(store: GalleryStore, times: int) -> None:
    for _ in range(times):
        store.undo("door", store.merge("door", "Ann", "Bob"))
    store.forget("door", "Bob")
    assert told(store) - {""} == {"Ann", "Cid"}
    store.forget("door", "Ann")
    assert told(store) - {""} == {"Cid"}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_forgetting_the_other_leaves_the_merge_but_not_him(store: GalleryStore, times: int) -> None:
    for _ in range(times):
        store.undo("door", store.merge("door", "Ann", "Bob"))
    store.forget("door", "Ann")
    assert told(store) - {""} == {"Bob", "Cid"}


def test_forgetting_him_does_not_hide_the_other_who_was_merged_on_since(store: GalleryStore) -> None:
    store.undo("door", store.merge("door", "Ann", "Bob"))
    merge = store.merge("door", "Bob", "Cid")
    at_once = Replica(store.snapshot("door")).view
    store.forget("door", "Ann")
    late = store.changes("door", 3)
    assert [(each.op, each.early) for each in late[:1]] == [(Op.MOVE, False)], "only Ann shall be missing to latecomers"
    store.undo("door", merge)
    assert told(store) - {""} == {"Bob", "Cid"}
    store.forget("door", "Bob")
    assert told(store) - {""} == {"Cid"}
    assert at_once.row_of("Bob") is None


def test_one_who_took_another_over_is_forgotten_with_him(store: GalleryStore) -> None:
    store.merge("door", "Ann", "Bob")
    store.merge("door", "Bob", "Cid")
    store.forget("door", "Cid")
    assert told(store) == {""}


def test_one_who_came_and_went_twice_is_forgotten_whole(store: GalleryStore) -> None:
    first = store.undo("door", 1)
    second = store.undo("door", store.undo("door", first))
    # The first ending knows nothing of the second, which tells of her as well.
    with pytest.raises(CannotUndo, match="changed since"):
        store.undo("door", first)
    store.undo("door", second)
    store.forget("door", "Ann")
    assert told(store) - {""} == {"Bob", "Cid"}


def test_one_who_was_merged_twice_comes_back_from_the_second_merge(store: GalleryStore) -> None:
    first = store.merge("door", "Ann", "Bob")
    second = store.undo("door", store.undo("door", first))
    with pytest.raises(CannotUndo, match="changed since"):
        store.undo("door", first)
    store.undo("door", second)
    store.forget("door", "Ann")
    assert told(store) - {""} == {"Bob", "Cid"}


def test_one_who_lives_is_not_brought_back(store: GalleryStore) -> None:
    undone = store.undo("door", 1)
    again = store.undo("door", undone)
    store.merge("door", "Bob", "Ann")
    # Ann stays, for she has become more than that enrolment.
    store.undo("door", again)
    with pytest.raises(CannotUndo, match="changed since"):
        store.undo("door", undone)


def test_every_key_in_redis_follows_from_the_others_all_the_way(redis_client: redis.Redis, prefix: str) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Bob", 2), face("Cid", 3)])
    known = {each.subject_id for each in store.subjects("door") if each.name != "Cid"}
    for _ in range(3):
        store.undo("door", store.merge("door", "Ann", "Bob"))
        gallery_schema.check(gallery_schema.read(redis_client, prefix, "door"))
    store.merge("door", "Ann", "Bob")
    store.forget("door", "Bob")
    stored = gallery_schema.read(redis_client, prefix, "door")
    gallery_schema.check(stored)
    assert gallery_schema.told_of(stored, known) == []
