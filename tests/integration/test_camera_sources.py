"""Where cameras' pictures come from, each the real thing: an RTSP server, MJPEG and HLS over HTTP, files, folders."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import pytest

from kith.camera_address import kind_of
from kith.errors import CameraAway, Misconfigured
from producers.camera.counts import Counts
from producers.camera.frame import Frame
from producers.camera.source import SourceOptions, source_of
from producers.camera.thinning import Thinning
from producers.rehearsal.clip import write_clip
from producers.rehearsal.rtsp_server import RtspServer
from tests.camera_clips import counted_frames, number_in
from tests.servers.fixtures import missing
from tests.servers.http_video import HttpVideo

FPS = 20


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "front.mp4", counted_frames(60), FPS)
    write_clip(folder / "small.mp4", counted_frames(20, 304, 160), FPS)
    return folder


@pytest.fixture(scope="module")
def rtsp(clips: Path) -> Iterator[RtspServer]:
    server = RtspServer(clips, user="guard", password="hunter2")
    try:
        yield server.start()
    except Misconfigured as absent:
        missing("RTSP server", absent)
    finally:
        server.stop(kill=True)


class Watched:
    """Frames of one opening, with what was counted."""

    def __init__(self, address: str, fps: float = 1e6, **options: object) -> None:
        self.counts, self.stop = Counts(), threading.Event()
        chosen = SourceOptions(**{"open_s": 5.0, "stall_s": 1.0, **options})  # type: ignore[arg-type]
        self.frames: Iterator[Frame] = source_of(
            address, chosen, Thinning(fps, self.counts), self.counts, self.stop
        ).frames()

    def numbers(self, most: int | None = None) -> list[int]:
        return [number_in(frame.picture.rgb()) for frame in itertools.islice(self.frames, most)]

    def to_the_end(self) -> tuple[list[int], CameraAway]:
        """All frames until it says why there are no more."""
        numbers: list[int] = []
        with pytest.raises(CameraAway) as away:
            numbers.extend(number_in(frame.picture.rgb()) for frame in self.frames)
        return numbers, away.value


@pytest.mark.needs("RTSP server")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_brings_each_frame_in_order_and_its_end_is_no_end(rtsp: RtspServer, transport: str) -> None:
    numbers, away = Watched(rtsp.url("front"), transport=transport, stall_s=3.0).to_the_end()

    # The end of a frame is seen by the next one's beginning: over UDP, the last one may still wait for it.
    assert numbers in ([list(range(60))] if transport == "tcp" else [list(range(60)), list(range(59))])
    # Over UDP nobody says good-bye to a reader in time; either way it is a source to open again.
    assert "ended" in str(away) or "nothing came" in str(away)


@pytest.mark.needs("RTSP server")
def test_a_wrong_password_is_told_without_the_password(rtsp: RtspServer) -> None:
    numbers, away = Watched(rtsp.url("front").replace("hunter2", "hunter3")).to_the_end()

    assert numbers == []
    assert "401" in str(away) or "nauthorized" in str(away)
    assert "hunter" not in str(away) + repr(away)
    assert away.__cause__ is None


@pytest.mark.needs("RTSP server")
def test_silence_on_an_open_connection_is_noticed(clips: Path, rtsp: RtspServer) -> None:
    watched = Watched(rtsp.url("front"), stall_s=3.0)
    assert watched.numbers(5) == [0, 1, 2, 3, 4]
    rtsp.freeze()
    try:
        began_s = time.monotonic()
        _, away = watched.to_the_end()
    finally:
        rtsp.thaw()
    assert "though the connection is open" in str(away)
    # libav hands out a frame it had kept when its time is up; that is no sign of life.
    assert time.monotonic() - began_s < 5.5


@pytest.mark.needs("RTSP server")
def test_what_was_held_up_on_the_way_is_of_the_past_and_is_not_looked_at(rtsp: RtspServer) -> None:
    """The server sleeps for a second and a half and then sends what it owes, at once."""
    watched = Watched(rtsp.url("front"), stall_s=5.0, late_s=0.5)
    seen = watched.numbers(10)
    rtsp.freeze()
    time.sleep(1.5)
    rtsp.thaw()
    later, _ = watched.to_the_end()
    counts = watched.counts.take()
    assert seen == list(range(10))
    assert later == sorted(later)
    assert later[-1] == 59
    assert counts["dropped_late"] >= 8
    assert len(later) + counts["dropped_late"] == 50, "each of them was either in time or counted"


@pytest.mark.needs("RTSP server")
def test_a_server_that_dies_is_a_stream_that_ends_and_is_there_again_when_it_is_back(
    clips: Path, rtsp: RtspServer
) -> None:
    watched = Watched(rtsp.url("front"))
    assert watched.numbers(5) == [0, 1, 2, 3, 4]
    rtsp.stop(kill=True)
    try:
        watched.to_the_end()
        _, refused = Watched(rtsp.url("front")).to_the_end()
        assert "refused" in str(refused)
    finally:
        rtsp.start()
    assert Watched(rtsp.url("front")).numbers(5) == [0, 1, 2, 3, 4]


def jpegs(frames: Iterator[object], quality: int = 90) -> list[bytes]:
    return [
        cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for frame in frames
    ]  # type: ignore[index]


@pytest.mark.parametrize(
    ("parts", "shown", "why"),
    [
        (lambda some, _: some, 20, ""),
        (lambda some, _: [*some[:10], None], 10, "though the connection is open"),
        (lambda some, _: [*some[:10], *[b"no jpeg at all" * 50] * 100], 10, "no frame that can be decoded"),
        (lambda some, other: some[:10] + other, 10, "changed from 320×240 to 304×160"),
    ],
    ids=["ends", "stalls", "garbage", "other size"],
)
def test_mjpeg_over_http_brings_its_frames_and_says_why_no_more(
    tmp_path: Path, parts: Callable[[list[bytes], list[bytes]], list[bytes | None]], shown: int, why: str
) -> None:
    sent = parts(jpegs(counted_frames(20)), jpegs(counted_frames(10, 304, 160)))
    with HttpVideo(tmp_path, lambda: iter(sent), fps=50) as camera:
        numbers, away = Watched(camera.url("mjpeg?key=hunter2")).to_the_end()
    # What libav needs to tell one stream from another, and to see that a part is complete, may cost the last one.
    assert numbers in (list(range(shown)), list(range(shown - 1)))
    # What libav says of a server that hangs up in the middle of things is its own.
    assert why in str(away)
    assert str(away)
    assert "hunter2" not in str(away)


def test_of_mjpeg_only_what_is_looked_at_is_decoded(tmp_path: Path) -> None:
    with HttpVideo(tmp_path, lambda: iter(jpegs(counted_frames(40))), fps=40) as camera:
        watched = Watched(camera.url("mjpeg"), fps=5)
        numbers, _ = watched.to_the_end()
    assert 4 <= len(numbers) <= 7
    assert watched.counts.take()["received"] == pytest.approx(40, abs=2)


@pytest.mark.parametrize("answer", ["text", "empty", "absent"])
def test_an_answer_that_is_no_video_is_refused_in_words(tmp_path: Path, answer: str) -> None:
    (tmp_path / "text").write_text("<html>Log in first</html>" * 200)
    (tmp_path / "empty").write_text("")
    with HttpVideo(tmp_path) as camera:
        numbers, away = Watched(camera.url(answer)).to_the_end()
    assert numbers == []
    assert str(away)
    assert "hunter2" not in str(away)


def test_hls_is_played_in_its_own_time(clips: Path, tmp_path: Path) -> None:
    options = {"hls_time": "1", "hls_list_size": "0", "hls_flags": "independent_segments"}
    with (
        av.open(str(tmp_path / "live.m3u8"), "w", format="hls", options=options) as out,
        av.open(str(clips / "front.mp4")) as clip,
    ):
        stream = out.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with HttpVideo(tmp_path) as server:
        watched = Watched(server.url("live.m3u8"))
        began_s = time.monotonic()
        numbers, away = watched.to_the_end()
        took_s = time.monotonic() - began_s
    assert numbers == list(range(60))
    assert "ended" in str(away)
    assert 2.8 < took_s < 30


def test_a_playlist_from_the_network_names_no_file_of_this_machine(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "live.m3u8").write_text(f"#EXTM3U\n#EXTINF:3,\nfile://{clips}/front.mp4\n#EXT-X-ENDLIST\n")
    with HttpVideo(tmp_path) as server:
        numbers, _ = Watched(server.url("live.m3u8")).to_the_end()
    assert numbers == []


def test_a_file_as_fast_as_possible_keeps_its_own_times_and_ends(clips: Path) -> None:
    began_s = time.monotonic()
    frames = list(Watched(str(clips / "front.mp4"), fps=5, fast=True).frames)

    # In real time it takes three.
    assert time.monotonic() - began_s < 2.9
    assert [number_in(frame.picture.rgb()) for frame in frames] == list(range(0, 60, 4))
    assert [round(frame.at_s, 2) for frame in frames] == [round(0.2 * n, 2) for n in range(15)]
    # It is in the past: it ended when it was opened.
    assert frames[-1].at_ms <= time.time() * 1000


def test_a_file_in_real_time_takes_its_time_and_can_be_stopped(clips: Path) -> None:
    began_s = time.monotonic()
    watched = Watched(str(clips / "front.mp4"), fps=10)
    assert watched.numbers(11) == list(range(0, 21, 2))
    assert 0.9 < time.monotonic() - began_s < 30
    watched.stop.set()
    assert list(watched.frames) == []


def test_a_folder_of_pictures_is_played_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, data in enumerate(jpegs(counted_frames(12))):
        (tmp_path / f"frame{number}.jpg").write_bytes(data)
    (tmp_path / "frame3.jpg").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("no picture")
    watched = Watched(str(tmp_path), fps=5, fast=True)
    assert watched.numbers() == [0, 1, 2, *range(4, 12)]
    assert watched.counts.take() == {"received": 12, "dropped_undecodable": 1}


@pytest.mark.parametrize("name", ["absent.mp4", "notes.txt", "empty"])
def test_a_path_that_holds_no_pictures_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    numbers, away = Watched(str(tmp_path / name)).to_the_end()
    assert numbers == []
    assert str(away)


def test_a_device_that_is_not_there_says_so() -> None:
    assert kind_of("/dev/video63").value == "device"
    _, away = Watched("/dev/video63").to_the_end()
    assert "No such file" in str(away)
