"""kith camera: what its verbs say and refuse, on a registry in memory."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from kith import cli
from kith.backends.cameras_memory import MemoryCameras
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.cameras import CameraReport, CameraState
from kith.cli import camera
from kith.errors import CameraTaken, InvalidCamera, UnknownCamera, UnknownGallery
from kith.jobs import Lane
from kith.settings import Settings

Run = Callable[..., Result]
ADDRESS = "rtsp://admin:hunter2@10.0.0.2/stream1"


@pytest.fixture
def cameras() -> MemoryCameras:
    return MemoryCameras()


@pytest.fixture
def run(cameras: MemoryCameras, monkeypatch: pytest.MonkeyPatch) -> Run:
    galleries = MemoryGalleryStore()
    for gallery in ("door", "hall"):
        galleries.create(gallery, model_id="m", dimension=4)
    settings = Settings(gallery={"default": "door"}, camera={"fps": 4.0})
    client = SimpleNamespace(cameras=cameras, galleries=galleries, settings=settings)
    monkeypatch.setattr(camera, "client_for", lambda _: nullcontext(client))

    def invoke(*words: str, ok: bool = True, typed: str | None = None) -> Result:
        result = CliRunner().invoke(cli.app, ["camera", *words], env={"COLUMNS": "200"}, input=typed)
        assert "hunter2" not in result.output, "whatever is asked, the password is not answered"
        if ok:
            assert result.exit_code == 0, (result.output, result.exception)
        return result

    return invoke


def test_a_camera_is_added_with_what_is_said_and_the_settings_for_the_rest(run: Run, cameras: MemoryCameras) -> None:
    run("add", "front", ADDRESS)
    added = cameras.get("front")
    assert (added.address, added.gallery, added.fps, added.lane) == (ADDRESS, "door", 4.0, Lane.LIVE)
    assert (added.roi, added.transport, added.fast) == (None, "tcp", False)
    words = (
        "--gallery",
        "hall",
        "--fps",
        "2.5",
        "--roi",
        "0.25,0,0.5,1",
        "--lane",
        "interactive",
        "--transport",
        "udp",
    )
    run("add", "back", ADDRESS, *words)
    added = cameras.get("back")
    assert (added.gallery, added.fps, added.roi, added.lane) == ("hall", 2.5, (0.25, 0, 0.5, 1), Lane.INTERACTIVE)
    assert added.transport == "udp"


def test_an_address_can_be_kept_off_the_command_line(run: Run, cameras: MemoryCameras) -> None:
    run("add", "front", "-", typed=f"{ADDRESS}\n")
    assert cameras.get("front").address == ADDRESS


def test_a_recording_as_fast_as_possible_is_not_live(run: Run, cameras: MemoryCameras, tmp_path: Path) -> None:
    run("add", "clip", str(tmp_path / "party.mp4"), "--fast")
    assert cameras.get("clip").lane is Lane.BULK


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("front", ADDRESS), CameraTaken),
        (("new", "ftp://x:hunter2@cam/1"), InvalidCamera),
        (("new", ADDRESS, "--roi", "0.5,0.5,0.9,0.9"), InvalidCamera),
        (("new", ADDRESS, "--fast"), InvalidCamera),
        (("new", ADDRESS, "--gallery", "absent"), UnknownGallery),
        (("new", ADDRESS, "--roi", "a,b"), SystemExit),
        (("new", ADDRESS, "--fps", "900"), SystemExit),
    ],
)
def test_what_cannot_be_added_is_refused(run: Run, words: tuple[str, ...], error: type[BaseException]) -> None:
    run("add", "front", ADDRESS)
    refused = run("add", *words, ok=False)
    assert isinstance(refused.exception, error), refused.exception
    assert "hunter2" not in str(refused.exception)


def test_cameras_are_listed_with_state_since_and_why(run: Run, cameras: MemoryCameras) -> None:
    assert "no cameras yet" in run("list").stderr
    run("add", "front", ADDRESS)
    run("add", "back", "/dev/video0")
    cameras.share("p", 60, 9)
    cameras.report("p", "front", CameraReport(CameraState.AWAY, 1, 2, why="Connection refused", tracks=3), {})
    run("pause", "back", "--why", "night")
    shown = run("list").stdout
    assert "rtsp://***@10.0.0.2/stream1" in shown
    for words in ("front", "away", "Connection refused", "back", "paused", "night"):
        assert words in shown
    plain = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [(each["camera"]["name"], each["state"]) for each in plain] == [("back", "paused"), ("front", "away")]


def test_one_is_shown_with_what_was_counted_and_why_it_was_dropped(run: Run, cameras: MemoryCameras) -> None:
    run("add", "front", ADDRESS, "--roi", "0,0,1,0.5")
    cameras.share("p", 60, 9)
    counts = {"received": 300, "frames": 100, "looked_at": 40, "faces": 55, "tracks": 3, "sent": 12}
    counts |= {"dropped_late": 7, "dropped_withheld": 2, "us_decode": 30_000, "us_detect": 970_000}
    cameras.report("p", "front", CameraReport(CameraState.LIVE, 1, 2, size=(640, 480), pressure=2), counts)
    shown = run("show", "front").stdout
    for words in (
        *("front: live since", "rtsp://***@10.0.0.2/stream1 (tcp)", "region 0,0,1,0.5", "640×480 pixels", "pressure 2"),
        *(
            "300 received, 100 due, 40 searched",
            "55 faces in 3 tracks",
            "12 crops",
            "7 frames of the past",
            "2 crops not",
        ),
        "CPU        10.0 ms a frame: detect 97%, decode 3%",
    ):
        assert words in shown
    assert json.loads(run("show", "front", "--json").stdout)["counts"] == counts


def test_pause_resume_and_remove(run: Run, cameras: MemoryCameras) -> None:
    run("add", "front", ADDRESS)
    assert "nobody served it" in run("pause", "front").stdout
    assert "goes on" in run("resume", "front").stdout
    assert "was not paused" in run("resume", "front").stdout
    run("remove", "front")
    for verb in ("show", "pause", "resume", "remove", "test"):
        refused = run(verb, "front", ok=False)
        assert isinstance(refused.exception, UnknownCamera)
