"""What an encrypted gallery is worth: no vector stands in Redis, and none is read without the key."""

import logging
from pathlib import Path

import numpy as np
import pytest
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.keys_directory import DirectoryKeys
from kith.errors import Misconfigured, UnknownKey
from kith.gallery import Enrolment, template_id
from kith.replica import Follower
from tests.plain_gallery import unit

DIMENSION = 64


def face(subject: str, seed: int) -> Enrolment:
    image = f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image, "m"), unit(seed, DIMENSION), image, 0.5, "m")


@pytest.fixture
def keys(tmp_path: Path) -> DirectoryKeys:
    return DirectoryKeys(tmp_path / "keys")


@pytest.fixture
def store(redis_client: redis.Redis, prefix: str, keys: DirectoryKeys) -> RedisGalleryStore:
    store = RedisGalleryStore(redis_client, prefix, keys, encrypt=True)
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    return store


def everything(client: redis.Redis, prefix: str) -> bytes:
    client.config_set("rdbcompression", "no")
    return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter(f"{prefix}:*"))


def test_no_part_of_a_vector_stands_in_redis(store: RedisGalleryStore, redis_client: redis.Redis, prefix: str) -> None:
    store.remove("door", "Ann", [face("Ann", 1).template_id])
    found = everything(redis_client, prefix)
    for seed in (1, 2, 3):
        vector = unit(seed, DIMENSION).tobytes()
        assert not any(vector[start : start + 8] in found for start in range(0, len(vector) - 8, 4))


def test_a_process_without_the_keys_says_what_it_lacks(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str
) -> None:
    blind = RedisGalleryStore(redis_client, prefix)
    assert blind.info("door").templates == 3
    for verb in (
        lambda: blind.snapshot("door"),
        lambda: blind.changes("door", 0),
        lambda: blind.enrol("door", [face("Cid", 4)]),
    ):
        with pytest.raises(Misconfigured, match="gallery door is encrypted and this process was given no keys"):
            verb()


def test_destroying_the_key_forgets_the_gallery_and_the_next_one_of_its_name_begins_anew(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    keys.destroy("door")
    fresh = RedisGalleryStore(redis_client, prefix, keys, encrypt=True)
    with pytest.raises(UnknownKey):
        fresh.snapshot("door")
    with pytest.raises(UnknownKey):
        fresh.enrol("door", [face("Cid", 4)])


def test_after_a_rotation_new_templates_are_sealed_by_the_new_key_and_all_are_read(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    follower = Follower(store)
    try:
        assert follower.view("door").templates == 3
        newest = keys.rotate("door").newest.key_id
        other = RedisGalleryStore(redis_client, prefix, keys)
        sequence = other.enrol("door", [face("Cid", 4)])[0]
        assert newest in everything(redis_client, prefix)
        # The follower's store has the old ring, and asks for the new one.
        view = follower.view("door", at_least=sequence, timeout_s=5)
        row = view.row_of("Cid")
        assert row is not None
        assert np.array_equal(view.vector(view.slots_of(row)[0]), unit(4, DIMENSION))
    finally:
        follower.stop()


def test_sealed_anew_nothing_needs_the_older_key_and_nobody_writes_by_it(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    old = keys.ring("door").newest.key_id
    store.remove("door", "Ann", [face("Ann", 1).template_id])
    store.enrol("door", [face(f"p{seed}", seed) for seed in range(10, 210)])
    ring = keys.rotate("door")
    assert RedisGalleryStore(redis_client, prefix, keys).reseal("door", ring, keys) == 203
    assert RedisGalleryStore(redis_client, prefix, keys).reseal("door", ring, keys) == 0
    keys.retire("door", [old.hex()])
    # This store has the old ring in memory still.
    store.enrol("door", [face("Late", 5)])
    assert old not in everything(redis_client, prefix)
    store.undo("door", 3)
    fresh = RedisGalleryStore(redis_client, prefix, keys)
    vectors, _ = fresh.snapshot("door").templates()
    expected = [unit(seed, DIMENSION).tobytes() for seed in (1, 2, 3, 5, *range(10, 210))]
    assert sorted(each.tobytes() for each in vectors) == sorted(expected)


def test_an_altered_template_is_left_out_and_named_and_spoils_no_other(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    width = 4 * DIMENSION + 32
    row = redis_client.getrange(f"{prefix}:g:door:b:0", width, 2 * width - 1)
    redis_client.setrange(f"{prefix}:g:door:b:0", width + 40, bytes([row[40] ^ 1]))
    vectors, _ = store.snapshot("door").templates()
    assert sorted(each.tobytes() for each in vectors) == sorted(unit(seed, DIMENSION).tobytes() for seed in (1, 3))
    assert "gallery door: a sealed template was altered in Redis and is left out (row 1)" in caplog.text
    [ann, bob] = store.changes("door", 0)
    assert (len(ann.slots), ann.lost, len(bob.slots)) == (1, (1,), 1)
