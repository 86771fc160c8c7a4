"""Cutoffs derived, stored and read again, over the stores of one process and over a real Valkey server."""

import numpy as np
import pytest
import redis

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.samples_memory import MemorySamples
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import SampleStore, SearchSample, Truth
from kith.gallery import Enrolment, GalleryStore, template_id
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from workers.cutoffs import Cutoffs

Stores = tuple[GalleryStore, SampleStore]


@pytest.fixture(params=["memory", "redis"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """A gallery of 80 subjects, and no samples."""
    if request.param == "memory":
        found: Stores = (MemoryGalleryStore(), MemorySamples())
    else:
        client, prefix = request.getfixturevalue("redis_client"), request.getfixturevalue("prefix")
        found = (RedisGalleryStore(client, prefix), RedisSamples(client, prefix))
    galleries, _ = found
    galleries.create("door", model_id="m", dimension=32)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((80, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    galleries.enrol(
        "door",
        [
            Enrolment(f"p{row}", template_id("door", f"p{row}", "i", "m"), vector, "i", 1.0, "m")
            for row, vector in enumerate(vectors)
        ],
    )
    return found


def test_from_templates_and_then_from_what_the_site_has_learnt(stores: Stores) -> None:
    galleries, samples = stores
    galleries.configure("door", GallerySettings(fpir=0.05))
    chore = Cutoffs(galleries, samples, 0.3)
    assert chore.tend() == ["door"]
    first = galleries.info("door").settings
    assert first.record is not None
    assert first.record.how == "measured"
    assert first.record.why.startswith("from 80 templates")
    assert galleries.snapshot("door").settings == first
    for number in range(100):
        samples.put(
            SearchSample(
                decision_id=f"job:{number}",
                gallery="door",
                truth=Truth.NONMATED,
                score=0.1 + number / 1000,
                group=str(number),
                subjects=80,
                templates=80,
                model_id="m",
                subject_id="",
                image=f"ab/{number}",
                sampled=True,
                at_ms=now_ms() + 1000,
            )
        )
    assert chore.tend() == ["door"]
    second = galleries.info("door").settings
    assert second.record is not None
    # Five of a hundred may exceed it: 0.199 to 0.195.
    assert (second.cutoff, second.record.searches) == (0.1941, 100)


def test_a_default_is_stored_with_what_is_missing(stores: Stores) -> None:
    galleries, samples = stores
    galleries.configure("door", GallerySettings(fpir=0.001))
    Cutoffs(galleries, samples, 0.9).tend()
    found = galleries.info("door").settings
    assert found.record is not None
    assert (found.cutoff, found.record.how, found.record.low, found.record.high) == (0.9, "default", None, None)
    assert "it takes 3,000" in found.record.why


def test_samples_and_galleries_share_no_key(redis_client: redis.Redis, prefix: str) -> None:
    # A gallery may be called `order`, as a part of a key is.
    store = RedisSamples(redis_client, prefix)
    galleries = RedisGalleryStore(redis_client, prefix)
    galleries.create("order", model_id="m", dimension=4)
    before = galleries.info("order")
    assert store.forget_gallery("order") == 0
    assert store.count("order") == 0
    assert galleries.info("order") == before
