"""Cameras at the command line: added, served by `kith up` and by a second process, looked at, tested, removed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.client import Client
from kith.errors import Misconfigured
from kith.jobs import Decision
from kith.packs.shipped import default_pack
from kith.settings import load
from kith.stack import local_settings
from producers.rehearsal.clip import write_scene
from producers.rehearsal.rtsp_server import RtspServer
from producers.rehearsal.scene import Scene, Walk
from tests.camera_clips import portraits
from tests.e2e.conftest import Kith, processes_of, wait_for
from tests.servers.fixtures import missing

pytestmark = [pytest.mark.needs("RTSP server"), pytest.mark.needs("shared data")]

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def rtsp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    """hall: somebody who walks to and fro for twenty seconds."""
    folder = tmp_path_factory.mktemp("clips")
    path = tuple((float(second), 100.0 if second % 8 == 0 else 540.0, 220.0) for second in range(0, 21, 4))
    write_scene(folder / "hall.mp4", Scene((Walk(list(portraits().values())[50][2:], path, 90),), 20, seed=2))
    server = RtspServer(folder, user="guard", password=PASSWORD)
    try:
        yield server.start()
    except Misconfigured as absent:
        missing("RTSP server", absent)
    finally:
        server.stop(kill=True)


def seen(client: Client) -> list[Decision]:
    return [entry.decision for entry in client.results.after("0", limit=1000) if entry.decision.seen is not None]


def test_a_camera_from_add_to_remove(rtsp: RtspServer, tmp_path: Path) -> None:
    if default_pack() is None:
        missing("kith-small", "the shipped pack is not here")
    kith = Kith(tmp_path / "home")
    person = list(portraits().values())[50]
    with kith.start("up", KITH_CAMERA__LEASE_S="4") as up:
        up.until("Ctrl-C ends it")
        for photo in person[:2]:
            kith("enrol", "Ada", photo.file, "--gallery", "door")
        added = kith("camera", "add", "hall", rtsp.url("hall"), "--gallery", "door", "--json")
        assert added.json["address"] == f"rtsp://***@127.0.0.1:{rtsp.port}/hall"
        up.until("camera-1 has cameras to serve, starting it")
        wait_for(lambda: kith("camera", "list", "--json").lines[0]["state"] == "live", "the camera is live", 90.0)

        with Client.open(local_settings(load(), kith.home)) as client:
            wait_for(lambda: any(each.subject == "Ada" for each in seen(client)), "somebody is recognised", 60)
            [first, *_] = seen(client)
            assert first.seen is not None
            assert first.seen.camera == "hall"
        shown = kith("camera", "show", "hall").out
        assert "hall: live since" in shown
        assert "640×480 pixels" in shown
        picture = tmp_path / "hall.png"
        assert "would be sent" in kith("camera", "test", "hall", "--out", picture).out
        assert picture.read_bytes().startswith(b"\x89PNG")

        kith("camera", "add", "other", rtsp.url("hall"), "--gallery", "door")
        with kith.start("cameras", "run") as second:
            second.until("serving camera")
            wait_for(lambda: len({each["process"] for each in kith("camera", "list", "--json").lines}) == 2, "one each")
            assert second.end() == 0
        kith("camera", "pause", "hall", "--why", "enough")
        assert kith("camera", "list", "--json").lines[0]["why"] == "enough"
        kith("camera", "remove", "hall")
        kith("camera", "remove", "other")
        refused = kith("camera", "test", "hall", status=1)
        assert "there is no camera hall" in refused.err
        log = (kith.home / "logs" / "camera-1.log").read_text()
        said = "\n".join([*up.lines, *second.lines, shown, log])
        assert PASSWORD not in said
        assert up.end() == 0, up.lines
    time.sleep(0.1)
    assert processes_of(kith.home) == []


def test_without_a_detector_the_camera_process_says_so_and_stays_down(kith: Kith) -> None:
    """The stack that all these tests share runs a pack without one."""
    kith("gallery", "create", "seen", "--model", "m", "--dimension", "4")
    kith("camera", "add", "nobody", "/dev/video63", "--gallery", "seen")
    log = kith.home / "logs" / "camera-1.log"
    wait_for(lambda: log.exists() and "has no detector" in log.read_text(), "it says why")
    kith("camera", "remove", "nobody")
