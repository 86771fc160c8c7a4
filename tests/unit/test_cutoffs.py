"""The upkeep chore that keeps cutoffs at the rate galleries aim at."""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.samples_memory import MemorySamples
from kith.calibration_samples import SearchSample, Truth
from kith.errors import StateUnavailable
from kith.gallery import Enrolment, template_id
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from workers.cutoffs import Cutoffs


def enrol(store: MemoryGalleryStore, name: str, first: int, last: int) -> None:
    random = np.random.default_rng(first)
    enrolments = []
    for number in range(first, last):
        vector = random.standard_normal(32)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        subject = f"p{number}"
        enrolments.append(Enrolment(subject, template_id(name, subject, "i", "m"), vector, "i", 1.0, "m"))
    store.enrol(name, enrolments)


@pytest.fixture
def store() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    for name, fpir in (("door", 0.05), ("free", None)):
        made.create(name, model_id="m", dimension=32, settings=GallerySettings(fpir=fpir, margin=0.02))
        enrol(made, name, 0, 80)
    return made


def judged(samples: MemorySamples, count: int, at_ms: int | None = None) -> None:
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


def test_a_gallery_that_aims_at_a_rate_gets_its_cutoff_and_another_is_left_alone(store: MemoryGalleryStore) -> None:
    chore = Cutoffs(store, MemorySamples(), 0.3)
    assert chore.tend() == ["door"]
    found = store.info("door").settings
    assert found.cutoff is not None
    assert found.record is not None
    assert (found.record.how, found.record.subjects, found.record.fpir) == ("measured", 80, 0.05)
    assert found.record.low is not None
    assert found.record.low <= found.cutoff
    # Whatever else was set, stays.
    assert (found.fpir, found.margin) == (0.05, 0.02)
    assert store.info("free").settings == GallerySettings(margin=0.02)
    # Nothing is new, and nothing is done.
    sequence = store.info("door").sequence
    assert chore.tend() == []
    assert store.info("door").sequence == sequence


def test_it_is_derived_anew_when_the_gallery_has_grown_by_more_than_half(store: MemoryGalleryStore) -> None:
    chore = Cutoffs(store, MemorySamples(), 0.3)
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


def test_it_is_derived_anew_when_the_site_has_learnt_enough(store: MemoryGalleryStore) -> None:
    samples = MemorySamples()
    chore = Cutoffs(store, samples, 0.3)
    chore.tend()
    judged(samples, 49)
    assert chore.tend() == []
    judged(samples, 60)
    assert chore.tend() == ["door"]
    record = store.info("door").settings.record
    assert record is not None
    assert record.why == "from 60 judged searches of 60 people or tracks"


def test_another_target_is_another_cutoff_and_one_set_by_hand_stays(store: MemoryGalleryStore) -> None:
    chore = Cutoffs(store, MemorySamples(), 0.3)
    chore.tend()
    strict = store.info("door").settings.cutoff
    store.configure("door", replace(store.info("door").settings, fpir=0.2))
    assert chore.tend() == ["door"]
    assert strict is not None
    assert (store.info("door").settings.cutoff or 1) < strict
    store.configure("door", GallerySettings(cutoff=0.7))
    assert chore.tend() == []
    assert store.info("door").cutoff == 0.7


def test_too_little_data_never_lowers_the_cutoff_in_force(store: MemoryGalleryStore) -> None:
    store.configure("door", GallerySettings(cutoff=0.8, fpir=0.001))
    Cutoffs(store, MemorySamples(), 0.3).tend()
    found = store.info("door").settings
    assert found.record is not None
    assert (found.cutoff, found.record.how) == (0.8, "default")
    assert "it takes 3,000" in found.record.why


def test_what_somebody_sets_while_it_is_derived_wins(
    store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = store.snapshot

    def slow(name: str) -> Any:
        taken = snapshot(name)
        store.configure(name, GallerySettings(cutoff=0.9))
        return taken

    monkeypatch.setattr(store, "snapshot", slow)
    assert Cutoffs(store, MemorySamples(), 0.3).tend() == []
    assert store.info("door").settings == GallerySettings(cutoff=0.9)


def test_samples_older_than_a_year_are_dropped(store: MemoryGalleryStore) -> None:
    samples = MemorySamples()
    judged(samples, 5, at_ms=now_ms() - 366 * 86_400_000)
    judged(samples, 3, at_ms=now_ms() - 364 * 86_400_000)
    Cutoffs(store, samples, 0.3).tend()
    assert samples.count("door") == 3


def test_aside_it_does_the_same_once_at_a_time_and_says_what_went_wrong(
    store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chore = Cutoffs(store, MemorySamples(), 0.3)
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
