"""What an encrypted gallery is worth: no vector stands in Redis, and none is read without the key."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from kith.backends import gallery_resealing
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.gallery_rows import RowFormats
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.migration_redis import RedisMigrationStore
from kith.custody import rotate
from kith.errors import KeysUnavailable, Misconfigured, StateUnavailable, UnknownKey
from kith.gallery import Enrolment, template_id
from kith.keys import KeyRing
from kith.replica import Follower
from tests.plain_gallery import unit

DIMENSION = 64


def face(subject: str, seed: int) -> Enrolment:
    image = f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image), unit(seed, DIMENSION), image, 0.5, "m")


class FrozenKeys(DirectoryKeys):
    """A key store as it was when a process looked last."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def ring(self, gallery: str) -> KeyRing:
        assert gallery == self._ring.gallery
        return self._ring


@pytest.fixture
def keys(tmp_path: Path) -> DirectoryKeys:
    return DirectoryKeys(tmp_path / "keys")


@pytest.fixture
def store(redis_client: redis.Redis, prefix: str, keys: DirectoryKeys) -> RedisGalleryStore:
    store = RedisGalleryStore(redis_client, prefix, keys, encrypt=True)
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    return store


def everything(client: redis.Redis, prefix: str, besides: str = "") -> bytes:
    client.config_set("rdbcompression", "no")
    keys = [key for key in client.scan_iter(f"{prefix}:*") if key != besides.encode()]
    return b"".join(key + (client.dump(key) or b"") for key in keys)


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


