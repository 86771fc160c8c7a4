"""The registry of cameras: one suite for Redis and for the one in memory."""

import time
from collections import Counter
from dataclasses import replace

import pytest
import redis

from kith.backends.cameras_memory import MemoryCameras
from kith.backends.cameras_redis import RedisCameras
from kith.cameras import FRAME_KEPT_S, Camera, CameraRegistry, CameraReport, CameraState, LastFrame
from kith.errors import CameraTaken, InvalidCamera, InvalidName, UnknownCamera
from kith.jobs import Lane

FRONT = Camera(
    "front",
    "rtsp://u:hunter2@cam/1",
    "door",
    fps=7.5,
    roi=(0.25, 0, 0.5, 1),
    lane=Lane.BULK,
    transport="udp",
    added_ms=5,
)
LEASE_S = 0.4


@pytest.fixture(params=["memory", "redis"])
def cameras(request: pytest.FixtureRequest) -> CameraRegistry:
    if request.param == "memory":
        return MemoryCameras()
    client: redis.Redis = request.getfixturevalue("redis_client")
    return RedisCameras(client, request.getfixturevalue("prefix"))


def named(name: str) -> Camera:
    return replace(FRONT, name=name)


def filled(cameras: CameraRegistry, count: int) -> CameraRegistry:
    for number in range(count):
        cameras.add(named(f"c{number}"))
    return cameras


def names(found: list[Camera]) -> list[str]:
    return [camera.name for camera in found]


