"""One contract for every store of judged searches: the one in a process, and Redis (a real Valkey server)."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.samples_memory import MemorySamples
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import SampleStore, SearchSample, Truth

Make = Callable[[int], SampleStore]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes an empty store that keeps so many of each gallery."""
    if request.param == "memory":
        return MemorySamples
    client = request.getfixturevalue("redis_client")
    return lambda kept: RedisSamples(client, f"t{uuid.uuid4().hex[:12]}", kept)


@pytest.fixture
def store(make: Make) -> SampleStore:
    return make(1000)


def sample(number: int = 0, **parts: object) -> SearchSample:
    made = SearchSample(
        decision_id=f"job:{number}",
        gallery="door",
        truth=Truth.NONMATED,
        score=0.25,
        runner_up=0.125,
        cutoff=0.5,
        group="camera/7",
        subjects=20,
        templates=40,
        model_id="m",
        subject_id="",
        image=f"ab/{number}",
        sampled=True,
        at_ms=1000 + number,
    )
    return replace(made, **parts)


def test_what_was_put_comes_back_as_it_was_oldest_first(store: SampleStore) -> None:
    late, early = sample(2), sample(1, truth=Truth.MATED, runner_up=None, cutoff=None, subject_id="a1", score=-0.5)
    store.put(late)
    store.put(early)
    assert store.samples("door") == [early, late]
    assert store.samples("gate") == []
    assert (store.count("door"), store.count("gate")) == (2, 0)


def test_who_judges_a_decision_again_replaces_what_he_said(store: SampleStore) -> None:
    store.put(sample(1))
    store.put(sample(2))
    changed = sample(1, truth=Truth.MISTAKEN, subject_id="b2", at_ms=5000)
    store.put(changed)
    store.put(changed)
    assert store.samples("door") == [sample(2), changed]
    assert store.count("door", after_ms=1002) == 1
    assert store.count("door", after_ms=4999) == 1
    assert store.count("door", after_ms=5000) == 0


def test_a_judgement_is_taken_back_once(store: SampleStore) -> None:
    store.put(sample(1))
    assert store.drop("door", "job:1") is True
    assert store.drop("door", "job:1") is False
    assert store.samples("door") == []


def test_the_newest_of_each_gallery_are_kept(make: Make) -> None:
    store = make(3)
    for number in (5, 1, 4, 2, 3):
        store.put(sample(number))
        store.put(sample(number, gallery="gate"))
    assert [each.decision_id for each in store.samples("door")] == ["job:3", "job:4", "job:5"]
    assert store.count("gate") == 3
    # Older than all that are kept, and there is no room: it goes as it comes.
    store.put(sample(0))
    assert [each.decision_id for each in store.samples("door")] == ["job:3", "job:4", "job:5"]


def test_old_ones_are_trimmed_however_many(make: Make) -> None:
    store = make(5000)
    for number in range(1203):
        store.put(sample(number))
    assert store.trim("door", 1000 + 1201) == 1201
    assert store.trim("door", 1000 + 1201) == 0
    assert [each.decision_id for each in store.samples("door")] == ["job:1201", "job:1202"]
    assert store.trim("gate", 10**15) == 0


def test_with_a_picture_or_a_person_go_their_samples_in_every_gallery(store: SampleStore) -> None:
    store.put(sample(1, subject_id="ann"))
    store.put(sample(2, subject_id="bob"))
    store.put(sample(3))
    store.put(sample(4, gallery="gate", subject_id="ann"))
    store.put(sample(5, gallery="gate", image="ab/3"))
    assert store.forget_subject("ann") == 2
    assert store.forget_subject("ann") == 0
    # Strangers have no id; nobody's id must not erase them all.
    assert store.forget_subject("") == 0
    assert store.forget_images(["ab/3", "ab/99"]) == 2
    assert store.forget_images([]) == 0
    assert [each.decision_id for each in store.samples("door")] == ["job:2"]
    assert store.samples("gate") == []
    assert store.forget_gallery("door") == 1
    assert store.forget_gallery("door") == 0
    assert store.samples("door") == []


def test_after_everything_is_forgotten_no_key_is_left(redis_client: redis.Redis, prefix: str) -> None:
    store = RedisSamples(redis_client, prefix)
    for number in range(5):
        store.put(sample(number, subject_id="ann"))
    assert len(list(redis_client.scan_iter(f"{prefix}:*"))) == 3
    store.forget_subject("ann")
    assert list(redis_client.scan_iter(f"{prefix}:*")) == []


def test_a_sample_of_a_newer_version_is_skipped_and_forgotten_with_its_gallery(
    redis_client: redis.Redis, prefix: str
) -> None:
    store = RedisSamples(redis_client, prefix)
    store.put(sample(1))
    redis_client.hset(f"{prefix}:samples:door", "job:9", '{"wire": 2}')
    redis_client.zadd(f"{prefix}:samples:door:order", {"job:9": 9})
    assert store.samples("door") == [sample(1)]
    assert store.forget_gallery("door") == 2
    assert list(redis_client.scan_iter(f"{prefix}:*")) == []


def test_samples_and_galleries_share_no_key(redis_client: redis.Redis, prefix: str) -> None:
    # A gallery may be called `order`, as a part of a key is.
    store = RedisSamples(redis_client, prefix)
    galleries = RedisGalleryStore(redis_client, prefix)
    galleries.create("order", model_id="m", dimension=4)
    before = galleries.info("order")
    assert store.forget_gallery("order") == 0
    assert store.count("order") == 0
    assert galleries.info("order") == before
