"""Addresses of cameras: what is accepted, and that nothing secret of them is ever shown."""

from pathlib import Path

import pytest

from kith.camera_address import SourceKind, checked, kind_of, masked
from kith.errors import InvalidCamera


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("rtsp://10.0.0.2/stream1", SourceKind.RTSP),
        ("RTSPS://u:p@cam:322/a", SourceKind.RTSP),
        ("http://cam/video.mjpg", SourceKind.MJPEG),
        ("https://cam/live/index.M3U8?token=x", SourceKind.HLS),
        ("/dev/video0", SourceKind.DEVICE),
        ("/clips/hall.mp4", SourceKind.PATH),
        ("file:///clips/two%20people.mp4", SourceKind.PATH),
    ],
)
def test_an_address_says_how_its_pictures_come(address: str, kind: SourceKind) -> None:
    assert kind_of(checked(address)) is kind
    assert kind.recorded == (kind is SourceKind.PATH)


def test_a_path_is_kept_so_that_a_process_in_another_folder_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked("hall.mp4") == str(tmp_path / "hall.mp4")
    assert checked("file:///clips/two%20people.mp4") == "/clips/two people.mp4"


@pytest.mark.parametrize(
    "address",
    ["", " ", "ftp://user:hunter2@cam/x", "rtsp://", "rtsp://user:hunter2@/x", "rtsp://user:hunter2@cam:99999/x",
     "rtsp://cam/\nhunter2", "rtsp://cam/" + "x" * 3000],
)  # fmt: skip
def test_what_cannot_be_an_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(InvalidCamera) as refused:
        checked(address)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.2:554/stream1", "rtsp://***@10.0.0.2:554/stream1"),
        ("rtsp://hunter2@cam/s", "rtsp://***@cam/s"),
        ("rtsp://admin:hun%40ter2@cam/s", "rtsp://***@cam/s"),
        ("http://cam/video.cgi?user=admin&pwd=hunter2#hunter2", "http://cam/video.cgi?***"),
        ("rtsp://cam/user=admin&password=hunter2&channel=1.sdp", "rtsp://cam/***"),
        ("rtsp://cam/admin:hunter2/live", "rtsp://cam/***/live"),
        ("rtsp://cam/hunter2@door/live", "rtsp://cam/***/live"),
        ("rtsp://cam/live;hunter2", "rtsp://cam/***"),
        ("rtsp://cam/live&hunter2", "rtsp://cam/***"),
        ("rtsp://cam/user%3Dadmin_password%3Dhunter2/live", "rtsp://cam/***/live"),
        ("/clips/hall.mp4", "/clips/hall.mp4"),
        ("rtsp://cam/stream1", "rtsp://cam/stream1"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert masked(checked(address)) == shown
