"""What Frigate tells, and what becomes of it: pictures handed in, sub labels asked for. No socket is opened here."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kith.backends.sightings_memory import MemorySightings
from kith.backends.webhooks_memory import MemoryPlaces
from kith.errors import StoreUnavailable
from kith.jobs import Content, Decision, EmbedJob, ImageRef, Kind, Lane, Outcome
from kith.outward import frigate_answers, frigate_pictures
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.outward.frigate import tracked
from kith.outward.frigate_answers import FrigateAnswers
from kith.outward.frigate_pictures import FrigatePictures
from kith.outward.knobs import Frigate
from kith.outward.lease import Lease
from kith.watching.news import TrackBegun, TrackEnded, TracksAlive
from tests.told import NOON_MS, Told, decision

EVENT = "1607123955.475377-mxklsc"
AT_S = 1607123962.082975


def message(kind: str = "update", taken_s: float | None = AT_S - 0.25, **after: Any) -> bytes:
    """As in Frigate's documentation (docs/integrations/mqtt.md), of an older version."""
    told = {
        "id": EVENT, "camera": "front_door", "frame_time": AT_S, "snapshot_time": taken_s, "label": "person",
        "top_score": 0.958984375, "false_positive": False, "start_time": 1607123955.475377, "end_time": None,
        "score": 0.87890625, "box": [432, 496, 544, 854], "area": 40096, "region": [218, 440, 693, 915],
        "current_zones": ["yard", "driveway"], "entered_zones": ["yard", "driveway"], "thumbnail": None,
        "has_snapshot": False, "has_clip": False, "stationary": False, "motionless_count": 0, "position_changes": 2,
        **after,
    }  # fmt: skip
    return json.dumps({"type": kind, "before": told, "after": told}).encode()


def newer(taken_s: float) -> bytes:
    """The same of version 0.14 and later."""
    body = json.loads(message())
    del body["after"]["snapshot_time"]
    body["after"]["snapshot"] = {"frame_time": taken_s, "box": [432, 496, 544, 854], "score": 0.87}
    return json.dumps(body).encode()


def test_a_message_is_read_as_its_documentation_shows_it() -> None:
    found = tracked(message())
    assert found is not None
    assert (found.kind, found.event_id, found.camera) == ("update", EVENT, "front_door")
    assert (found.snapshot_ms, found.frame_ms) == (1607123961833, 1607123962083)
    assert found.track == "front_door.mxklsc475377.1607123955"
    assert tracked(newer(AT_S - 0.25)) == found


@pytest.mark.parametrize(
    "payload", [message(label="car"), message(false_positive=True)], ids=["of a car", "a false alarm"]
)
def test_what_is_of_no_person_is_passed_over(payload: bytes) -> None:
    assert tracked(payload) is None


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"online", b"[]", b"{}", b'{"type":"new"}', b'{"type":"gone","after":{}}', b"\xff"),
        message(id="../../config"),
        message(id="1607123955.475377-mxklsc/sub_label"),
        message(frame_time="yesterday"),
    ],
)
def test_what_is_no_message_of_frigate_s_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        tracked(payload)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("Front Door", "front-door"), ("_yard", "yard"), ("é", "frigate"), ("a" * 80, "a" * 64)]
)
def test_its_cameras_have_names_that_cameras_can_have_here(theirs: str, ours: str) -> None:
    found = tracked(message(camera=theirs))
    assert found is not None
    assert (found.camera, found.frigate_camera) == (ours, theirs)


