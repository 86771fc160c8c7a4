"""A camera being served, without a camera: frames from a script, a detector that always sees a face, doubles around."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from kith.backends.cameras_memory import MemoryCameras
from kith.cameras import Camera, CameraReport, CameraState
from kith.detector import Detection
from kith.errors import BrokerUnavailable, CameraAway, InvalidName, Overloaded, StateUnavailable, StoreUnavailable
from kith.jobs import EmbedJob, ImageRef, Lane, Seen, now_ms
from kith.manifest import TEMPLATE
from kith.watching.news import CameraStarted, Ending, News, TrackBegun, TrackEnded
from producers.camera.counts import Counts
from producers.camera.eye import Alignment, Crop
from producers.camera.frame import Frame, PlainPicture
from producers.camera.glance import Glance
from producers.camera.holding import Holding
from producers.camera.picking import PickingRule
from producers.camera.pressure import Pressure
from producers.camera.sending import Sending
from producers.camera.serving import Equipment, Serving
from producers.camera.source import SourceOptions

CAMERA = Camera("front", "rtsp://u:hunter2@cam/1", "door")
PIXELS = np.random.default_rng(0).integers(40, 210, (240, 320, 3), np.uint8)


class OneFace:
    """A face in the middle of each frame."""

    def find(self, image: object) -> list[Detection]:
        marks = ((np.asarray(TEMPLATE) - 20) / 80 * 100 + [100, 70]).astype(np.float32)
        return [Detection((100.0, 70.0, 100.0, 100.0), marks, 0.95)]

    def refine(self, image: object, found: Sequence[Detection]) -> list[Detection]:
        return list(found)

    detect = find


class Log:
    """Keeps what is told, or is away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, News]] = []
        self.away = False

    def tell(self, gallery: str, news: Sequence[News]) -> str:
        if self.away:
            raise StateUnavailable
        self.told += [(gallery, each) for each in news]
        return "1-0"


