"""Camera processes as they run: real RTSP, a real Valkey, jobs that reach the ledger, news that reach the log."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import psutil
import pytest

from kith.backends.valkey_embedded import EmbeddedValkey
from kith.cameras import Camera, CameraState
from kith.client import Client
from kith.errors import Misconfigured
from kith.jobs import EmbedJob, Lane, new_job_id
from kith.settings import Settings, as_environment, load
from kith.watching.log import FROM_START
from kith.watching.news import CameraStarted, Ending, News, TrackBegun, TrackEnded
from kith.wire import from_json
from producers.rehearsal.clip import write_scene
from producers.rehearsal.rtsp_server import RtspServer
from producers.rehearsal.scene import Scene, Walk
from tests.camera_clips import portraits
from tests.servers.fixtures import missing

pytestmark = [pytest.mark.needs("RTSP server"), pytest.mark.needs("shared data")]

PASSWORD = "hunter2"
LEASE_S = 3.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hall: two people, one after the other, within twelve seconds; room: nobody."""
    folder = tmp_path_factory.mktemp("clips")
    one, other = list(portraits().values())[40:42]
    walks = (
        Walk(one, ((0.5, -50, 210), (5, 690, 210)), 85),
        Walk(other, ((5.5, 690, 225), (10, -50, 225)), 95),
    )
    write_scene(folder / "hall.mp4", Scene(walks, 12, seed=3))
    write_scene(folder / "room.mp4", Scene((), 30, seed=4, width=320, height=240))
    return folder


@pytest.fixture(scope="module")
def rtsp(clips: Path) -> Iterator[RtspServer]:
    server = RtspServer(clips, user="guard", password=PASSWORD)
    try:
        yield server.start()
    except Misconfigured as absent:
        missing("RTSP server", absent)
    finally:
        server.stop(kill=True)


class Installation:
    """A client with its own prefix and store, and camera processes on it."""

    def __init__(self, valkey: EmbeddedValkey, folder: Path, **camera: object) -> None:
        base = load()
        knobs = {"lease_s": LEASE_S, "stall_s": 1.5, "retry_s": 0.1, "retry_max_s": 0.4, **camera}
        self.settings: Settings = base.model_copy(
            update={
                "home": folder,
                "redis": base.redis.model_validate({"url": valkey.url, "prefix": f"t{uuid.uuid4().hex[:12]}"}),
                "store": base.store.model_copy(update={"directory": folder / "images"}),
                "camera": base.camera.model_validate(knobs),
            }
        )
        self.client = Client.open(self.settings)
        # Without it no camera is served.
        self.client.galleries.create("door", model_id="m", dimension=4)
        self.log = folder / "cameras.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "producers.camera"],
                env=inherited | as_environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.client.close()

    def add(self, name: str, address: str, **parts: object) -> None:
        self.client.cameras.add(Camera(name, address, "door", **parts))  # type: ignore[arg-type]

    def news(self, kind: type[News] | None = None) -> list[News]:
        found = self.client.sightings.after({"door": FROM_START}, limit=10_000).get("door", [])
        told = [each.news for each in found if each.news is not None]
        return told if kind is None else [each for each in told if isinstance(each, kind)]

    def jobs(self) -> list[EmbedJob]:
        """The open jobs of all crops of the tracks that have ended."""
        payloads = [
            self.client.ledger.payload(new_job_id("door", f"{each.track}:{number}"))
            for each in self.news(TrackEnded)
            for number in range(1, each.crops + 1)  # type: ignore[union-attr]
        ]
        return [from_json(EmbedJob, payload) for payload in payloads if payload is not None]

    def states(self) -> dict[str, CameraState]:
        return {each.camera.name: each.state for each in self.client.cameras.statuses()}

    def holders(self) -> dict[str, str | None]:
        return {each.camera.name: each.process for each in self.client.cameras.statuses()}


@pytest.fixture
def installation(valkey: EmbeddedValkey, tmp_path: Path, rtsp: RtspServer) -> Iterator[Installation]:
    installation = Installation(valkey, tmp_path)
    yield installation
    installation.close()
    log = installation.log.read_text() if installation.log.exists() else ""
    assert PASSWORD not in log
    assert "Traceback" not in log


def until(ready: Callable[[], object], what: str, timeout_s: float = 30.0) -> float:
    """Wait; how long it took."""
    began_s = time.monotonic()
    while not ready():
        assert time.monotonic() - began_s < timeout_s, what
        time.sleep(0.05)
    return time.monotonic() - began_s