@dataclass
class Kitchen:
    """Pictures as they are handed in; api: what Frigate answers."""

    knobs: Frigate = field(default_factory=lambda: Frigate(snapshots=2))
    now_ms: int = NOON_MS
    pictures: list[bytes | Exception | None] = field(default_factory=list)
    jobs: list[EmbedJob] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sightings = MemorySightings()
        self.frigate = FrigatePictures(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.sightings,
            self.knobs,
            "door",
            5_000,
            lambda: self.now_ms,
        )

    def snapshot(self, event_id: str) -> bytes | None:
        self.asked.append(event_id)
        answer = self.pictures.pop(0) if self.pictures else b"picture"
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, data: bytes, *, label: str) -> ImageRef:
        return ImageRef(data.decode(), label=label)

    def job(self, kind: Kind, images: Any, **how: Any) -> EmbedJob:
        key = how.pop("idempotency_key")
        return EmbedJob(key, kind, images=tuple(images), created_ms=self.now_ms, idempotency_key=key, **how)

    def submit(self, job: EmbedJob) -> None:
        self.jobs.append(job)

    def hear(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.frigate.heard("frigate/events", payload)
        for _ in payloads:
            self.frigate.round(0.0001)

    def news(self) -> list[Any]:
        return [each.news for each in self.sightings.after({"door": "0-0"}).get("door", [])]


def test_a_snapshot_becomes_a_live_job_whose_deadline_counts_from_when_it_was_taken() -> None:
    kitchen = Kitchen()
    kitchen.hear(message())
    [job] = kitchen.jobs

    assert (job.kind, job.lane, job.gallery, job.content) == (Kind.IDENTIFY, Lane.LIVE, "door", Content.PHOTO)
    assert job.expires_ms == NOON_MS - 250 + 5_000
    [image] = job.images
    assert (image.key, image.label) == ("picture", f"frigate:{EVENT}")
    assert image.seen is not None
    assert (image.seen.camera, image.seen.at_ms, image.seen.number) == ("front_door", NOON_MS - 250, 1)
    assert job.idempotency_key == f"frigate:{EVENT}:1607123961833"


def test_only_better_snapshots_are_fetched_and_not_too_many_of_one_event() -> None:
    kitchen = Kitchen()
    kitchen.hear(message(), message(), newer(AT_S - 1), newer(AT_S), newer(AT_S + 1), newer(AT_S + 2))

    assert [job.images[0].seen.number for job in kitchen.jobs] == [1, 2]  # type: ignore[union-attr]
    assert len(kitchen.asked) == 2


def test_a_track_begins_goes_on_and_ends_as_a_camera_s_does() -> None:
    kitchen = Kitchen()
    kitchen.hear(message("new"), newer(AT_S), message("end"))
    track = "front_door.mxklsc475377.1607123955"

    assert kitchen.news() == [
        TrackBegun("front_door", track, NOON_MS - 250),
        TracksAlive("front_door", (track,), NOON_MS),
        TrackEnded("front_door", track, NOON_MS, crops=2),
    ]


def test_an_event_without_a_picture_begins_no_track() -> None:
    kitchen = Kitchen(pictures=[None])
    kitchen.hear(message("new", taken_s=None), message("new"), message("end", id="1607123955.1-abc"))
    assert (kitchen.jobs, kitchen.news()) == ([], [])


def test_a_snapshot_that_waited_too_long_is_not_fetched() -> None:
    kitchen = Kitchen()
    kitchen.frigate.heard("frigate/events", message())
    kitchen.now_ms += 5_000
    kitchen.frigate.round(0)
    assert kitchen.asked == []


@pytest.mark.parametrize("fault", [ReceiverAway("it cannot be reached"), StoreUnavailable("the store is away")])
def test_a_picture_that_cannot_be_had_costs_nothing_but_itself(fault: Exception) -> None:
    kitchen = Kitchen(pictures=[fault])
    kitchen.hear(message(), newer(AT_S))
    assert len(kitchen.jobs) == 1


def test_when_messages_come_faster_than_they_are_looked_at_the_oldest_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kitchen = Kitchen()
    events = [f"16071239{number:02}.1-abc" for number in range(90)]
    for event_id in events:
        kitchen.frigate.heard("frigate/events", message(id=event_id))
    for _ in events:
        kitchen.frigate.round(0.0001)
    assert kitchen.asked == events[-frigate_pictures._WAITING :]


def test_only_the_cameras_that_were_named_are_looked_at() -> None:
    kitchen = Kitchen(Frigate(cameras=("yard",)))
    kitchen.hear(message(), message(camera="yard"))
    assert [job.images[0].seen.camera for job in kitchen.jobs] == ["yard"]  # type: ignore[union-attr]


def test_what_is_not_frigate_s_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    kitchen = Kitchen()
    kitchen.hear(b"nonsense", b"nonsense")
    assert len(caplog.records) == 1
    assert "frigate/events" in caplog.text


class Answering:
    """Sub labels as they are asked for."""

    def __init__(self, answers: list[Exception | None] | None = None, give_up_ms: int = 600_000) -> None:
        self.results, self.places = Told(), MemoryPlaces()
        self.answers, self.give_up_ms, self.now_ms = answers or [], give_up_ms, NOON_MS
        self.asked: list[tuple[str, str, float]] = []
        self.begin()

    def begin(self) -> None:
        lease = Lease(self.places, "me", 1e6)
        lease.renew()
        self.frigate = FrigateAnswers(
            self,  # type: ignore[arg-type]
            self.results,  # type: ignore[arg-type]
            self.places,
            lease,
            "door",
            self.give_up_ms,
            lambda: self.now_ms,
        )
        self.frigate.round()

    def set_sub_label(self, event_id: str, name: str, score: float) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.asked.append((event_id, name, score))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frigate_answers, "_BLOCK_S", 0.0)
    monkeypatch.setattr(frigate_answers, "_FIRST_PAUSE_S", 0.0)