class Intake:
    """Keeps what is submitted, or fails as it is told."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.jobs: list[EmbedJob] = []
        self.heard_before: list[list[str]] = []
        self.fails: Exception | None = None
        self.slow = threading.Event()
        self.slow.set()

    def put(self, data: bytes, *, label: str | None = None) -> ImageRef:
        self.slow.wait(5)
        if self.fails:
            raise self.fails
        assert data.startswith(b"\xff\xd8")
        return ImageRef("ab/abcd", label=label)

    def job(self, kind: object, images: Sequence[ImageRef], **parts: object) -> EmbedJob:
        key = str(parts.pop("idempotency_key"))
        return EmbedJob(key, kind, images=tuple(images), created_ms=now_ms(), **parts)  # type: ignore[arg-type]

    def submit(self, job: EmbedJob) -> None:
        self.heard_before.append([each.news for _, each in self.log.told])
        self.jobs.append(job)


class Played:
    """A source that yields frames one by one as `more` allows, then ends as it is told."""

    def __init__(self, frames: int, end: Exception | None = None, every_s: float = 0.0) -> None:
        self.count, self.end, self.every_s = frames, end, every_s

    def frames(self) -> Iterator[Frame]:
        for number in range(self.count):
            time.sleep(self.every_s)
            yield Frame(PlainPicture(PIXELS), now_ms(), time.monotonic() + 0.2 * number)
        if self.end:
            raise self.end


def until(ready: Callable[[], object], timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end_s
        time.sleep(0.002)


class Post:
    """Sending with doubles around."""

    def __init__(self) -> None:
        self.log = Log()
        self.intake = Intake(self.log)
        self.sending = Sending(self.log, self.intake, live_expiry_s=5.0)  # type: ignore[arg-type]
        self.sending.start()
        self.counts = Counts()

    def crop(self, number: int = 1, at_ms: int | None = None) -> Crop:
        seen = Seen("front", "front.a.1", at_ms or now_ms(), (1, 2, 3, 4), (320, 240), number)
        return Crop(np.zeros((112, 112, 3), np.uint8), seen)

    def send(self, camera: Camera = CAMERA, **parts: int) -> None:
        self.sending.send(camera, self.crop(**parts), self.counts)


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setattr("producers.camera.sending._RETRY_S", 0.005)
    post = Post()
    yield post
    post.intake.slow.set()
    post.sending.stop(timeout_s=30)


BEGUN = TrackBegun("front", "front.a.1", 1)


class TestSending:
    def test_a_crop_becomes_a_live_job_with_the_deadline_of_its_frame(self, post: Post) -> None:
        at_ms = now_ms() - 1000
        post.send(at_ms=at_ms)
        until(lambda: post.intake.jobs)
        [job] = post.intake.jobs
        assert (job.gallery, job.lane, job.content, job.expires_ms) == ("door", Lane.LIVE, "aligned", at_ms + 5000)
        assert job.images[0].seen == post.crop(at_ms=at_ms).seen
        assert job.job_id == "front.a.1:1"
        until(lambda: post.counts.take() == {"sent": 1})

    def test_of_a_recording_nothing_expires(self, post: Post) -> None:
        post.send(replace(CAMERA, lane=Lane.BULK), at_ms=1)
        until(lambda: post.intake.jobs)
        assert post.intake.jobs[0].expires_ms is None

    def test_news_are_told_before_the_crops_that_came_after_them(self, post: Post) -> None:
        post.log.away = True
        post.sending.tell("door", [BEGUN])
        post.send()
        time.sleep(0.05)
        assert post.intake.jobs == []
        post.log.away = False
        until(lambda: post.intake.jobs)
        assert post.intake.heard_before == [["track_begun"]]

    def test_while_redis_is_away_news_are_kept_in_order_and_each_told_once(self, post: Post) -> None:
        post.log.away = True
        for number in range(500):
            post.sending.tell("door" if number % 3 else "hall", [replace(BEGUN, at_ms=number)])
        time.sleep(0.05)
        post.log.away = False
        until(lambda: len(post.log.told) == 500)
        assert [each.at_ms for _, each in post.log.told] == list(range(500))
        assert [gallery for gallery, _ in post.log.told] == ["door" if n % 3 else "hall" for n in range(500)]

    def test_while_redis_is_away_crops_are_not_kept_without_a_bound(self, post: Post) -> None:
        post.log.away = True
        for number in range(1, 301):
            post.sending.tell("door", [replace(BEGUN, at_ms=number)])
            post.send(number=number)
        assert post.sending.waiting <= 300 + 64
        post.log.away = False
        until(lambda: post.sending.waiting == 0 and post.intake.jobs)
        until(lambda: post.intake.jobs[-1].job_id == "front.a.1:300")
        assert [each.at_ms for _, each in post.log.told] == list(range(1, 301))
        counts = post.counts.take()
        assert counts["dropped_unsent"] + len(post.intake.jobs) == 300
        assert counts["dropped_unsent"] >= 230

    def test_news_that_nobody_will_ever_take_do_not_hold_up_the_others(
        self, post: Post, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        took = post.log.tell

        def tell(gallery: str, news: Sequence[News]) -> str:
            if gallery == "refused":
                raise InvalidName
            return took(gallery, news)

        monkeypatch.setattr(post.log, "tell", tell)
        post.sending.tell("refused", [BEGUN])
        post.sending.tell("door", [BEGUN])
        until(lambda: post.log.told == [("door", BEGUN)])

    def test_a_crop_that_waited_past_its_deadline_is_dropped_and_counted(self, post: Post) -> None:
        post.send(at_ms=now_ms() - 6000)
        until(lambda: post.counts.take() == {"dropped_expired": 1})
        assert post.intake.jobs == []

    @pytest.mark.parametrize("trouble", [StoreUnavailable("away"), Overloaded("full")])
    def test_a_crop_that_cannot_be_sent_is_dropped_and_counted_and_told_once(
        self, post: Post, trouble: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "kith.camera")
        post.intake.fails = trouble
        for number in range(1, 6):
            post.send(number=number)
        counted: Counter[str] = Counter()
        until(lambda: counted.update(post.counts.take()) or counted["dropped_unsent"] == 5)
        post.intake.fails = None
        post.send(number=6)
        until(lambda: counted.update(post.counts.take()) or counted["sent"] == 1)
        assert counted == {"dropped_unsent": 5, "sent": 1}
        assert len(caplog.records) == 2

    def test_a_slow_store_costs_the_oldest_crops_and_no_memory(self, post: Post) -> None:
        post.intake.slow.clear()
        for number in range(1, 201):
            post.send(number=number)
        until(lambda: post.sending.waiting <= 64)
        post.intake.slow.set()
        until(lambda: post.sending.waiting == 0)
        until(lambda: post.intake.jobs and post.intake.jobs[-1].job_id == "front.a.1:200")
        # One may have been in hand.
        assert len(post.intake.jobs) in (64, 65)

    def test_of_a_recording_as_fast_as_possible_none_is_lost_however_slow_the_store(self, post: Post) -> None:
        clip = replace(CAMERA, address="/clip.mp4", fast=True, lane=Lane.BULK)
        post.intake.slow.clear()

        def play() -> None:
            for number in range(1, 201):
                post.send(clip, number=number)

        playing = threading.Thread(target=play)
        playing.start()
        time.sleep(0.05)
        assert post.sending.waiting <= 64
        post.intake.slow.set()
        playing.join(30)
        until(lambda: len(post.intake.jobs) == 200)


class Hall:
    """Serving, with scripted sources."""

    def __init__(self, post: Post, *sources: Played, camera: Camera = CAMERA) -> None:
        self.post, self.left = post, list(sources)
        self.ended: list[str] = []
        self.changes = 0
        rule = PickingRule(min_quality=0.01)
        equipment = Equipment(
            *(OneFace(), Alignment(112, TEMPLATE), rule, SourceOptions()),
            lost_s=0.1,
            retry_s=0.01,
            retry_max_s=0.02,
        )
        self.serving = Serving(
            *(camera, equipment, post.sending),
            changed=self._changed,
            ended=lambda each: self.ended.append(each.name),
            source=self._next,  # type: ignore[arg-type]
        )
        self.serving.start()

    def _next(self, *_: object) -> Played:
        return self.left.pop(0) if self.left else Played(0, CameraAway("the script is over"))

    def _changed(self) -> None:
        self.changes += 1

    def of(self, kind: type) -> list[News]:
        return [each for _, each in self.post.log.told if isinstance(each, kind)]


class TestServing:
    def test_it_begins_follows_and_ends_and_says_how_it_is(self, post: Post) -> None:
        hall = Hall(post, Played(20, CameraAway("refused"), every_s=0.005))
        until(lambda: post.intake.jobs)
        assert hall.serving.report().state is CameraState.LIVE
        assert hall.serving.report().size == (320, 240)
        until(lambda: hall.of(TrackEnded))
        assert [each.news for _, each in post.log.told][:2] == ["camera_started", "track_begun"]
        assert hall.of(TrackEnded)[0].reason is Ending.SOURCE  # type: ignore[union-attr]
        frame = hall.serving.glance.take()
        assert frame is not None
        assert frame.data.startswith(b"\xff\xd8")
        report = hall.serving.report()
        assert (report.state, report.why) == (CameraState.AWAY, "the script is over")
        hall.serving.stop()
        assert hall.ended == []
        assert len(hall.of(CameraStarted)) == 1

    def test_a_new_connection_ends_the_tracks_of_the_one_before(self, post: Post) -> None:
        hall = Hall(post, *(Played(5, CameraAway("stalled"), every_s=0.005) for _ in range(3)))
        until(lambda: len(hall.of(TrackEnded)) == 3)
        tracks = [each.track for each in hall.of(TrackBegun)]  # type: ignore[union-attr]
        assert len(set(tracks)) == 3
        hall.serving.stop()

    def test_a_recording_is_looked_at_to_its_last_frame_and_then_it_is_over(self, post: Post) -> None:
        hall = Hall(post, Played(200), camera=replace(CAMERA, address="/clip.mp4", fast=True, lane=Lane.BULK))
        until(lambda: hall.ended == ["front"])
        assert hall.serving.counts.take()["frames"] == 200
        hall.serving.stop()

    def test_a_camera_that_is_too_fast_loses_the_oldest_frames_and_counts_them(self, post: Post) -> None:
        hall = Hall(post, Played(2000, CameraAway("the end")))
        until(lambda: hall.serving.report().state is CameraState.AWAY)
        until(lambda: hall.of(TrackEnded))
        counts = hall.serving.counts.take()
        assert counts["frames"] + counts["dropped_behind"] == 2000
        hall.serving.stop()

    def test_a_frame_that_a_library_trips_over_is_counted_and_the_next_is_looked_at(self, post: Post) -> None:
        hall = Hall(post)
        hall.serving.stop()
        hall = Hall(post, Played(3, every_s=0.005))
        hall.serving._look_at(Frame(PlainPicture(np.zeros((0, 0, 3), np.uint8)), 1, 1.0))
        assert hall.serving.counts.take()["dropped_internal"] == 1
        hall.serving.stop()

    def test_when_it_is_stopped_nothing_more_is_told_of_it(self, post: Post) -> None:
        hall = Hall(post, Played(10_000, every_s=0.002))
        until(lambda: hall.of(TrackBegun))
        hall.serving.stop()
        until(lambda: hall.of(TrackEnded))
        before = len(post.log.told)
        time.sleep(0.05)
        assert len(post.log.told) == before


class Queue:
    def __init__(self) -> None:
        self.waiting: int | None = 0

    def depth(self, queue: str) -> int:
        if self.waiting is None:
            raise BrokerUnavailable
        return self.waiting


class Served:
    """What Holding sees of a Serving."""

    def __init__(self, camera: Camera, over: Callable[[Camera], None]) -> None:
        self.camera, self.over = camera, over
        self.counts = Counts()
        self.glance = Glance(camera, 1.0)
        self.running = False
        self.level = 0

    def start(self) -> None:
        self.running = True
        self.counts.add("frames")

    def cease(self) -> None:
        self.running = False

    stop = cease

    def bear(self, level: int) -> None:
        self.level = level

    def report(self) -> CameraReport:
        return CameraReport(CameraState.LIVE, 1, 2, pressure=self.level)


class Process:
    """Holding with a clock of its own, and a registry that several share and that may be away."""

    def __init__(self, registry: MemoryCameras, name: str = "p", most: int = 9) -> None:
        self.now_s, self.queue = 0.0, Queue()
        self.made: list[Served] = []
        self.galleries = {CAMERA.gallery}
        self.holding = Holding(
            *(name, registry, self.queue, Pressure(10), self._serve),  # type: ignore[arg-type]
            galleries=lambda: self.galleries,
            lease_s=8.0,
            most=most,
            clock_s=lambda: self.now_s,
        )

    def _serve(self, camera: Camera, changed: object, over: Callable[[Camera], None]) -> Served:
        self.made.append(Served(camera, over))
        return self.made[-1]

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.now_s += 0.5
            self.holding.round()

    @property
    def running(self) -> list[str]:
        return sorted(served.camera.name for served in self.made if served.running)


@pytest.fixture
def registry() -> MemoryCameras:
    registry = MemoryCameras()
    for name in ("back", "front"):
        registry.add(replace(CAMERA, name=name))
    return registry


class TestHolding:
    def test_what_is_added_paused_changed_or_removed_is_followed(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        process.pass_time(1)
        assert process.running == ["back", "front"]
        registry.pause("front")
        process.pass_time(3)
        assert process.running == ["back"]
        registry.remove("back")
        registry.add(replace(CAMERA, name="back", fps=1.0))
        registry.resume("front")
        process.pass_time(3)
        assert process.running == ["back", "front"]
        assert {served.camera.name: served.camera.fps for served in process.made if served.running} == {
            "back": 1.0,
            "front": CAMERA.fps,
        }

    def test_each_camera_is_reported_on_with_its_counts(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        process.pass_time(1)
        status = registry.status("front")
        assert (status.state, status.process, status.counts) == (CameraState.LIVE, "p", {"frames": 1})

    def test_without_its_gallery_a_camera_is_not_served_says_why_and_is_served_when_that_is_back(
        self, registry: MemoryCameras
    ) -> None:
        registry.add(replace(CAMERA, name="attic", gallery="gone"))
        process = Process(registry)
        process.pass_time(1)
        assert process.running == ["back", "front"]
        since_ms = registry.status("attic").since_ms
        process.galleries = set()
        process.pass_time(3)
        assert process.running == []
        for name, gallery in (("attic", "gone"), ("back", CAMERA.gallery)):
            status = registry.status(name)
            assert (status.state, status.process) == (CameraState.AWAY, "p")
            assert f"there is no gallery {gallery} " in str(status.why)
        assert registry.status("attic").since_ms == since_ms
        process.galleries = {"gone", CAMERA.gallery}
        process.pass_time(3)
        assert process.running == ["attic", "back", "front"]
        assert registry.status("attic").state is CameraState.LIVE

    def test_a_camera_added_anew_for_another_gallery_that_is_missing_says_which(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        for gallery in ("gone", "lost"):
            registry.add(replace(CAMERA, name="attic", gallery=gallery))
            process.pass_time(3)
            assert f"there is no gallery {gallery} " in str(registry.status("attic").why)
            registry.remove("attic")

    def test_the_last_frame_of_each_camera_is_kept(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        process.pass_time(1)
        front = next(served for served in process.made if served.camera.name == "front")
        front.glance.look(Frame(PlainPicture(PIXELS), 7, 0.0))
        process.pass_time(1)
        kept = registry.last_frame("front")
        assert kept is not None
        assert kept.at_ms == 7
        assert registry.last_frame("back") is None

    def test_who_cannot_renew_in_time_stops_before_another_may_begin(
        self, registry: MemoryCameras, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = Process(registry)
        process.pass_time(1)

        def away(*_: object) -> None:
            raise StateUnavailable

        monkeypatch.setattr(registry, "share", away)
        monkeypatch.setattr(registry, "report", away)
        process.pass_time(6)
        assert process.running == ["back", "front"]
        process.pass_time(3)
        assert process.running == []
        monkeypatch.undo()
        process.pass_time(1)
        assert process.running == ["back", "front"]
        assert registry.status("front").counts["frames"] >= 1

    def test_a_camera_that_became_anothers_is_stopped_with_the_next_report(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        process.pass_time(1)
        registry.leave("p")
        other = Process(registry, "other")
        other.pass_time(0.5)
        process.pass_time(1)
        assert (process.running, other.running) == ([], ["back", "front"])
        other.pass_time(3)
        process.pass_time(3)
        assert sorted(process.running + other.running) == ["back", "front"]
        assert len(process.running) == 1

    def test_the_end_gives_all_back_at_once(self, registry: MemoryCameras) -> None:
        process, stop = Process(registry), threading.Event()
        thread = threading.Thread(target=process.holding.run, args=(stop,))
        thread.start()
        until(lambda: process.running == ["back", "front"])
        stop.set()
        process.holding.wake()
        thread.join(5)
        assert process.running == []
        assert len(registry.share("other", 60, 9)) == 2

    def test_a_recording_that_was_played_is_paused_and_says_so(self, registry: MemoryCameras) -> None:
        process = Process(registry)
        process.pass_time(1)
        front = next(served for served in process.made if served.camera.name == "front")
        front.over(front.camera)
        process.pass_time(1)
        assert process.running == ["back"]
        status = registry.status("front")
        assert status.state is CameraState.PAUSED
        assert "played" in str(status.why)

    @pytest.mark.parametrize("waiting", [100, None])
    def test_saturated_workers_are_spared_and_it_recovers(self, registry: MemoryCameras, waiting: int | None) -> None:
        process = Process(registry)
        process.pass_time(1)
        process.queue.waiting = waiting
        process.pass_time(10)
        assert [served.level for served in process.made] == [5, 5]
        process.queue.waiting = 0
        process.pass_time(30)
        assert [served.level for served in process.made] == [0, 0]

    def test_what_is_sent_in_bulk_is_not_held_back(self, registry: MemoryCameras) -> None:
        registry.add(replace(CAMERA, name="clip", lane=Lane.BULK))
        process = Process(registry)
        process.queue.waiting = 100
        process.pass_time(10)
        assert {served.camera.name: served.level for served in process.made} == {"back": 5, "front": 5, "clip": 0}