def test_keys_are_kept_no_longer_than_they_are_used(keys: DirectoryKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery that is no more is asked for no more: its keys, destroyed by then, are not to stay in every worker."""
    now_s = 1000.0
    monkeypatch.setattr("kith.backends.gallery_rows.time.monotonic", lambda: now_s)
    for name in ("door", "gate"):
        keys.create(name)
    formats = RowFormats(keys)
    door, gate = (formats.of(name, "e", 64, sealed=True) for name in ("door", "gate"))
    now_s += 59
    assert formats.of("door", "e", 64, sealed=True) is door
    now_s += 59
    assert formats.of("door", "e", 64, sealed=True) is door
    assert [name for name, _, _ in formats._sealed] == ["door"]
    assert formats.of("gate", "e", 64, sealed=True) is not gate


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
        view = follower.view("door", at_least=sequence, timeout_s=30)
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
    # That it is an old one is noted.
    assert old not in everything(redis_client, prefix, besides=f"{prefix}:g:door:meta")
    store.undo("door", 3)
    fresh = RedisGalleryStore(redis_client, prefix, keys)
    vectors, _ = fresh.snapshot("door").templates()
    expected = [unit(seed, DIMENSION).tobytes() for seed in (1, 2, 3, 5, *range(10, 210))]
    assert sorted(each.tobytes() for each in vectors) == sorted(expected)


def test_a_key_that_is_added_after_a_sealing_anew_seals_too(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    ring = keys.rotate("door")
    store.reseal("door", ring, keys)
    keys.retire("door", ring.key_ids[:-1])
    newest = keys.rotate("door").newest.key_id
    RedisGalleryStore(redis_client, prefix, keys).enrol("door", [face("Cid", 4)])
    assert newest in everything(redis_client, prefix)


def test_a_slow_sealing_anew_writes_nothing_by_a_key_that_a_later_one_made_old(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    slow, ring = RedisGalleryStore(redis_client, prefix, keys), keys.rotate("door")
    frozen = FrozenKeys(ring)
    later = keys.rotate("door")
    store.reseal("door", later, keys)
    with pytest.raises(KeysUnavailable):
        slow.reseal("door", ring, frozen)
    keys.retire("door", later.key_ids[:-1])
    assert RedisGalleryStore(redis_client, prefix, keys).snapshot("door").templates()[0].shape == (3, DIMENSION)
    store.enrol("door", [face("Late", 5)])


def test_one_that_is_overtaken_by_a_later_one_stops_before_it_writes(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys, monkeypatch: Any
) -> None:
    ring, anew = keys.rotate("door"), gallery_resealing._anew

    def overtaken(rows: Any, old: list[bytes]) -> list[bytes]:
        fresh = anew(rows, old)
        monkeypatch.setattr(gallery_resealing, "_anew", anew)
        RedisGalleryStore(redis_client, prefix, keys).reseal("door", keys.rotate("door"), keys)
        # As if the other one had read these rows, and not yet written them.
        redis_client.set(f"{prefix}:g:door:b:0", b"".join(old))
        return fresh

    monkeypatch.setattr(gallery_resealing, "_anew", overtaken)
    with pytest.raises(KeysUnavailable):
        store.reseal("door", ring, FrozenKeys(ring))


def test_a_slot_that_changes_hands_meanwhile_keeps_its_new_template(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys, monkeypatch: Any
) -> None:
    ring, anew = keys.rotate("door"), gallery_resealing._anew

    def changed(rows: Any, old: list[bytes]) -> list[bytes]:
        monkeypatch.setattr(gallery_resealing, "_anew", anew)
        other = RedisGalleryStore(redis_client, prefix, keys)
        other.remove("door", "Bob", [face("Bob", 3).template_id])
        other.enrol("door", [face("Cid", 4)])
        return anew(rows, old)

    monkeypatch.setattr(gallery_resealing, "_anew", changed)
    store.reseal("door", ring, keys)
    vectors, _ = RedisGalleryStore(redis_client, prefix, keys).snapshot("door").templates()
    assert sorted(each.tobytes() for each in vectors) == sorted(unit(seed, DIMENSION).tobytes() for seed in (1, 2, 4))


def test_what_an_older_key_sealed_is_not_brought_back_while_it_is_sealed_anew(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys, monkeypatch: Any
) -> None:
    removed = store.remove("door", "Ann", [face("Ann", 1).template_id])
    ring = keys.rotate("door")
    passed = gallery_resealing._payloads

    def brought_back(*arguments: Any) -> int:
        # The rows are done, the journal is not.
        with pytest.raises(KeysUnavailable, match="keys rotate door --reseal"):
            store.undo("door", removed)
        return passed(*arguments)

    monkeypatch.setattr(gallery_resealing, "_payloads", brought_back)
    store.reseal("door", ring, keys)
    keys.retire("door", ring.key_ids[:-1])
    store.undo("door", removed)
    vectors, _ = RedisGalleryStore(redis_client, prefix, keys).snapshot("door").templates()
    assert len(vectors) == 3


def test_a_payload_that_is_amended_meanwhile_is_sealed_anew_all_the_same(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys, monkeypatch: Any
) -> None:
    removed = store.remove("door", "Ann", [face("Ann", 1).template_id])
    payloads, anew = f"{prefix}:g:door:payloads", gallery_resealing._anew

    def amended(rows: Any, old: list[bytes]) -> list[bytes]:
        text = redis_client.hget(payloads, str(removed))
        assert isinstance(text, bytes)
        if b"amended" not in text:
            redis_client.hset(payloads, str(removed), text.replace(b"{", b'{"amended":1,', 1))
        return anew(rows, old)

    monkeypatch.setattr(gallery_resealing, "_anew", amended)
    ring = keys.rotate("door")
    assert store.reseal("door", ring, keys) == 3
    text = redis_client.hget(payloads, str(removed))
    assert isinstance(text, bytes)
    assert b"amended" in text
    assert text.partition(b"\n")[2][:4] == ring.newest.key_id


def test_what_was_altered_stays_shut_when_the_rest_is_sealed_anew(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys, caplog: Any
) -> None:
    removed = store.remove("door", "Bob", [face("Bob", 3).template_id])
    block = f"{prefix}:g:door:b:0"
    redis_client.setrange(block, 40, bytes([redis_client.getrange(block, 40, 40)[0] ^ 1]))
    payload = redis_client.hget(f"{prefix}:g:door:payloads", removed)
    assert isinstance(payload, bytes)
    redis_client.hset(f"{prefix}:g:door:payloads", str(removed), payload[:-1] + bytes([payload[-1] ^ 1]))
    ring = keys.rotate("door")
    store.reseal("door", ring, keys)
    keys.retire("door", ring.key_ids[:-1])
    caplog.set_level(logging.ERROR)
    caplog.clear()
    fresh = RedisGalleryStore(redis_client, prefix, keys)
    vectors, _ = fresh.snapshot("door").templates()
    assert [each.tobytes() for each in vectors] == [unit(2, DIMENSION).tobytes()]
    assert "was altered in Redis and is left out (row 0)" in caplog.text
    fresh.undo("door", removed)
    assert len(fresh.snapshot("door").templates()[0]) == 1


def test_vectors_of_another_model_are_put_after_a_sealing_anew(
    store: RedisGalleryStore, redis_client: redis.Redis, prefix: str, keys: DirectoryKeys
) -> None:
    migrations = RedisMigrationStore(redis_client, prefix, keys)
    migrations.begin("door", model_id="n", dimension=8, pack="new")
    ids = [face("Ann", 1).template_id, face("Ann", 2).template_id]
    assert migrations.put("door", "n", {ids[0]: unit(1, 8)}, {}) == 1
    ring = keys.rotate("door")
    store.reseal("door", ring, keys)
    keys.retire("door", ring.key_ids[:-1])
    # This one has the old ring in memory still.
    assert migrations.put("door", "n", {ids[1]: unit(2, 8)}, {}) == 1
    other, _ = migrations.other("door").templates()
    assert sorted(each.tobytes() for each in other) == sorted(unit(seed, 8).tobytes() for seed in (1, 2))


def test_older_keys_go_only_when_the_server_has_what_was_sealed_anew_on_its_disk(
    store: RedisGalleryStore, redis_client: redis.Redis, keys: DirectoryKeys
) -> None:
    before = keys.ring("door").key_ids
    rotation = (keys, MemoryAudit(), "door", "cli:ada@desk", lambda ring: store.reseal("door", ring, keys))
    redis_client.config_set("appendonly", "no")
    try:
        with pytest.raises(Misconfigured, match="so the older keys stay: it takes appendonly yes"):
            rotate(*rotation)
    finally:
        redis_client.config_set("appendonly", "yes")
    assert set(before) < set(keys.ring("door").key_ids)
    assert len(rotate(*rotation).keys) == 1


def test_a_server_that_is_slow_to_write_to_its_disk_keeps_the_older_keys(
    store: RedisGalleryStore, redis_client: redis.Redis, keys: DirectoryKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_resealing, "_SETTLE_S", 0)
    monkeypatch.setattr(gallery_resealing, "_WAITAOF_MS", 1)
    redis_client.config_set("appendfsync", "no")
    try:
        with pytest.raises(StateUnavailable, match="has not written that to its disk within 0 s"):
            store.reseal("door", keys.rotate("door"), keys)
    finally:
        redis_client.config_set("appendfsync", "everysec")


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
