"""Which pictures must stay, because a template was made of them: asked at every round of retention, so never by reading
whole galleries."""

import time

import numpy as np
import pytest
import redis

from kith.backends.erasure_redis import RedisErasure
from kith.backends.gallery_redis import RedisGalleryStore
from kith.gallery import Enrolment
from tests.plain_gallery import DIMENSION, key, unit


def face(subject: str, seed: int, image: str | None = None) -> Enrolment:
    return Enrolment(subject, key(subject, seed), unit(seed), f"ab/{seed}" if image is None else image, 0.25, "m")


@pytest.fixture
def store(redis_client: redis.Redis, prefix: str) -> RedisGalleryStore:
    store = RedisGalleryStore(redis_client, prefix)
    for name in ("door", "gate"):
        store.create(name, model_id="m", dimension=DIMENSION)
    return store


@pytest.fixture
def erasure(redis_client: redis.Redis, prefix: str) -> RedisErasure:
    return RedisErasure(redis_client, prefix)


IMAGES = {f"ab/{seed}" for seed in range(5)}


def test_a_picture_is_in_use_as_long_as_a_template_of_it_is_there_or_can_come_back(
    store: RedisGalleryStore, erasure: RedisErasure
) -> None:
    assert erasure.in_use(IMAGES) == set()
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    store.enrol("gate", [face("Cid", 4), face("Cid", 5, "")])
    assert erasure.in_use(IMAGES) == {"ab/1", "ab/2", "ab/3", "ab/4"}
    assert erasure.in_use({"ab/1", ""}) == {"ab/1"}
    assert erasure.in_use([]) == set()
    removal = store.remove("door", "Ann", [key("Ann", 1)])
    assert "ab/1" in erasure.in_use(IMAGES)
    store.undo("door", removal)
    store.remove("door", "Ann", [key("Ann", 1)])
    time.sleep(0.01)
    store.configure("door", store.info("door").settings)
    store.trim("door", 0)
    assert erasure.in_use(IMAGES) == {"ab/2", "ab/3", "ab/4"}
    store.enrol("door", [face("Dot", 0)])
    store.merge("door", "Dot", "Bob")
    assert erasure.in_use(IMAGES) == {"ab/0", "ab/2", "ab/3", "ab/4"}
    store.forget("door", "Dot")
    assert erasure.in_use(IMAGES) == {"ab/2", "ab/3", "ab/4"}
    store.forget("door", "Bob")
    store.forget("door", "Ann")
    assert erasure.in_use(IMAGES) == {"ab/4"}


def test_a_picture_of_two_people_is_in_use_until_both_are_forgotten(
    store: RedisGalleryStore, erasure: RedisErasure
) -> None:
    store.enrol("door", [face("Ann", 1), face("Bob", 2, "ab/1")])
    store.undo("door", store.enrol("door", [face("Cid", 3, 'ab/"1\\')])[0])
    assert erasure.in_use({"ab/1", 'ab/"1\\'}) == {"ab/1", 'ab/"1\\'}
    store.forget("door", "Ann")
    assert erasure.in_use(IMAGES) == {"ab/1"}
    store.forget("door", "Bob")
    store.forget("door", "Cid")
    assert erasure.in_use({"ab/1", 'ab/"1\\'}) == set()


def test_nothing_is_read_through(store: RedisGalleryStore, erasure: RedisErasure, redis_client: redis.Redis) -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((3000, DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    people = [Enrolment(f"p{row}", f"t{row}", vector, f"cd/{row}", 1.0, "m") for row, vector in enumerate(vectors)]
    store.enrol("door", people)
    for row in range(50):
        store.remove("door", f"p{row}", [f"t{row}"])

    def cost() -> tuple[int, int]:
        found = redis_client.info("all")
        return int(found["total_net_output_bytes"]), int(found.get("cmdstat_hscan", {"calls": 0})["calls"])

    said, before = len(repr(redis_client.info("all"))), cost()
    assert erasure.in_use({"cd/1", "cd/2999", "cd/3000"}) == {"cd/1", "cd/2999"}
    after = cost()
    assert after[1] == before[1]
    assert after[0] - before[0] < 2 * said + 1000