def matched(subject: str = "Ada", score: float = 0.6, event_id: str = EVENT) -> Decision:
    made = decision(subject=subject, label=f"frigate:{event_id}")
    assert made.face is not None
    return replace(made, face=replace(made.face, score=score))


def test_who_was_recognised_becomes_the_sub_label_and_the_surest_name_stays() -> None:
    desk = Answering()
    for number, told in enumerate(
        [matched(score=0.6), matched("Bob", 0.5), matched("Bob", 0.7), matched("Cleo", 0.4, "1607123956.1-abc")]
    ):
        desk.results.tell(told, number)
    desk.frigate.round()

    assert desk.asked == [(EVENT, "Ada", 0.6), (EVENT, "Bob", 0.7), ("1607123956.1-abc", "Cleo", 0.4)]


@pytest.mark.parametrize(
    "other",
    [
        decision,
        lambda: decision(Outcome.UNKNOWN, label=f"frigate:{EVENT}"),
        lambda: decision(Outcome.NO_FACE, face=None, label=f"frigate:{EVENT}"),
        lambda: decision(label=f"frigate:{EVENT}", gallery="staff"),
    ],
)
def test_nothing_else_is_answered(other: Callable[[], Any]) -> None:
    desk = Answering()
    desk.results.tell(other())
    desk.frigate.round()
    assert desk.asked == []


def test_what_frigate_does_not_take_now_is_asked_again_before_anything_else() -> None:
    desk = Answering([ReceiverAway("it cannot be reached")] * 2)
    desk.results.tell(matched())
    desk.results.tell(matched("Bob", event_id="1607123956.1-abc"), 1)
    for _ in range(3):
        desk.frigate.round()
    assert [name for _, name, _ in desk.asked] == ["Ada", "Bob"]


def test_what_frigate_refuses_or_cannot_take_for_too_long_is_given_up() -> None:
    desk = Answering([DeliveryRefused("it answered 404", status=404), ReceiverAway("away"), ReceiverAway("away")])
    for number, name in enumerate(("Ada", "Bob", "Cleo")):
        desk.results.tell(matched(name, event_id=f"160712395{number}.1-abc"), number)
    desk.frigate.round()
    desk.now_ms += 600_000
    desk.frigate.round()
    assert [name for _, name, _ in desk.asked] == ["Cleo"]


def test_whoever_follows_a_worker_that_died_answers_the_rest() -> None:
    desk = Answering()
    desk.results.tell(matched())
    desk.frigate.round()
    desk.results.tell(matched("Bob", event_id="1607123956.1-abc"), 1)
    desk.begin()
    desk.frigate.round()
    assert [name for _, name, _ in desk.asked] == ["Ada", "Bob"]
