"""What a house is told by MQTT, at a broker in memory: events, who is there, and what Home Assistant is told."""

import json
import threading
from typing import Any

import pytest

from kith.backends.mqtt_memory import MemoryMqtt
from kith.backends.webhooks_memory import MemoryPlaces
from kith.outward import home, link
from kith.outward.discovery import Discovery
from kith.outward.errors import MqttAway
from kith.outward.home import HouseTeller
from kith.outward.lease import Lease
from kith.outward.link import Link
from kith.outward.topics import Topics
from kith.watching.events import EventKind
from tests.told import NOON_MS, Told, event


class House:
    """A teller at a broker. clock: milliseconds after noon."""

    def __init__(self, cameras: tuple[str, ...] = (), galleries: tuple[str, ...] = (), discovery: bool = False) -> None:
        self.mqtt, self.events, self.places = MemoryMqtt(), Told(), MemoryPlaces()
        self.cameras, self.galleries, self.discovery = list(cameras), galleries, discovery
        self.clock_ms = 0
        self.born = threading.Event()
        self.begin("first")

    def begin(self, holder: str) -> None:
        """As a worker that starts; the one before is gone."""
        self.lease = Lease(self.places, holder, 1e6)
        self.lease.renew()
        topics = Topics("kith", 5_000)
        self.link = Link(self.mqtt.dial, self.lease, topics.availability(online=False), 0.001)
        self.teller = HouseTeller(
            self.events,  # type: ignore[arg-type]
            self.places,
            self.lease,
            self.link,
            topics,
            Discovery("homeassistant", topics) if self.discovery else None,
            lambda: list(self.cameras),
            self.galleries,
            self.born,
            lambda: NOON_MS + self.clock_ms,
        )
        self.link.round()

    def killed(self) -> None:
        """The worker is gone without a word."""
        self.mqtt.cut()
        self.places.leave(self.lease.holder)

    def told(self, part: str = "") -> list[tuple[str, str]]:
        return [(m.topic, m.payload.decode()) for m in self.mqtt.told if part in m.topic]

    def kinds(self, what: str = "event") -> list[str]:
        return [json.loads(text)["kind"] for topic, text in self.told(f"/{what}") if topic.endswith(f"/{what}")]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(link, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(home, "_BLOCK_S", 0.0)
    monkeypatch.setattr(home, "_LOOK_EVERY_S", 0.0)


def test_events_are_told_at_their_camera_and_never_kept_by_the_broker() -> None:
    house = House()
    house.teller.round()
    house.events.tell(event(subject="Ada"))
    house.events.tell(event(EventKind.END, camera="hall", subject="Ada"), 1)
    house.events.tell(event(EventKind.MERGED, visit=None, camera=None, stranger="stranger-2", into="stranger-1"), 2)
    house.teller.round()

    told = [(topic, json.loads(text)["kind"]) for topic, text in house.told("event")]
    assert told == [("kith/front/event", "new"), ("kith/hall/event", "end"), ("kith/event", "merged")]
    assert not [topic for topic in house.mqtt.retained if topic.endswith(("event", "late"))]
    assert "Ada" not in str(house.mqtt.retained)


def test_what_was_before_the_first_start_is_nobody_s_news() -> None:
    house = House()
    house.events.tell(event())
    house.teller.round()
    house.events.tell(event(EventKind.END), 1)
    house.teller.round()

    assert house.kinds() == ["end"]


def test_an_event_that_is_too_old_to_act_on_is_told_elsewhere_and_others_expire_at_the_broker() -> None:
    house = House()
    house.teller.round()
    house.events.tell(event(subject="Ada"))
    house.events.tell(event(EventKind.END, subject="Ada"), 1)
    house.clock_ms = 5_001
    house.teller.round()
    house.events.tell(event(EventKind.UPDATE, subject="Ada"), 5_001)
    house.teller.round()

    assert house.kinds("late") == ["new"]
    assert house.kinds("event") == ["end", "update"]
    expiries = {
        json.loads(m.payload)["kind"]: m.expiry_s for m in house.mqtt.told if m.topic.endswith(("event", "late"))
    }
    assert expiries == {"new": None, "end": None, "update": 5}


def test_who_is_there_is_counted_by_camera_until_the_visit_ends() -> None:
    house = House()
    house.teller.round()
    steps = [
        (event(visit="a"), {"front": "1 0 ON"}),
        (event(visit="b", subject="Ada"), {"front": "2 1 ON"}),
        (event(EventKind.UPDATE, visit="a", subject="Bob"), {"front": "2 2 ON"}),
        (event(EventKind.UPDATE, visit="b", camera="hall", subject="Ada"), {"front": "1 1 ON", "hall": "1 1 ON"}),
        (
            event(EventKind.UNUSABLE, visit=None, camera="yard"),
            {"front": "1 1 ON", "hall": "1 1 ON", "yard": "0 0 OFF"},
        ),
        (event(EventKind.MERGED, visit="a", into="b"), {"front": "0 0 OFF", "hall": "1 1 ON", "yard": "0 0 OFF"}),
        (event(EventKind.END, visit="b", camera="hall"), dict.fromkeys(("front", "hall", "yard"), "0 0 OFF")),
    ]
    for number, (told, expected) in enumerate(steps):
        house.events.tell(told, number)
        house.teller.round()
        kept = {topic: text.decode() for topic, text in house.mqtt.retained.items()}
        assert {
            camera: " ".join(kept[f"kith/{camera}/{what}"] for what in ("count", "known", "presence"))
            for camera in expected
        } == expected, told


def test_whoever_follows_a_worker_that_was_killed_tells_the_rest_and_still_knows_who_is_there() -> None:
    house = House()
    house.teller.round()
    for number in range(3):
        house.events.tell(event(visit=f"v{number}"), number)
    house.teller.round()
    house.killed()
    assert house.mqtt.retained["kith/available"] == b"offline"
    house.events.tell(event(EventKind.END, visit="v0"), 3)
    house.begin("second")
    house.teller.round()

    assert house.kinds() == ["new", "new", "new", "end"]
    assert house.mqtt.retained["kith/front/count"] == b"2"
    assert house.mqtt.retained["kith/available"] == b"online"


@pytest.mark.parametrize("taken", [True, False])
def test_what_the_broker_did_not_acknowledge_is_told_again_and_nothing_is_left_out(
    taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks at every single message in turn, which the broker has taken by then or has not."""
    for breaks_at in range(1, 12):
        house = House()
        house.teller.round()
        for number in range(3):
            house.events.tell(event(EventKind.END, visit=f"v{number}"), number)
        take, count = house.mqtt.take, 0

        def breaking(message: Any, house: House = house, take: Any = take, at: int = breaks_at) -> None:
            nonlocal count
            count += 1
            if taken or count != at:
                take(message)
            if count == at:
                house.mqtt.cut()
                raise MqttAway("broken")

        monkeypatch.setattr(house.mqtt, "take", breaking)
        for _ in range(4):
            try:
                house.teller.round()
            except MqttAway:
                house.link.round()
        visits = [json.loads(text)["visit"] for topic, text in house.told("/event") if topic == "kith/front/event"]
        assert sorted(set(visits)) == ["v0", "v1", "v2"]
        assert len(visits) <= (4 if taken else 3)


def test_while_the_broker_is_away_nothing_waits_in_a_connection_and_all_comes_after() -> None:
    house = House()
    house.teller.round()
    house.mqtt.away = True
    house.mqtt.cut()
    house.events.tell(event(subject="Ada"))
    with pytest.raises(MqttAway):
        house.teller.round()
    house.link.round()
    house.clock_ms = 60_000
    house.mqtt.away = False
    house.link.round()
    house.teller.round()

    assert house.kinds("event") == []
    assert house.kinds("late") == ["new"]


def test_a_visit_that_was_forgotten_is_over_for_those_who_count() -> None:
    house = House()
    house.teller.round()
    entry = house.events.tell(event(subject="Ada"))
    house.teller.round()
    assert house.mqtt.retained["kith/front/presence"] == b"ON"
    house.events.erase(entry)
    house.teller.round()

    assert house.mqtt.retained["kith/front/presence"] == b"OFF"
    assert "Ada" not in str(house.places.place("mqtt"))


def test_only_the_galleries_that_were_named_are_told_of() -> None:
    house = House(galleries=("staff",))
    house.teller.round()
    house.events.tell(event(visit="a"))
    house.events.tell(event(visit="b", gallery="staff"), 1)
    house.teller.round()

    assert [json.loads(text)["visit"] for _, text in house.told("/event")] == ["b"]


def test_home_assistant_is_told_of_each_camera_once_and_of_all_when_it_starts() -> None:
    house = House(cameras=("front",), discovery=True)
    house.teller.round()
    topics = [topic for topic, _ in house.told("homeassistant")]
    assert topics == [
        "homeassistant/binary_sensor/kith_front/presence/config",
        "homeassistant/sensor/kith_front/count/config",
        "homeassistant/sensor/kith_front/known/config",
        "homeassistant/event/kith_front/event/config",
    ]
    house.teller.round()
    assert len(house.told("homeassistant")) == 4
    house.born.set()
    house.teller.round()
    assert len(house.told("homeassistant")) == 8


def test_what_home_assistant_is_told_names_the_topics_that_are_told() -> None:
    house = House(cameras=("front",), discovery=True)
    house.teller.round()
    house.events.tell(event(subject="Ada"))
    house.teller.round()
    configs = {topic: json.loads(text) for topic, text in house.told("homeassistant")}
    told = {topic for topic, _ in house.told("kith/")}

    assert len({config["unique_id"] for config in configs.values()}) == len(configs) == 4
    assert {config["availability_topic"] for config in configs.values()} == {"kith/available"}
    assert {config["state_topic"] for config in configs.values()} <= told
    [spoken] = [config for config in configs.values() if "event_types" in config]
    assert spoken["event_types"] == [str(kind) for kind in EventKind]
    assert all(config["device"]["identifiers"] == ["kith_front"] for config in configs.values())


def test_a_camera_that_was_removed_is_taken_away_one_that_only_events_know_stays() -> None:
    house = House(cameras=("front",), discovery=True)
    house.teller.round()
    house.events.tell(event(EventKind.UNUSABLE, visit=None, camera="frigate-yard"))
    house.teller.round()
    house.cameras.clear()
    house.teller.round()

    assert {topic.split("/")[1] for topic in house.mqtt.retained if topic.startswith("kith/")} == {
        "available",
        "frigate-yard",
    }
    assert not [topic for topic in house.mqtt.retained if "kith_front" in topic]
    house.cameras.append("front")
    house.teller.round()
    assert "homeassistant/sensor/kith_front/count/config" in house.mqtt.retained


def test_at_its_end_a_worker_says_that_nobody_tells_any_more() -> None:
    house = House()
    house.teller.round()
    house.link.close()
    assert house.mqtt.retained["kith/available"] == b"offline"


def test_a_worker_that_lost_its_lease_hangs_up_unless_another_has_taken_over() -> None:
    house = House()
    house.teller.round()
    house.lease.drop()
    house.link.round()
    assert house.mqtt.retained["kith/available"] == b"offline"
    with pytest.raises(MqttAway):
        _ = house.link.broker


def test_a_lease_counts_from_before_it_was_asked_for_and_ends_before_the_server_s() -> None:
    now = 0.0

    def slow_lead(*_: object) -> bool:
        nonlocal now
        now += 1.0
        return True

    places = MemoryPlaces(lambda: now)
    places.lead = slow_lead  # type: ignore[method-assign]
    lease = Lease(places, "me", 5.0, lambda: now)
    assert lease.renew()
    now = 3.9
    assert lease.held
    now = 4.1
    assert not lease.held
