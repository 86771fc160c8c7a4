"""Who changes a part of what is kept, by what he has read, undoes nothing that somebody else has changed since."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from kith.amending import ChangedMeanwhile, amend_description, amend_settings
from kith.audited import AuditedGalleryStore
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.errors import UnknownGallery, UnknownSubject
from kith.gallery import Enrolment, GallerySettings, GalleryStore
from kith.gallery_settings import Scoring
from kith.subjects import GalleryInfo, SubjectDetail
from tests.plain_gallery import DIMENSION, key, unit


def face(subject: str, seed: int) -> Enrolment:
    return Enrolment(subject, key(subject, seed), unit(seed), f"ab/{seed}", 0.25, "m")


@pytest.fixture(params=["memory", "redis", "audited"])
def store(request: pytest.FixtureRequest) -> GalleryStore:
    made: Callable[[], GalleryStore] = MemoryGalleryStore
    if request.param == "redis":
        client = request.getfixturevalue("redis_client")
        made = lambda: RedisGalleryStore(client, f"t{uuid.uuid4().hex[:12]}")  # noqa: E731
    store = made()
    if request.param == "audited":
        store = AuditedGalleryStore(store, MemoryAudit(), "cli:test@here")
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Bob", 2)])
    return store


def test_settings_decided_on_by_others_than_those_in_force_are_refused(store: GalleryStore) -> None:
    seen = store.info("door")
    derived = replace(seen.settings, cutoff=0.123456789012345678)
    store.configure("door", derived, over=seen)
    before = store.info("door")
    with pytest.raises(ChangedMeanwhile, match="the settings of gallery door"):
        store.configure("door", replace(seen.settings, margin=0.1), over=seen)
    assert store.info("door") == before
    assert store.configure("door", replace(derived, margin=0.1), over=before) == before.sequence + 1
    with pytest.raises(UnknownGallery):
        store.configure("gate", derived, over=before)


def test_settings_are_not_taken_over_to_a_model_that_came_meanwhile(store: GalleryStore) -> None:
    seen = store.info("door")
    with pytest.raises(ChangedMeanwhile):
        store.configure("door", GallerySettings(cutoff=0.4), over=replace(seen, model_id="former"))
    assert store.info("door") == seen


def test_a_cutoff_derived_while_the_margin_is_set_stays(store: GalleryStore) -> None:
    looked = list[GalleryInfo]()

    def wider(info: GalleryInfo) -> GallerySettings:
        looked.append(info)
        if len(looked) == 1:
            store.configure("door", GallerySettings(cutoff=0.4, fpir=0.01))
        return replace(info.settings, margin=0.1)

    settings, sequence = amend_settings(store, "door", wider)
    assert settings == store.info("door").settings == GallerySettings(cutoff=0.4, fpir=0.01, margin=0.1)
    assert sequence == store.info("door").sequence == looked[0].sequence + 2
    assert len(looked) == 2


def test_an_amendment_may_find_nothing_to_do(store: GalleryStore) -> None:
    before = store.info("door")
    assert amend_settings(store, "door", lambda _: None) == (before.settings, before.sequence)
    assert store.info("door") == before


def test_many_who_amend_at_once_all_have_their_way(store: GalleryStore) -> None:
    fields = [{"margin": 0.1}, {"scoring": Scoring.MEAN}, {"keep_probes_s": 60}, {"keep_decisions_s": 61}]
    before = store.info("door").sequence
    with ThreadPoolExecutor(len(fields)) as pool:
        asked = [
            pool.submit(amend_settings, store, "door", lambda info, each=each: replace(info.settings, **each))
            for each in fields
        ]
        sequences = {each.result()[1] for each in asked}
    assert store.info("door").settings == GallerySettings(
        margin=0.1, scoring=Scoring.MEAN, keep_probes_s=60, keep_decisions_s=61
    )
    assert sequences == set(range(before + 1, before + 5))


def test_notes_decided_on_by_others_than_those_kept_are_refused(store: GalleryStore) -> None:
    seen = store.show("door", "Ann")
    store.describe("door", "Ann", external_id="7", metadata={"desk": "é1", "floor": ""}, over=seen)
    now = store.show("door", "Ann")
    for external_id, metadata in (("8", {"desk": "2"}), (None, {})):
        with pytest.raises(ChangedMeanwhile, match="'Ann' of gallery door"):
            store.describe("door", "Ann", external_id=external_id, metadata=metadata, over=seen)
    for other in ({"desk": "é1"}, {"desk": "é1", "floor": "", "more": "x"}, {"desk": "e1", "floor": ""}):
        with pytest.raises(ChangedMeanwhile):
            store.describe("door", "Ann", over=replace(now, metadata=other))
    assert store.show("door", "Ann") == now
    store.describe("door", "Ann", external_id="7", metadata={"desk": "2"}, over=now)
    assert store.show("door", "Ann").metadata == {"desk": "2"}
    with pytest.raises(UnknownSubject):
        store.describe("door", "Eve", over=now)


def test_notes_are_not_given_to_another_who_has_the_name_by_now(store: GalleryStore) -> None:
    seen = store.show("door", "Ann")
    store.rename("door", "Ann", "Anna")
    store.rename("door", "Bob", "Ann")
    with pytest.raises(ChangedMeanwhile):
        store.describe("door", "Ann", external_id="7", over=seen)
    assert store.show("door", "Ann").external_id is None


def test_a_note_that_somebody_adds_meanwhile_stays(store: GalleryStore) -> None:
    looked = list[SubjectDetail]()

    def noted(known: SubjectDetail) -> tuple[str | None, dict[str, str]]:
        looked.append(known)
        if len(looked) == 1:
            store.describe("door", "Ann", external_id="7", metadata={"desk": "1"})
        return known.external_id, {**known.metadata, "floor": "2"}

    amend_description(store, "door", "Ann", noted)
    ann = store.show("door", "Ann")
    assert (ann.external_id, ann.metadata, len(looked)) == ("7", {"desk": "1", "floor": "2"}, 2)


def test_settings_written_by_another_version_can_be_amended(redis_client: redis.Redis, prefix: str) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=DIMENSION)
    # As a version wrote it that knew neither how to score nor the times to keep, and one thing we do not know.
    redis_client.hset(f"{prefix}:g:door:meta", "settings", '{"cutoff": 0.4, "colour": "blue"}')
    settings, _ = amend_settings(store, "door", lambda info: replace(info.settings, margin=0.1))
    assert settings == store.info("door").settings == GallerySettings(cutoff=0.4, margin=0.1)