def test_two_people_walk_by_and_each_is_a_track_with_a_few_crops_as_live_jobs(
    installation: Installation, rtsp: RtspServer
) -> None:
    installation.add("hall", rtsp.url("hall"))
    process = installation.start()
    until(lambda: len([each for each in installation.news(TrackEnded) if each.crops]) >= 2, "two who left")  # type: ignore[union-attr]

    jobs = installation.jobs()
    seen = [image.seen for job in jobs for image in job.images]
    assert all(job.lane is Lane.LIVE and job.content == "aligned" and job.gallery == "door" for job in jobs)
    assert all(job.expires_ms == job.images[0].seen.at_ms + 5000 for job in jobs if job.images[0].seen)
    per_track = Counter(each.track for each in seen if each is not None)
    assert len(per_track) in (2, 3)
    assert max(per_track.values()) <= 8
    assert sum(per_track.values()) == sum(each.crops for each in installation.news(TrackEnded))  # type: ignore[union-attr]
    [picture, *_] = jobs
    assert installation.client.store.get(picture.images[0].key).startswith(b"\xff\xd8")
    # Nothing secret where others may look.
    assert PASSWORD not in " ".join(psutil.Process(process.pid).cmdline())
    assert PASSWORD not in str(installation.client.cameras.statuses())
    assert not any(PASSWORD in job.job_id or PASSWORD in str(job) for job in jobs)
    until(lambda: installation.client.cameras.status("hall").counts.get("sent", 0) >= len(jobs), "counted")
    counts = installation.client.cameras.status("hall").counts
    assert all(counts[f"us_{stage}"] > 0 for stage in ("decode", "gate", "convert", "detect", "track", "pick"))
    assert counts["received"] > 2.5 * counts["frames"], "of 15 frames a second five are looked at"
    [beat] = installation.client.ledger.workers()
    assert (beat.role, beat.pid) == ("camera", process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert installation.client.ledger.workers() == []
    assert installation.holders() == {"hall": None}


def test_a_server_that_dies_and_comes_back_is_found_again_and_the_status_says_what_happened(
    installation: Installation, rtsp: RtspServer
) -> None:
    installation.add("hall", rtsp.url("hall"))
    installation.start()
    until(lambda: installation.news(TrackBegun), "somebody")
    rtsp.stop(kill=True)
    try:
        until(lambda: installation.states()["hall"] is CameraState.AWAY, "away")
        until(lambda: "refused" in str(installation.client.cameras.status("hall").why), "why")
        since_ms = installation.client.cameras.status("hall").since_ms
        until(lambda: any(each.reason is Ending.SOURCE for each in installation.news(TrackEnded)), "ended")  # type: ignore[union-attr]
        time.sleep(1.5)
        assert installation.client.cameras.status("hall").since_ms == since_ms, "it is away since then, not since a try"
    finally:
        rtsp.start()
    before = len(installation.news(TrackBegun))
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live again")
    until(lambda: len(installation.news(TrackBegun)) > before, "somebody again")
    assert len(installation.news(CameraStarted)) == 1, "the process went on all the time"


def test_a_stall_without_a_close_is_noticed(installation: Installation, rtsp: RtspServer) -> None:
    installation.add("hall", rtsp.url("hall"))
    installation.start()
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live")
    rtsp.freeze()
    try:
        until(lambda: installation.states()["hall"] is CameraState.AWAY, "away")
        assert "connection is open" in str(installation.client.cameras.status("hall").why)
    finally:
        rtsp.thaw()
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live again")


def test_a_killed_processs_cameras_move_to_the_other_one(installation: Installation, rtsp: RtspServer) -> None:
    for number in range(4):
        installation.add(f"c{number}", rtsp.url("room"))
    doomed, other = installation.start(), installation.start()
    until(lambda: set(Counter(installation.holders().values()).values()) == {2}, "two each")
    until(lambda: set(installation.states().values()) == {CameraState.LIVE}, "all live")

    def started() -> Counter[str]:
        return Counter(each.camera for each in installation.news(CameraStarted))  # type: ignore[union-attr]

    # A camera is live a moment before its start is told; whoever came first may have had all four and given two away.
    until(lambda: started().total() == installation.log.read_text().count("serving camera"), "all told")
    runs = started()
    doomed.kill()
    took_s = until(
        lambda: (
            set(installation.holders().values()) == {self_of(installation, other)}
            and set(installation.states().values()) == {CameraState.LIVE}
        ),
        "all at the other",
    )
    assert took_s < 15 * LEASE_S / installation_default_lease_s() + 1
    began = started() - runs
    assert began.total() == 2, "those of the living one went on undisturbed"


def self_of(installation: Installation, process: subprocess.Popen[bytes]) -> str | None:
    """The name under which a process holds cameras."""
    return next((each for each in installation.holders().values() if each and f":{process.pid}:" in each), None)


def installation_default_lease_s() -> float:
    return Settings().camera.lease_s


def test_a_process_that_slept_serves_nothing_that_became_anothers(installation: Installation, rtsp: RtspServer) -> None:
    installation.add("hall", rtsp.url("room"))
    sleeper = installation.start()
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live")
    sleeper.send_signal(signal.SIGSTOP)
    installation.start()
    until(lambda: len(installation.news(CameraStarted)) == 2, "taken over")
    sleeper.send_signal(signal.SIGCONT)
    until(lambda: "hall is served no more" in installation.log.read_text(), "given up")
    holder = installation.holders()["hall"]
    assert holder is not None
    assert f":{sleeper.pid}:" not in holder


def test_pause_resume_and_remove_reach_the_process(installation: Installation, rtsp: RtspServer) -> None:
    installation.add("hall", rtsp.url("room"))
    installation.start()
    cameras = installation.client.cameras
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live")
    cameras.pause("hall")
    until(lambda: "hall is served no more" in installation.log.read_text(), "stopped")
    cameras.resume("hall")
    until(lambda: installation.states()["hall"] is CameraState.LIVE, "live again")
    cameras.remove("hall")
    until(lambda: installation.log.read_text().count("hall is served no more") == 2, "stopped")


def test_a_recording_is_played_once_and_says_so(installation: Installation, clips: Path) -> None:
    installation.add("clip", str(clips / "hall.mp4"), fast=True, lane=Lane.BULK)
    installation.start()
    until(lambda: installation.states()["clip"] is CameraState.PAUSED, "played")
    assert "played" in str(installation.client.cameras.status("clip").why)
    ended = [each for each in installation.news(TrackEnded) if each.crops]  # type: ignore[union-attr]
    assert len(ended) >= 2
    # Times are those of the recording, though it was played in a fraction of them.
    begun = [each.at_ms for each in installation.news(TrackBegun)]  # type: ignore[union-attr]
    assert max(begun) - min(begun) > 4000
    counts = installation.client.cameras.status("clip").counts
    assert counts["frames"] == 60
    assert not [name for name in counts if name.startswith("dropped_")]


def test_saturated_workers_make_cameras_send_less(valkey: EmbeddedValkey, tmp_path: Path, rtsp: RtspServer) -> None:
    """Nobody takes the jobs, so that they pile up."""
    installation = Installation(valkey, tmp_path, max_waiting=2)
    try:
        installation.add("hall", rtsp.url("hall"))
        installation.start()
        until(
            lambda: installation.client.cameras.status("hall").counts.get("dropped_pressure", 0) > 3, "fewer frames", 40
        )
        report = installation.client.cameras.status("hall").report
        assert report is not None
        assert report.pressure >= 4
    finally:
        installation.close()


def test_a_snapshot_shows_the_faces(installation: Installation, clips: Path, tmp_path: Path) -> None:
    one = list(portraits().values())[40]
    write_scene(tmp_path / "still.mp4", Scene((Walk(one, ((0, 320, 240), (5, 320, 240)), 100),), 1, seed=1))
    installation.add("still", str(tmp_path / "still.mp4"))
    done = subprocess.run(
        [sys.executable, "-m", "producers.camera", "--snapshot", "still", "--out", tmp_path / "still.png"],
        env={**os.environ, **as_environment(installation.settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    [face] = answer["faces"]
    assert answer["size"] == [640, 480]
    x, y, width, height = face["box"]
    assert abs(x + width / 2 - 320) < 15
    assert abs(y + height / 2 - 240) < 15
    assert face["unfit"] is None
    drawn = cv2.imread(str(tmp_path / "still.png"))
    assert drawn.shape == (480, 640, 3)
    row = drawn[round(y) : round(y) + 3, round(x) + 5 : round(x + width) - 5]
    assert (row[..., 1] > row[..., 0]).mean() > 0.5, "the box is drawn in green"


def test_a_snapshot_of_a_camera_that_is_away_says_why_without_the_password(
    installation: Installation, tmp_path: Path
) -> None:
    installation.add("away", f"rtsp://guard:{PASSWORD}@127.0.0.1:1/x")
    done = subprocess.run(
        [sys.executable, "-m", "producers.camera", "--snapshot", "away", "--out", tmp_path / "x.png"],
        env={**os.environ, **as_environment(installation.settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69
    assert "refused" in done.stderr
    assert "rtsp://***@127.0.0.1:1/x" in done.stderr
    assert PASSWORD not in done.stderr
