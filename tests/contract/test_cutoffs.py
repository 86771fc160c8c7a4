"""The upkeep chore that keeps cutoffs at the rate galleries aim at, over the stores of one process and over a real
Valkey server."""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.samples_memory import MemorySamples
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import SampleStore, SearchSample, Truth
from kith.errors import StateUnavailable
from kith.gallery import Enrolment, GalleryStore, template_id
from kith.gallery_settings import GallerySettings, Scoring
from kith.jobs import now_ms
from kith.migration import MigrationStore
from workers.cutoffs import Cutoffs

Stores = tuple[GalleryStore, SampleStore, MigrationStore]


def enrol(store: GalleryStore, name: str, first: int, last: int) -> None:
    random = np.random.default_rng(first)
    enrolments = []
    for number in range(first, last):
        vector = random.standard_normal(32)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        subject = f"p{number}"
        enrolments.append(Enrolment(subject, template_id(name, subject, "i"), vector, "i", 1.0, "m"))
    store.enrol(name, enrolments)


def default(model_id: str) -> float:
    return {"m": 0.3, "n": 0.7}[model_id]


@pytest.fixture(params=["memory", "redis"])
def stores(request: pytest.FixtureRequest) -> tuple[GalleryStore, SampleStore, MigrationStore]:
    if request.param == "memory":
        galleries = MemoryGalleryStore()
        return galleries, MemorySamples(), MemoryMigrationStore(galleries)
    place = request.getfixturevalue("redis_client"), request.getfixturevalue("prefix")
    return RedisGalleryStore(*place), RedisSamples(*place), RedisMigrationStore(*place)


@pytest.fixture
def samples(stores: Stores) -> SampleStore:
    return stores[1]


@pytest.fixture
def store(stores: Stores) -> GalleryStore:
    made = stores[0]
    for name, fpir in (("door", 0.08), ("free", None)):
        made.create(name, model_id="m", dimension=32, settings=GallerySettings(fpir=fpir, margin=0.02))
        enrol(made, name, 0, 80)
    return made


def judged(samples: SampleStore, count: int, at_ms: int | None = None) -> None:
    for number in range(count):
        samples.put(
            SearchSample(
                decision_id=f"{at_ms}:{number}",
                gallery="door",
                truth=Truth.NONMATED,
                score=0.2 + number / 10_000,
                group=str(number),
                subjects=80,
                templates=80,
                model_id="m",
                subject_id="",
                image=f"ab/{number}",
                sampled=True,
                at_ms=now_ms() + 1000 if at_ms is None else at_ms,
            )
        )


def test_a_gallery_that_aims_at_a_rate_gets_its_cutoff_and_another_is_left_alone(
    store: GalleryStore, samples: SampleStore
) -> None:
    chore = Cutoffs(store, samples, default)
    assert chore.tend() == ["door"]
    found = store.info("door").settings
    assert found.cutoff is not None
    assert found.record is not None
    assert (found.record.how, found.record.subjects, found.record.fpir) == ("measured", 80, 0.08)
    assert found.record.why.startswith("from 80 templates")
    assert store.snapshot("door").settings == found
    assert found.record.low is not None
    assert found.record.low <= found.cutoff
    # Whatever else was set, stays.
    assert (found.fpir, found.margin) == (0.08, 0.02)
    assert store.info("free").settings == GallerySettings(margin=0.02)
    # Nothing is new, and nothing is done.
    sequence = store.info("door").sequence
    assert chore.tend() == []
    assert store.info("door").sequence == sequence


def test_it_is_derived_anew_when_the_gallery_has_grown_by_more_than_half(
    store: GalleryStore, samples: SampleStore
) -> None:
    chore = Cutoffs(store, samples, default)
    chore.tend()
    before = store.info("door").settings
    enrol(store, "door", 80, 120)
    assert chore.tend() == []
    enrol(store, "door", 120, 121)
    assert chore.tend() == ["door"]
    after = store.info("door").settings
    assert before.record is not None
    assert after.record is not None
    assert (before.record.subjects, after.record.subjects) == (80, 121)


def test_it_is_derived_anew_when_the_site_has_learnt_enough(store: GalleryStore, samples: SampleStore) -> None:
    chore = Cutoffs(store, samples, default)
    chore.tend()
    judged(samples, 49)
    assert chore.tend() == []
    judged(samples, 60)
    assert chore.tend() == ["door"]
    record = store.info("door").settings.record
    assert record is not None
    assert record.why == "from 60 judged searches of 60 people or tracks"
    # Two thirds of 8 %, as the gallery may grow by half: 3.3 of 61, the next one counted. Scores end at 0.2059.
    assert store.info("door").settings.cutoff == 0.2058


def test_another_target_is_another_cutoff_and_one_set_by_hand_stays(store: GalleryStore, samples: SampleStore) -> None:
    chore = Cutoffs(store, samples, default)
    chore.tend()
    strict = store.info("door").settings.cutoff
    store.configure("door", replace(store.info("door").settings, fpir=0.2))
    assert chore.tend() == ["door"]
    assert strict is not None
    assert (store.info("door").settings.cutoff or 1) < strict
    store.configure("door", GallerySettings(cutoff=0.7))
    assert chore.tend() == []
    assert store.info("door").cutoff == 0.7