class TestRecords:
    def test_what_is_added_is_there_as_it_was_until_it_is_removed(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        cameras.add(named("back"))
        assert cameras.get("front") == FRONT
        assert names(cameras.all()) == ["back", "front"]
        cameras.remove("front")
        assert names(cameras.all()) == ["back"]
        for gone in (cameras.get, cameras.remove, cameras.pause, cameras.resume, cameras.status):
            with pytest.raises(UnknownCamera, match="no camera front"):
                gone("front")

    def test_a_name_is_taken_once(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        with pytest.raises(CameraTaken, match="front"):
            cameras.add(replace(FRONT, fps=1.0))
        assert cameras.get("front").fps == 7.5

    def test_a_paused_camera_is_nobodys_and_says_since_when_and_why(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        assert names(cameras.share("p", 60, 9)) == ["front"]
        before_ms = int(time.time() * 1000)
        assert cameras.pause("front", "night")
        assert not cameras.pause("front", "again")
        assert cameras.share("p", 60, 9) == []
        status = cameras.status("front")
        assert (status.state, status.why, status.process) == (CameraState.PAUSED, "night", None)
        assert before_ms - 5 <= status.since_ms <= time.time() * 1000 + 5
        assert cameras.get("front").paused
        assert cameras.resume("front")
        assert not cameras.resume("front")
        assert cameras.get("front") == FRONT
        assert names(cameras.share("p", 60, 9)) == ["front"]


class TestSharing:
    def shares(self, cameras: CameraRegistry, *processes: str, rounds: int = 3, most: int = 99) -> dict[str, list[str]]:
        for _ in range(rounds):
            held = {process: names(cameras.share(process, LEASE_S, most)) for process in processes}
        return held

    @pytest.mark.parametrize(("count", "processes"), [(0, 2), (1, 3), (5, 1), (5, 2), (6, 3), (7, 3)])
    def test_cameras_are_shared_evenly_and_each_is_served_once(
        self, cameras: CameraRegistry, count: int, processes: int
    ) -> None:
        held = self.shares(filled(cameras, count), *(f"p{n}" for n in range(processes)))
        served = Counter(name for each in held.values() for name in each)
        assert served == dict.fromkeys((f"c{n}" for n in range(count)), 1)
        assert max(map(len, held.values())) - min(map(len, held.values())) <= 1

    def test_a_process_that_stays_keeps_what_it_has(self, cameras: CameraRegistry) -> None:
        filled(cameras, 6)
        first = self.shares(cameras, "p1", "p2")
        assert self.shares(cameras, "p2", "p1", rounds=5) == first

    def test_one_that_joins_gets_its_share_and_nothing_else_moves(self, cameras: CameraRegistry) -> None:
        filled(cameras, 6)
        before = self.shares(cameras, "p1", "p2")
        after = self.shares(cameras, "p1", "p2", "p0")
        assert {process: len(held) for process, held in after.items()} == {"p0": 2, "p1": 2, "p2": 2}
        assert set(after["p1"]) < set(before["p1"])
        assert set(after["p2"]) < set(before["p2"])

    def test_as_few_as_possible_move_when_one_joins(self, cameras: CameraRegistry) -> None:
        filled(cameras, 3)
        assert len(cameras.share("zoe", 60, 9)) == 3
        cameras.share("ada", 60, 9)
        assert len(cameras.share("zoe", 60, 9)) == 2
        assert len(cameras.share("ada", 60, 9)) == 1

    def test_no_camera_has_two_masters_at_any_moment(self, cameras: CameraRegistry) -> None:
        filled(cameras, 5)
        held: dict[str, set[str]] = {}
        for process in ("a", "b", "a", "c", "b", "c", "a", "b", "d", "c", "d", "a", "b", "d"):
            held[process] = set(names(cameras.share(process, 60, 99)))
            # Others still hold what they were told last; what they gave up in the meantime is nobody's yet.
            for other in held.keys() - {process}:
                assert not held[process] & held[other]

    def test_a_dead_ones_cameras_move_when_its_lease_has_run_out(self, cameras: CameraRegistry) -> None:
        filled(cameras, 4)
        self.shares(cameras, "dead", "living")
        assert len(cameras.share("living", LEASE_S, 9)) == 2
        until = time.monotonic() + 30
        while len(cameras.share("living", LEASE_S, 9)) < 4:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert cameras.share("dead", LEASE_S, 9) == []

    def test_one_that_leaves_in_order_is_replaced_at_once(self, cameras: CameraRegistry) -> None:
        filled(cameras, 4)
        self.shares(cameras, "leaving", "staying")
        cameras.leave("leaving")
        assert len(cameras.share("staying", 60, 9)) == 4

    def test_room_is_respected_and_what_one_cannot_take_the_other_does(self, cameras: CameraRegistry) -> None:
        filled(cameras, 7)
        for _ in range(3):
            small, large = cameras.share("small", 60, 2), cameras.share("large", 60, 99)
        assert (len(small), len(large)) == (2, 5)

    def test_a_changed_record_is_handed_out_with_the_next_share(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        assert cameras.share("p", 60, 9) == [FRONT]
        cameras.remove("front")
        assert cameras.share("p", 60, 9) == []
        cameras.add(replace(FRONT, fps=2.0))
        assert cameras.share("p", 60, 9) == [replace(FRONT, fps=2.0)]


class TestReports:
    REPORT = CameraReport(CameraState.AWAY, since_ms=7, at_ms=9, why="refused", size=(640, 480), tracks=2, pressure=1)

    def test_who_serves_a_camera_says_how_it_is_and_counts_add_up(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        assert cameras.status("front").state is CameraState.WAITING
        assert cameras.status("front").since_ms == 5
        cameras.share("p", 60, 9)
        assert cameras.status("front").state is CameraState.OPENING
        assert cameras.report("p", "front", self.REPORT, {"frames": 3, "dropped_late": 1})
        assert cameras.report("p", "front", self.REPORT, {"frames": 4})
        status = cameras.status("front")
        assert (status.state, status.since_ms, status.why, status.process) == (CameraState.AWAY, 7, "refused", "p")
        assert status.report == self.REPORT
        assert status.counts == {"frames": 7, "dropped_late": 1}

    def test_who_does_not_serve_it_says_nothing(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        cameras.share("p", 60, 9)
        assert not cameras.report("other", "front", self.REPORT, {"frames": 3})
        assert not cameras.report("p", "absent", self.REPORT, {"frames": 3})
        cameras.leave("p")
        assert not cameras.report("p", "front", self.REPORT, {"frames": 3})
        assert cameras.status("front").counts == {}

    def test_when_its_process_is_gone_a_camera_waits_since_it_was_last_heard_of(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        cameras.share("p", 60, 9)
        cameras.report("p", "front", self.REPORT, {})
        cameras.leave("p")
        status = cameras.status("front")
        assert (status.state, status.since_ms, status.process, status.report) == (CameraState.WAITING, 9, None, None)
        assert "kith cameras run" in str(status.why)

    def test_a_removed_cameras_past_is_not_that_of_the_next_one_of_its_name(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        cameras.share("p", 60, 9)
        cameras.report("p", "front", self.REPORT, {"frames": 3})
        cameras.pause("front")
        cameras.remove("front")
        cameras.add(FRONT)
        assert cameras.statuses() == [cameras.status("front")]
        assert cameras.status("front").state is CameraState.WAITING
        assert cameras.status("front").counts == {}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "Front Door"}, InvalidName),
        ({"gallery": ""}, InvalidName),
        ({"fps": 0.0}, InvalidCamera),
        ({"fps": 61.0}, InvalidCamera),
        ({"roi": (0.5, 0, 0.6, 1)}, InvalidCamera),
        ({"roi": (0, 0, 0, 1)}, InvalidCamera),
        ({"address": "gopher://hunter2@cam"}, InvalidCamera),
        ({"fast": True}, InvalidCamera),
        ({"fast": True, "address": "/clip.mp4", "lane": Lane.LIVE}, InvalidCamera),
    ],
)
def test_what_cannot_be_a_camera_is_refused(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        replace(FRONT, **change)  # type: ignore[arg-type]
    assert "hunter2" not in str(refused.value)


class TestLastFrame:
    FRAME = LastFrame(bytes(range(256)), 1_700_000_000_123)

    def test_who_holds_the_camera_keeps_its_last_frame_in_place_of_the_one_before(
        self, cameras: CameraRegistry
    ) -> None:
        cameras.add(FRONT)
        assert cameras.last_frame("front") is None
        assert not cameras.keep_frame("p", "front", self.FRAME)
        cameras.share("p", 60, 9)
        assert cameras.keep_frame("p", "front", replace(self.FRAME, at_ms=1))
        assert cameras.keep_frame("p", "front", self.FRAME)
        assert not cameras.keep_frame("other", "front", replace(self.FRAME, at_ms=2))
        assert not cameras.keep_frame("p", "absent", self.FRAME)
        assert cameras.last_frame("front") == self.FRAME

    def test_it_goes_with_the_camera(self, cameras: CameraRegistry) -> None:
        cameras.add(FRONT)
        cameras.share("p", 60, 9)
        cameras.keep_frame("p", "front", self.FRAME)
        cameras.remove("front")
        with pytest.raises(UnknownCamera, match="no camera front"):
            cameras.last_frame("front")
        cameras.add(FRONT)
        assert cameras.last_frame("front") is None

    def test_redis_drops_it_by_itself(self, redis_client: redis.Redis, prefix: str) -> None:
        cameras = RedisCameras(redis_client, prefix)
        cameras.add(FRONT)
        cameras.share("p", 60, 9)
        cameras.keep_frame("p", "front", self.FRAME)
        assert 0 < redis_client.ttl(f"{prefix}:cameras:frame:front") <= FRAME_KEPT_S  # type: ignore[operator]


def test_the_password_is_in_no_repr() -> None:
    assert "hunter2" not in repr(FRONT)
    assert FRONT.shown == "rtsp://***@cam/1"
