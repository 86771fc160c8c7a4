"""One contract for every log of what cameras see: the one in a process, and Redis (a real Valkey server)."""

import threading
import time
import uuid
from collections.abc import Callable

import pytest
import redis

from kith.backends.sightings_memory import MemorySightings
from kith.backends.sightings_redis import RedisSightings
from kith.errors import InvalidName
from kith.jobs import Outcome, Seen
from kith.settings import Redis, Settings, Watch
from kith.watching.log import FROM_START, SightingLog
from kith.watching.news import News, Sighted, TrackBegun, TrackEnded, Unfit

Make = Callable[[int], SightingLog]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes an empty log that keeps so much of each gallery."""
    if request.param == "memory":
        return MemorySightings
    client = request.getfixturevalue("redis_client")
    prefix = f"t{uuid.uuid4().hex[:12]}"
    return lambda most: RedisSightings(client, Settings(redis=Redis(prefix=prefix), watch=Watch(max_waiting=most)))


@pytest.fixture
def log(make: Make) -> SightingLog:
    return make(1000)


def begun(number: int) -> News:
    return TrackBegun("front", f"front.r.{number}", number)


def test_news_are_read_in_the_order_they_were_told_each_with_an_id_that_grows(log: SightingLog) -> None:
    seen = Seen("front", "front.r.1", 5, (1, 2, 3, 4), (640, 480))
    news = [begun(1), Sighted("d", seen, Outcome.UNKNOWN, "k", quality=0.5, vector="AAAA"), begun(2)]
    last = log.tell("door", news)
    ended = TrackEnded("front", "front.r.1", 9, unfit=Unfit.DARK)
    log.tell("door", [ended])
    found = log.after({"door": FROM_START})["door"]
    assert [heard.news for heard in found[:3]] == news
    assert found[2].entry_id == last
    ids = [tuple(map(int, heard.entry_id.split("-"))) for heard in found]
    assert ids == sorted(set(ids))
    assert abs(found[0].at_ms - time.time() * 1000) < 5000
    assert [heard.news for heard in log.after({"door": last})["door"]] == [
        TrackEnded("front", "front.r.1", 9, unfit=Unfit.DARK)
    ]


def test_galleries_are_read_apart_and_those_without_news_are_left_out(log: SightingLog) -> None:
    log.tell("door", [begun(1)])
    last = log.tell("gate", [begun(2)])
    assert log.galleries() == ["door", "gate"]
    found = log.after({"door": FROM_START, "gate": last, "yard": FROM_START})
    assert {gallery: [heard.news for heard in each] for gallery, each in found.items()} == {"door": [begun(1)]}
    assert log.after({}) == {}


def test_a_page_is_no_longer_than_asked(log: SightingLog) -> None:
    log.tell("door", [begun(number) for number in range(10)])
    first = log.after({"door": FROM_START}, limit=4)["door"]
    assert [heard.news for heard in first] == [begun(number) for number in range(4)]
    rest = log.after({"door": first[-1].entry_id}, limit=100)["door"]
    assert [heard.news for heard in rest] == [begun(number) for number in range(4, 10)]


def test_who_waits_is_woken_by_the_first_news(log: SightingLog) -> None:
    last = log.tell("door", [begun(1)])
    teller = threading.Timer(0.1, lambda: log.tell("door", [begun(2)]))
    teller.start()
    started_s = time.monotonic()
    found = log.after({"door": last}, block_s=30.0)
    assert time.monotonic() - started_s < 20.0
    assert [heard.news for heard in found["door"]] == [begun(2)]
    teller.join()
    assert log.after({"door": found["door"][-1].entry_id}, block_s=0.01) == {}


def test_where_nobody_reads_the_oldest_are_lost_and_the_memory_is_bounded(make: Make) -> None:
    log = make(20)
    for number in range(100):
        log.tell("door", [begun(number)])
    found = [heard.news for heard in log.after({"door": FROM_START}, limit=1000)["door"]]
    assert found == [begun(number) for number in range(100 - len(found), 100)]
    assert 5 < len(found) <= 20
    assert log.waiting("door") == len(found)


def test_what_waits_for_too_long_is_erased(log: SightingLog) -> None:
    log.tell("door", [begun(1)])
    assert log.trim("door", 60) == 0
    time.sleep(0.02)
    assert log.trim("door", 0.001) == 1
    assert log.waiting("door") == 0
    assert log.after({"door": FROM_START}) == {}
    assert log.trim("nowhere", 0) == 0


def test_no_gallery_of_an_impossible_name_is_told_of(log: SightingLog) -> None:
    with pytest.raises(InvalidName):
        log.tell("../etc", [begun(1)])


def test_an_erased_piece_of_news_keeps_its_place(redis_client: redis.Redis, prefix: str) -> None:
    log = RedisSightings(redis_client, Settings(redis=Redis(prefix=prefix)))
    log.tell("door", [begun(1), begun(2)])
    first = log.after({"door": FROM_START})["door"][0]
    redis_client.hdel(f"{prefix}:sightings:door:told", first.entry_id)
    redis_client.hset(f"{prefix}:sightings:door:told", log.tell("door", [begun(3)]), '{"wire": 2}')
    assert [heard.news for heard in log.after({"door": FROM_START})["door"]] == [None, begun(2), None]
