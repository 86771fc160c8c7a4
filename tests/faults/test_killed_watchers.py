"""Watchers killed without warning in the middle of what cameras tell: no event is lost, none is told twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import redis

from kith.backends.events_redis import RedisEvents
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.sightings_redis import RedisSightings
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.backends.watching_redis import RedisWatch
from kith.settings import Settings, as_environment
from kith.watching.events import Event, EventKind
from kith.watching.news import News, Sighted
from kith.watching.witness import plainly
from tests.faults.load import PATIENCE_S
from tests.servers.processes import spawn
from tests.simulated_cameras import Line, People, walk

KILLS = 20
WATCHERS = 3


class Watchers:
    """Processes, of which one leads; those killed are replaced."""

    def __init__(self, settings: Settings, client: redis.Redis, folder: Path) -> None:
        self._environment = os.environ | as_environment(settings)
        self._store = RedisWatch(client, settings, None)
        self._log = folder / "watch.log"
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start_one(self) -> None:
        process = spawn([sys.executable, "-m", "workers.watch"], self._log, self._environment)
        self._running[process.pid] = process

    def kill_the_leader(self) -> bool:
        """Whether there was one, and it led until it died."""
        leader = self._store.leader()
        pid = int(leader.split(":")[1]) if leader else 0
        if pid not in self._running:
            return False
        os.kill(pid, signal.SIGKILL)
        self._running.pop(pid).wait()
        led = self._store.leader() == leader
        self.start_one()
        return led

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            # One that was only just started does not listen to SIGTERM yet, and ends by it.
            assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM), self._log.read_text()[-2000:]


@contextmanager
def watchers(settings: Settings, client: redis.Redis, folder: Path) -> Iterator[Watchers]:
    running = Watchers(settings, client, folder)
    for _ in range(WATCHERS):
        running.start_one()
    try:
        yield running
    finally:
        running.stop()


def passing(people: People) -> list[tuple[str, list[Line]]]:
    """Everybody once, on a track of their own."""
    return [
        (person.name if person.known else "", walk(people, person, "front", number, 0, crops=4, quality=(0.4, 0.8)))
        for number, person in enumerate(people.everybody)
    ]


def test_twenty_watchers_killed_in_the_middle_lose_no_event_and_tell_none_twice(
    valkey: EmbeddedValkey, redis_client: redis.Redis, prefix: str, tmp_path: Path
) -> None:
    settings = Settings(
        redis={"url": valkey.url, "prefix": prefix}, watch={"lease_s": 0.3, "gap_s": 1.0}, worker={"heartbeat_s": 0.5}
    )
    log, events = RedisSightings(redis_client, settings), RedisEvents(redis_client, settings)
    RedisGalleryStore(redis_client, prefix).create("door", model_id="m", dimension=128)
    whose, kills, dice = dict[str, str](), 0, random.Random(7)
    with watchers(settings, redis_client, tmp_path) as running:
        walks = passing(People(known=60, strangers=60, seed=3))
        deadline_s = time.monotonic() + PATIENCE_S
        while walks or kills < KILLS:
            assert time.monotonic() < deadline_s, f"{kills} kills, {len(walks)} people to come"
            if walks:
                name, lines = walks.pop()
                whose[f"front.r.{len(walks)}"] = name
                log.tell("door", [_uncovered(line.news, line) for line in lines])
            time.sleep(dice.uniform(0, 0.05))
            kills += running.kill_the_leader()
        told = list[Event]()
        while Counter(event.kind for event in told)[EventKind.END] < len(whose):
            assert time.monotonic() < deadline_s, Counter(event.kind for event in told)
            time.sleep(0.2)
            told = [entry.event for entry in events.after("0-0", limit=10_000)]
    assert len({event.event_id for event in told}) == len(told)
    for kind in (EventKind.NEW, EventKind.END):
        assert Counter(event.visit for event in told if event.kind is kind) == dict.fromkeys(whose, 1)
    assert {event.visit: event.subject or "" for event in told if event.kind is EventKind.END} == whose
    for visit in whose:
        numbers = [int(e.event_id.rpartition(":")[2]) for e in told if e.visit == visit and e.kind is not EventKind.END]
        assert numbers == list(range(1, len(numbers) + 1))
    assert log.waiting("door") == 0
    numbered = Counter(event.stranger for event in told if event.kind is EventKind.END and event.stranger)
    assert numbered.most_common(1)[0][1] == 1
    assert kills >= KILLS


def _uncovered(news: News, line: Line) -> News:
    if isinstance(news, Sighted) and line.vector is not None:
        return replace(news, vector=plainly("door", line.vector))
    return news