def test_too_little_data_never_lowers_the_cutoff_in_force(store: GalleryStore, samples: SampleStore) -> None:
    store.configure("door", GallerySettings(cutoff=0.8, fpir=0.001))
    Cutoffs(store, samples, default).tend()
    found = store.info("door").settings
    assert found.record is not None
    assert (found.cutoff, found.record.how, found.record.low, found.record.high) == (0.8, "default", None, None)
    assert "it takes 4,557" in found.record.why


def test_what_somebody_sets_while_it_is_derived_wins(
    store: GalleryStore, samples: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = store.snapshot

    def slow(name: str) -> Any:
        taken = snapshot(name)
        store.configure(name, GallerySettings(cutoff=0.9))
        return taken

    monkeypatch.setattr(store, "snapshot", slow)
    assert Cutoffs(store, samples, default).tend() == []
    assert store.info("door").settings == GallerySettings(cutoff=0.9)


def test_a_scoring_that_somebody_sets_has_a_cutoff_of_its_own(
    store: GalleryStore, samples: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chore, snapshot = Cutoffs(store, samples, default), store.snapshot

    def slow(name: str) -> Any:
        taken = snapshot(name)
        store.configure(name, replace(store.info(name).settings, scoring=Scoring.MEAN))
        return taken

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(store, "snapshot", slow)
        assert chore.tend() == [], "what was derived is of other scores"
    assert store.info("door").settings.record is None
    for scoring in (Scoring.MEAN, Scoring.BEST):
        store.configure("door", replace(store.info("door").settings, scoring=scoring))
        assert chore.tend() == ["door"]
        record = store.info("door").settings.record
        assert record is not None
        assert record.scoring is scoring
        assert chore.tend() == []


def test_a_margin_that_somebody_sets_as_the_cutoff_is_noted_stays(
    store: GalleryStore, samples: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, looked = store.info, [0]

    def slow(name: str) -> Any:
        found = info(name)
        looked[0] += 1
        if looked[0] == 1:
            store.configure(name, replace(found.settings, margin=0.1))
        return found

    monkeypatch.setattr(store, "info", slow)
    assert Cutoffs(store, samples, default).tend() == ["door"]
    settings = info("door").settings
    assert (settings.margin, settings.record is None, looked) == (0.1, False, [2])


def test_a_gallery_that_has_moved_to_another_model_has_the_default_of_that_one(
    stores: Stores, store: GalleryStore, samples: SampleStore
) -> None:
    store.configure("door", GallerySettings(fpir=0.001))
    chore = Cutoffs(store, samples, default)
    assert chore.tend() == ["door"]
    before = store.info("door").settings
    assert before.record is not None
    assert before.record.how == "default"
    assert (before.cutoff or 0) < 0.7
    migrations = stores[2]
    migrations.begin("door", model_id="n", dimension=8, pack="new")
    random = np.random.default_rng(1)
    for missing in (each.template_id for each in migrations.missing("door")):
        vector = random.standard_normal(8)
        migrations.put("door", "n", {missing: (vector / np.linalg.norm(vector)).astype(np.float32)}, {})
    # As if the former cutoff had been carried along: upkeep sees that it is of the other model.
    migrations.switch("door", "n", before=before, after=replace(before, cutoff=0.99))
    assert chore.tend() == ["door"]
    after = store.info("door").settings
    assert after.record is not None
    assert (after.record.model_id, after.record.how) == ("n", "default")
    assert "it takes" in after.record.why
    # Its own templates ask for more than the default: in 8 dimensions strangers come nearer than in 32.
    assert 0.7 <= (after.cutoff or 0) < 0.99
    assert chore.tend() == []


def test_samples_older_than_a_year_are_dropped(store: GalleryStore, samples: SampleStore) -> None:
    judged(samples, 5, at_ms=now_ms() - 366 * 86_400_000)
    judged(samples, 3, at_ms=now_ms() - 364 * 86_400_000)
    Cutoffs(store, samples, default).tend()
    assert samples.count("door") == 3


def test_aside_it_does_the_same_once_at_a_time_and_says_what_went_wrong(
    store: GalleryStore, samples: SampleStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chore = Cutoffs(store, samples, default)
    caplog.set_level(logging.WARNING)
    chore.tend_aside()
    _finish(chore)
    assert store.info("door").cutoff is not None
    assert "gallery door: cutoff 0." in caplog.text
    for fault, said in ((StateUnavailable("gone"), "cutoffs wait: gone"), (ZeroDivisionError("x"), "cutoffs failed")):
        monkeypatch.setattr(store, "galleries", lambda fault=fault: _raise(fault))
        chore.tend_aside()
        _finish(chore)
        assert said in caplog.text


def _finish(chore: Cutoffs) -> None:
    deadline = time.monotonic() + 10
    while chore._thread is not None and chore._thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)


def _raise(fault: Exception) -> Any:
    raise fault
