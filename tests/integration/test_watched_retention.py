"""What cameras told is erased when its gallery says so; the crops of strangers stay as long as the strangers do."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import redis

from kith import wire
from kith.backends.audit_redis import RedisAudit
from kith.backends.erasure_redis import RedisErasure
from kith.backends.events_redis import RedisEvents
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.ledger_redis import RedisLedger
from kith.backends.sightings_redis import RedisSightings
from kith.backends.watching_redis import RedisWatch
from kith.gallery import Enrolment, GallerySettings
from kith.jobs import EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.settings import Redis, Settings, Watch
from kith.watching.events import Event, EventKind
from kith.watching.news import TrackBegun
from kith.watching.state import Changes
from kith.watching.store import Step
from kith.watching.strangers import Stranger, StrangerCrop
from tests.plain_gallery import unit
from workers.retention import Dropped, Retention
from workers.watched_retention import WatchedRetention


class House:
    def __init__(self, client: redis.Redis, prefix: str, folder: Path) -> None:
        settings = Settings(redis=Redis(prefix=prefix), watch=Watch(keep_waiting_s=1))
        self.galleries = RedisGalleryStore(client, prefix)
        self.store, self.watch = DirectoryImageStore(folder), RedisWatch(client, settings, None)
        self.events, self.sightings = RedisEvents(client, settings), RedisSightings(client, settings)
        self.ledger, erasure = RedisLedger(client, settings), RedisErasure(client, prefix)
        watched = WatchedRetention(self.watch, self.events, self.sightings, erasure, self.store, settings)
        audit = RedisAudit(client, prefix)
        self.retention = Retention(self.galleries, erasure, self.store, audit, settings, watched)
        self.watch.lead("w", 600)
        self._steps: dict[str, int] = {}

    def keep(self, gallery: str, **times: int) -> None:
        self.galleries.create(gallery, model_id="m", dimension=4)
        self.galleries.configure(gallery, replace(GallerySettings(), **times))  # type: ignore[arg-type]

    def step(
        self, gallery: str, *events: str, litter: Mapping[str, int] | None = None, strangers: tuple[Stranger, ...] = ()
    ) -> None:
        self._steps[gallery] = number = self._steps.get(gallery, 0) + 1
        told = [Event(event, EventKind.NEW, gallery, at_ms=now_ms()) for event in events]
        records = {f"s:{each.number}": wire.to_json(each) for each in strangers}
        changes = Changes(records, {key: np.ones((1, 4), np.float32) for key in records}, litter or {})
        self.watch.commit("w", Step(gallery, number, "0-0", changes, told))

    def asked(self, gallery: str, picture: bytes) -> str:
        key = self.store.put(picture)
        job = EmbedJob(key[-20:], Kind.IDENTIFY, gallery, Lane.BULK, (ImageRef(key),), now_ms())
        self.ledger.accept_many([job])
        self.ledger.publish(job.job_id, [decide(job, 0, Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN))])
        return key

    def told(self) -> list[str]:
        return [entry.event.event_id for entry in self.events.after("0")]


@pytest.fixture
def house(redis_client: redis.Redis, prefix: str, tmp_path: Path) -> House:
    return House(redis_client, prefix, tmp_path)


def test_events_go_with_the_decisions_of_their_gallery(house: House) -> None:
    house.keep("door", keep_decisions_s=1)
    house.keep("gate")
    house.step("door", "old", "older")
    house.step("gate", "other")
    assert house.retention.run() == Dropped()
    time.sleep(1.1)
    house.step("door", "fresh")
    assert house.retention.run() == Dropped(events=2)
    assert house.told() == ["other", "fresh"]
    assert house.retention.run() == Dropped()


def test_the_crops_of_strangers_stay_when_other_pictures_go(house: House) -> None:
    house.keep("door", keep_probes_s=1)
    theirs, nobodys = house.asked("door", b"theirs"), house.asked("door", b"nobody's")
    house.step("door", strangers=(Stranger(1, "m", 1, 2, crops=(StrangerCrop(theirs, 0.5, 1),)),))
    time.sleep(1.1)
    assert house.retention.run() == Dropped(pictures=1)
    assert [house.store.exists(key) for key in (theirs, nobodys)] == [True, False]


def test_pictures_of_the_forgotten_go_at_once_and_displaced_ones_at_the_age_of_others(house: House) -> None:
    house.keep("door", keep_probes_s=1)
    house.keep("gate")
    gone, displaced, kept, enrolled = (house.store.put(each) for each in (b"gone", b"displaced", b"kept", b"enrolled"))
    house.galleries.enrol("door", [Enrolment("Ann", "t", unit(1, 4), enrolled, 1.0, "m")])
    house.step("door", litter={gone: 0, displaced: now_ms(), enrolled: 0})
    house.step("gate", litter={kept: 1})
    assert house.retention.run() == Dropped(pictures=1)
    assert [house.store.exists(key) for key in (gone, displaced, kept, enrolled)] == [False, True, True, True]
    time.sleep(1.1)
    assert house.retention.run() == Dropped(pictures=1)
    assert [house.store.exists(key) for key in (displaced, kept)] == [False, True]
    assert house.watch.litter("door") == {}


def test_what_a_job_has_yet_to_be_answered_about_waits_for_it(house: House) -> None:
    house.keep("door")
    picture = house.store.put(b"named in this moment")
    job = EmbedJob("enrolling", Kind.ENROL, "door", Lane.BULK, (ImageRef(picture, subject="Ann"),), now_ms())
    house.ledger.accept_many([job])
    house.step("door", litter={picture: 0})
    assert house.retention.run() == Dropped()
    assert (house.store.exists(picture), list(house.watch.litter("door"))) == (True, [picture])
    house.ledger.publish(job.job_id, [decide(job, 0, Outcome.REJECTED)])
    assert house.retention.run() == Dropped(pictures=1)
    assert (house.store.exists(picture), house.watch.litter("door")) == (False, {})


def test_news_that_no_watcher_takes_are_erased(house: House) -> None:
    house.keep("door")
    house.sightings.tell("door", [TrackBegun("front", "front.r.1", 1)])
    house.retention.run()
    assert house.sightings.waiting("door") == 1
    time.sleep(1.1)
    house.retention.run()
    assert house.sightings.waiting("door") == 0


def test_what_a_camera_tells_of_a_gallery_that_is_gone_is_erased_and_of_no_other(
    house: House, redis_client: redis.Redis, prefix: str
) -> None:
    for gallery in ("gone", "kept", "damaged"):
        house.keep(gallery)
        house.sightings.tell(gallery, [TrackBegun("front", "front.r.1", now_ms())])
    house.galleries.drop("gone", house.galleries.info("gone").epoch)
    redis_client.hset(f"{prefix}:g:damaged:meta", "sequence", "rubbish")
    house.retention.run()
    assert house.sightings.galleries() == ["damaged", "kept"]
    assert not list(redis_client.scan_iter(f"{prefix}:sightings:gone*"))
