"""Forgetting people who are no more: their enrolment was undone, or they were merged into somebody else."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import CannotUndo, StateFull, UnknownSubject
from kith.gallery import Enrolment, GallerySettings, GalleryStore, Op
from kith.replica import Replica
from tests import gallery_schema
from tests.plain_gallery import DIMENSION, key, unit


def face(subject: str, seed: int) -> Enrolment:
    return Enrolment(subject, key(subject, seed), unit(seed), f"ab/{seed}", 0.25, "m")


@pytest.fixture
def private_client(tmp_path: Path) -> Iterator[redis.Redis]:
    """Of a server whose settings a test may turn."""
    with EmbeddedValkey(tmp_path / "private") as server, redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> GalleryStore:
    made: Callable[[], GalleryStore] = MemoryGalleryStore
    if request.param == "redis":
        client = request.getfixturevalue("redis_client")
        made = lambda: RedisGalleryStore(client, f"t{uuid.uuid4().hex[:12]}")  # noqa: E731
    store = made()
    store.create("door", model_id="m", dimension=DIMENSION)
    return store


def held(store: GalleryStore) -> dict[str, set[str]]:
    """name → template ids; a replica that follows from the beginning must come to the same."""
    replica = Replica(store.snapshot("door"))
    people = [store.show("door", each.name) for each in store.subjects("door")]
    found = {each.name: {template.template_id for template in each.templates} for each in people}
    assert {name: len(ids) for name, ids in found.items()} == {
        name: len(replica.view.slots_of(replica.view.row_of(name) or 0)) for name in found
    }
    return found


def named(store: GalleryStore) -> set[str]:
    """Templates that the journal still names."""
    return {template for each in store.history("door") for template in each.templates}


def test_an_enrolment_that_was_undone_is_forgotten_by_name(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 2)])
    [ann] = store.ids("door", "Ann")
    store.rename("door", "Bob", "Bert")
    store.undo("door", 1)
    assert store.ids("door", "Ann") == [ann]
    gone = store.forget("door", "Ann")
    assert (gone.sequence, gone.subject_id, gone.subject, gone.templates, gone.payloads) == (5, ann, "Ann", 0, 2)
    assert {each.subject for each in store.history("door")} == {"", "Bob", "Bert"}
    assert named(store) == {key("Bob", 2)}
    for verb in (store.ids, store.forget):
        with pytest.raises(UnknownSubject, match="'Ann'"):
            verb("door", "Ann")
    with pytest.raises(CannotUndo, match="forgotten"):
        store.undo("door", 4)


def test_one_who_was_merged_into_another_takes_along_what_was_enrolled_as_his(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    store.describe("door", "Ann", external_id="7")
    merge = store.merge("door", "Ann", "Bob")
    gone = store.forget("door", "Ann")
    assert (gone.templates, gone.images) == (2, ("ab/1", "ab/2"))
    assert held(store) == {"Bob": {key("Bob", 3)}}
    assert named(store) == {key("Bob", 3)}
    told = {each.sequence: each for each in store.history("door")}
    assert (told[merge].op, told[merge].subject, told[merge].before) == (Op.MOVE, "Bob", None)
    with pytest.raises(CannotUndo, match="forgotten"):
        store.undo("door", merge)
    follower = Replica(store.snapshot("door"))
    follower.apply(store.changes("door", 0))
    assert follower.view.templates == 1


def test_whoever_had_become_a_part_of_him_goes_too(store: GalleryStore) -> None:
    store.enrol("door", [face("Zed", 1), face("Ann", 2), face("Bob", 3)])
    store.merge("door", "Zed", "Ann")
    store.merge("door", "Ann", "Bob")
    store.forget("door", "Ann")
    assert held(store) == {"Bob": {key("Bob", 3)}}
    assert named(store) == {key("Bob", 3)}
    with pytest.raises(UnknownSubject):
        store.ids("door", "Zed")


def test_a_merge_of_merges_gives_up_the_first_alone(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 2), face("Cid", 3)])
    store.merge("door", "Ann", "Bob")
    second = store.merge("door", "Bob", "Cid")
    store.forget("door", "Ann")
    assert held(store) == {"Cid": {key("Bob", 2), key("Cid", 3)}}
    # How Bob was when he ended is kept without what was hers.
    assert named(store) == {key("Bob", 2), key("Cid", 3)}
    with pytest.raises(CannotUndo):
        store.undo("door", second)
    store.forget("door", "Bob")
    assert held(store) == {"Cid": {key("Cid", 3)}}


def test_what_the_other_has_taken_out_since_is_erased_from_the_journal(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    store.merge("door", "Ann", "Bob")
    removal = store.remove("door", "Bob", [key("Bob", 3), key("Ann", 1)])
    store.move("door", "Bob", [key("Ann", 2)], "Cid")
    store.remove("door", "Cid", [key("Ann", 2)])
    gone = store.forget("door", "Ann")
    assert (gone.templates, gone.images) == (0, ("ab/1", "ab/2"))
    assert named(store) == {key("Bob", 3)}
    with pytest.raises(CannotUndo, match="forgotten"):
        store.undo("door", removal)


def test_what_came_back_after_it_was_taken_out_is_found(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 3)])
    store.merge("door", "Ann", "Bob")
    store.undo("door", store.remove("door", "Bob", [key("Ann", 1), key("Bob", 3)]))
    store.forget("door", "Ann")
    assert held(store) == {"Bob": {key("Bob", 3)}}
    assert named(store) == {key("Bob", 3)}


def test_a_picture_enrolled_anew_is_somebody_elses(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 3)])
    store.merge("door", "Ann", "Bob")
    store.remove("door", "Bob", [key("Ann", 1)])
    store.enrol("door", [face("Ann", 1)])
    store.rename("door", "Ann", "Anna")
    store.forget("door", "Ann")
    assert held(store) == {"Anna": {key("Ann", 1)}, "Bob": {key("Bob", 3)}}
    follower = Replica(store.snapshot("door"))
    assert follower.view.templates == 2


def test_one_who_began_with_a_split_that_was_undone_takes_nothing(store: GalleryStore) -> None:
    store.enrol("door", [face("Bob", 1), face("Bob", 2)])
    store.undo("door", store.move("door", "Bob", [key("Bob", 2)], "Eve"))
    store.forget("door", "Eve")
    assert held(store) == {"Bob": {key("Bob", 1), key("Bob", 2)}}
    assert {each.subject for each in store.history("door")} == {"", "Bob"}


def test_everybody_of_the_name_goes_at_once_each_template_once(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 2)])
    first = store.show("door", "Ann").subject_id
    store.merge("door", "Ann", "Bob")
    store.rename("door", "Bob", "Ann")
    store.enrol("door", [face("Ann", 3)])
    second = store.show("door", "Ann").subject_id
    assert store.ids("door", "Ann") == [second, first]
    gone = store.forget("door", "Ann")
    assert (gone.subject_id, gone.templates, gone.images) == (second, 3, ("ab/1", "ab/2", "ab/3"))
    assert held(store) == {}
    assert named(store) == set()
    store.enrol("door", [face("Cid", seed) for seed in range(5)])
    assert store.info("door").templates == 5


def test_only_those_who_are_meant_are_forgotten(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1)])
    store.undo("door", 1)
    [first] = store.ids("door", "Ann")
    store.enrol("door", [face("Ann", 2)])
    second = store.show("door", "Ann").subject_id
    assert store.ids("door", "Ann") == [second, first]
    assert store.forget("door", "Ann", only=[first]).subject_id == first
    assert store.ids("door", "Ann") == [second]
    assert held(store) == {"Ann": {key("Ann", 2)}}
    with pytest.raises(UnknownSubject):
        store.forget("door", "Ann", only=[first])
    assert store.forget("door", "Ann", only=[second]).templates == 1


def test_what_a_forgotten_person_was_given_and_gave_back_is_named_by_nobody(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    store.move("door", "Ann", [key("Ann", 1)], "Bob")
    store.move("door", "Bob", [key("Ann", 1)], "Ann")
    store.move("door", "Bob", [key("Bob", 3)], "Ann")
    store.remove("door", "Ann", [key("Bob", 3)])
    store.forget("door", "Ann")
    assert held(store) == {"Bob": set()}
    assert named(store) == set()


def test_one_who_came_back_lives_and_one_whom_the_journal_forgot_is_unknown(store: GalleryStore) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 2)])
    ann, bob = store.ids("door", "Ann"), store.ids("door", "Bob")
    store.undo("door", store.undo("door", 1))
    assert store.ids("door", "Ann") == ann
    store.undo("door", store.merge("door", "Ann", "Bob"))
    store.merge("door", "Ann", "Bob")
    assert store.ids("door", "Ann") == ann
    store.configure("door", GallerySettings())
    store.trim("door", -1)
    with pytest.raises(UnknownSubject):
        store.forget("door", "Ann")
    assert store.ids("door", "Bob") == bob
    assert len(held(store)["Bob"]) == 2


@pytest.mark.parametrize("kind", ["undone", "merged", "merged on", "removed since"])
def test_no_byte_of_one_who_ended_is_left_in_redis(redis_client: redis.Redis, prefix: str, kind: str) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=64)
    for who, seed in (("Secret Person", 1), ("Secret Person", 2), ("Other", 3)):
        store.enrol("door", [Enrolment(who, key(who, seed), unit(seed, 64), f"ab/{seed}", 0.5, "m")])
    store.describe("door", "Secret Person", external_id="secret-7", metadata={"note": "secret note"})
    [secret_id] = store.ids("door", "Secret Person")
    if kind == "undone":
        store.undo("door", 2)
        store.undo("door", 1)
    else:
        store.merge("door", "Secret Person", "Other")
    if kind == "merged on":
        store.enrol("door", [Enrolment("Third", key("Third", 4), unit(4, 64), "ab/4", 0.5, "m")])
        store.merge("door", "Other", "Third")
    if kind == "removed since":
        store.remove("door", "Other", [key("Other", 3), key("Secret Person", 1)])

    def everything() -> bytes:
        # As the values are, without their compression on disk.
        found = b""
        for name in redis_client.scan_iter(f"{prefix}:*"):
            kinds = {b"string": redis_client.get, b"hash": redis_client.hgetall, b"stream": redis_client.xrange}
            read = kinds.get(redis_client.type(name))
            found += name + (repr(read(name)).encode() if read else b"")
        return found

    def seen(seed: int) -> bool:
        return repr(unit(seed, 64).tobytes())[2:-1].encode() in everything()

    assert seen(1)
    assert secret_id.encode() in everything()
    store.forget("door", "Secret Person")
    assert (seen(1), seen(2), seen(3)) == (False, False, True)
    assert b"ecret" not in everything()
    assert secret_id.encode() not in everything()
    assert key("Secret Person", 1).encode() not in everything()
    gallery_schema.check(gallery_schema.read(redis_client, prefix, "door"))


def test_people_who_ended_are_forgotten_when_memory_is_full(private_client: redis.Redis) -> None:
    store = RedisGalleryStore(private_client, "full")
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Bob", 2)])
    store.merge("door", "Ann", "Bob")
    private_client.config_set("maxmemory", 1_000_000)
    with pytest.raises(StateFull):
        store.enrol("door", [face("Cid", 3)])
    assert store.forget("door", "Ann").templates == 1
    assert held(store) == {"Bob": {key("Bob", 2)}}
    # Of Bob the journal tells nothing any more, so that nothing of it is deleted first.
    private_client.config_set("maxmemory", 0)
    store.configure("door", GallerySettings())
    store.trim("door", -1)
    private_client.config_set("maxmemory", 1_000_000)
    assert store.forget("door", "Bob").templates == 1
    gallery_schema.check(gallery_schema.read(private_client, "full", "door"))
