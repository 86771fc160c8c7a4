"""Telling as Double Take does: the shapes that its documentation shows, made of our decisions."""

import json
from collections.abc import Callable

import pytest

from kith.backends.mqtt_memory import MemoryMqtt
from kith.backends.webhooks_memory import MemoryPlaces
from kith.jobs import Kind, Outcome, Seen
from kith.outward import double_take, link
from kith.outward.double_take import DoubleTakeTeller, messages_of
from kith.outward.lease import Lease
from kith.outward.link import Link
from kith.outward.topics import Topics
from tests.told import NOON_MS, Told, decision

#: The members in Double Take's README (section MQTT), of a match and of all that was made of a picture.
MATCH = {"id", "duration", "timestamp", "attempts", "camera", "zones", "match"}
RESULT = {"name", "confidence", "match", "box", "type", "duration", "detector", "filename", "base64"}
CAMERA = {*("id", "duration", "timestamp", "attempts", "camera", "zones"), *("matches", "misses", "unknowns", "counts")}


class House:
    """A teller at a broker in memory."""

    def __init__(self) -> None:
        self.mqtt, self.results, self.places = MemoryMqtt(), Told(), MemoryPlaces()
        self.clock_ms = NOON_MS
        self.begin()

    def begin(self) -> None:
        self.lease = Lease(self.places, "me", 1e6)
        self.lease.renew()
        will = Topics("kith", 5_000).availability(online=False)
        line = Link(self.mqtt.dial, self.lease, will, 0.001)
        line.round()
        self.teller = DoubleTakeTeller(
            self.results,  # type: ignore[arg-type]
            self.places,
            self.lease,
            line,
            "double-take",
            clock=lambda: self.clock_ms,
        )

    def told(self, part: str) -> list[str]:
        return [m.topic for m in self.mqtt.told if part in m.topic]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(link, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(double_take, "_BLOCK_S", 0.0)
    made = House()
    made.teller.round()
    return made


def test_a_match_has_the_shape_and_the_topics_that_its_documentation_shows() -> None:
    person, match, camera = messages_of(decision(subject="David B."), "double-take")

    assert (person.topic, person.payload, person.retain) == ("double-take/cameras/front/person", b"1", True)
    assert (match.topic, match.retain) == ("double-take/matches/David-B", False)
    assert (camera.topic, camera.retain) == ("double-take/cameras/front", False)
    one, whole = json.loads(match.payload), json.loads(camera.payload)
    assert set(one) == MATCH
    assert set(one["match"]) == RESULT
    assert set(whole) >= CAMERA
    assert one["match"] == whole["matches"][0]
    assert one["match"] | {"duration": 0, "filename": ""} == {
        "name": "David B.", "confidence": 61.0, "match": True,
        "box": {"top": 40, "left": 30, "width": 50, "height": 60}, "type": "snapshot", "duration": 0,
        "detector": "kith", "filename": "", "base64": None,
    }  # fmt: skip
    assert (one["timestamp"], one["duration"], one["attempts"]) == ("2023-11-14T22:13:19.200Z", 0.7, 1)
    assert whole["counts"] == {"person": 1, "match": 1, "miss": 0, "unknown": 0}


def test_nobody_known_is_called_unknown() -> None:
    _, unknown, camera = messages_of(decision(Outcome.UNKNOWN), "double-take")
    said, whole = json.loads(unknown.payload), json.loads(camera.payload)

    assert unknown.topic == "double-take/matches/unknown"
    assert (said["unknown"]["name"], said["unknown"]["match"]) == ("unknown", False)
    assert said["unknowns"] == whole["unknowns"] == [said["unknown"]]
    assert "Ada" not in unknown.payload.decode() + camera.payload.decode()


@pytest.mark.parametrize(
    ("name", "level"), [("Ada Lovelace", "Ada-Lovelace"), ("+/#", "5ub"), ("Łukasz", "ukasz"), ("李", "5ub")]
)
def test_a_name_becomes_a_level_of_a_topic_as_it_does_there(name: str, level: str) -> None:
    assert messages_of(decision(subject=name), "double-take")[1].topic == f"double-take/matches/{level}"


def test_an_event_of_frigate_keeps_its_id() -> None:
    told = messages_of(decision(label="frigate:1607123955.475377-mxklsc"), "double-take")[1]
    assert json.loads(told.payload)["id"] == "1607123955.475377-mxklsc"


def test_of_a_track_each_name_is_told_once(house: House) -> None:
    for number, (outcome, subject) in enumerate(
        [(Outcome.UNKNOWN, None), (Outcome.UNKNOWN, None), (Outcome.MATCH, "Ada"), (Outcome.MATCH, "Ada")]
    ):
        house.results.tell(decision(outcome, subject), number)
    house.teller.round()
    other = Seen("front", "front.run.2", NOON_MS, (0, 0, 50, 60), (640, 480))
    house.results.tell(decision(seen=other), 9)
    house.teller.round()

    assert house.told("matches") == [
        *("double-take/matches/unknown", "double-take/matches/Ada", "double-take/matches/Ada")
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda: decision(expires_ms=NOON_MS - 1),
        lambda: decision(seen=None),
        lambda: decision(Outcome.LOW_QUALITY),
        lambda: decision(Outcome.NO_FACE, face=None),
        lambda: decision(kind=Kind.VERIFY),
    ],
)
def test_what_is_late_or_of_no_camera_or_says_nothing_is_not_told(house: House, change: Callable[[], object]) -> None:
    house.results.tell(change())  # type: ignore[arg-type]
    house.teller.round()
    assert house.told("double-take") == []


def test_the_count_of_people_is_0_again_after_half_a_minute_also_by_whoever_follows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.results.tell(decision())
    house.teller.round()
    house.teller.round()
    assert house.mqtt.retained["double-take/cameras/front/person"] == b"1"
    house.mqtt.cut()
    house.begin()
    house.teller.round()
    assert house.mqtt.retained["double-take/cameras/front/person"] == b"0"
    assert house.told("matches") == ["double-take/matches/Ada"]

    monkeypatch.setattr(double_take, "_RESET_S", 0.0)
    house.results.tell(decision(subject="Bob"), 5)
    house.teller.round()
    house.teller.round()
    assert house.mqtt.retained["double-take/cameras/front/person"] == b"0"
