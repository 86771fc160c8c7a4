"""The camera process: what it is made of, how it begins and ends.

    python -m producers.camera [--name NAME] [--most N] [--config FILE] [--home DIR]
    python -m producers.camera --snapshot CAMERA --out FILE.png

Several share the cameras between them (producers.camera.holding). Addresses come from the registry, so that no password
is ever on its command line.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import av
import cv2
import psutil

from kith.cameras import Camera
from kith.checkpoints import load_pack
from kith.client import Client
from kith.detector import open_detector
from kith.errors import CameraAway, InvalidPack, KithError, Misconfigured, Retryable
from kith.installation import check_running, settings_of
from kith.jobs import now_ms
from kith.ledger import WorkerBeat
from kith.metrics.instruments import Instruments
from kith.metrics.readiness import LastDone
from kith.metrics.watched_cameras import WatchedCameras
from kith.packs.shipped import default_pack, resolve_pack
from kith.settings import Settings
from producers.camera.eye import Alignment
from producers.camera.holding import Holding
from producers.camera.picking import PickingRule
from producers.camera.pressure import Pressure
from producers.camera.sending import Sending
from producers.camera.serving import Equipment, Serving
from producers.camera.snapshot import snapshot
from producers.camera.source import SourceOptions

_log = logging.getLogger("kith.camera")

#: Exit statuses of sysexits.h, as of the workers and the command line.
_UNAVAILABLE, _BAD_CONFIGURATION = 69, 78

#: Longer than a round may wait for Redis before it gives up; one that takes so long never ends.
_STUCK_S = 120.0

#: Set by a supervisor that wants its processes to end with it; holds its process id.
_SUPERVISOR = "KITH_SUPERVISOR_PID"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code of the process."""
    options = _options(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # libav's own words hold addresses, passwords included.
    av.logging.set_level(av.logging.PANIC)
    # Frames of many cameras are worked on at once; threads within one of them would only get in each other's way.
    cv2.setNumThreads(1)
    try:
        settings = settings_of(options.config, options.home)
        check_running(settings)
        with Client.open(settings) as client:
            if options.snapshot:
                return _take_snapshot(client, options.snapshot, options.out)
            with Instruments("camera", options.name) as shown:
                shown.listen(settings.metrics.address)
                return _serve(client, options.name, options.most or settings.camera.per_process, shown)
    except KithError as wrong:
        sys.stderr.write(f"producers.camera: {wrong}\n")
        if isinstance(wrong, Retryable):
            return _UNAVAILABLE
        return _BAD_CONFIGURATION if isinstance(wrong, Misconfigured | InvalidPack) else 1


def equipment(settings: Settings) -> Equipment:
    """What the cameras of this process share. Raises Misconfigured, InvalidPack."""
    named = settings.model.pack
    folder = default_pack() if named is None else resolve_pack(named, settings.home)
    if folder is None:
        raise Misconfigured("no model pack is named, whose detector finds the faces (KITH_MODEL__PACK, model.pack)")
    pack = load_pack(folder)
    detector = open_detector(pack, max_side=settings.camera.detect_px)
    if detector is None:
        raise Misconfigured(f"the model pack {folder} has no detector; cameras need one")
    knobs = settings.camera
    return Equipment(
        detector=detector,
        crops=Alignment(pack.input_size, pack.manifest.embedder.template),
        rule=PickingRule(most=knobs.crops_per_track, min_quality=knobs.min_quality, min_face_px=knobs.min_face_px),
        options=SourceOptions(
            open_s=knobs.open_s,
            stall_s=knobs.stall_s,
            late_s=knobs.late_s,
            frame_pixels=settings.limits.image_pixels,
        ),
        lost_s=knobs.lost_s,
        retry_s=knobs.retry_s,
        retry_max_s=knobs.retry_max_s,
        last_frame_s=knobs.last_frame_s,
    )


def _serve(client: Client, name: str, most: int, shown: Instruments) -> int:
    settings, stop = client.settings, threading.Event()
    measured = WatchedCameras(shown.registry)
    sending = Sending(client.sightings, client.intake, settings.jobs.live_expiry_s)
    shared = equipment(settings)
    # As workers are called; the end so that one that is started anew is never taken for the old one.
    process = f"{name}@{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
    bare = WorkerBeat(process, "camera", platform.node(), os.getpid(), now_ms(), now_ms())
    own = psutil.Process()
    turning = LastDone("no round of the cameras was begun", _STUCK_S)
    heard = LastDone("nobody has heard of this process", settings.worker.beat_lifetime_s)
    shown.readiness.lives_by("rounds", turning)
    shown.readiness.needs("state", heard)

    def beat() -> None:
        turning.done()
        client.ledger.beat(replace(bare, seen_ms=now_ms(), rss_mb=round(own.memory_info().rss / 1e6, 1)))
        heard.done()

    holding = Holding(
        process,
        # What it does by itself, to pause a recording that was played, nobody at the command line did.
        client.acting_as(f"process:{name}@{platform.node()}").cameras,
        client.queue,
        Pressure(settings.camera.max_waiting),
        lambda camera, changed, over: Serving(camera, shared, sending, changed=changed, ended=over),
        galleries=lambda: {info.name for info in client.galleries.galleries()},
        lease_s=settings.camera.lease_s,
        most=most,
        beat=beat,
        measured=measured,
    )

    def end(*_: object) -> None:
        stop.set()
        holding.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    threading.Thread(target=_end_with_supervisor, args=(stop, end), name="supervisor", daemon=True).start()
    sending.start()
    measured.shows(lambda: sending.waiting)
    shown.readiness.begin()
    _log.warning("process %s serves up to %d cameras", process, most)
    holding.run(stop)
    sending.stop()
    with contextlib.suppress(Retryable):
        client.ledger.sign_off(process)
    return 0


def _end_with_supervisor(stop: threading.Event, end: Callable[[], None]) -> None:
    supervisor = os.environ.get(_SUPERVISOR)
    while supervisor is not None and not stop.wait(1.0):
        if os.getppid() != int(supervisor):
            _log.warning("the supervisor is gone, ending too")
            end()


def _take_snapshot(client: Client, name: str, out: Path) -> int:
    camera: Camera = client.cameras.get(name)
    shared = equipment(client.settings)
    # As fast as possible: nobody waits for a clip to be played.
    options = replace(shared.options, transport=camera.transport, fast=True)
    try:
        taken = snapshot(camera, replace(shared, options=options))
    except CameraAway as away:
        raise CameraAway(f"camera {name} at {camera.shown}: {away}") from None
    try:
        taken.save(out)
    except OSError as fault:
        raise Misconfigured(f"{out} cannot be written: {fault.strerror}") from None
    height, width = taken.pixels.shape[:2]
    answer = {
        "camera": name,
        "size": [width, height],
        "file": str(out),
        "faces": [asdict(each) for each in taken.faces],
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m producers.camera", description="Serve cameras.")
    parser.add_argument("--name", default="camera", help="what it is called in lists")
    parser.add_argument("--most", type=_count, help="most cameras served (default: the setting camera.per_process)")
    parser.add_argument("--snapshot", metavar="CAMERA", help="take one frame, draw the faces in, and end")
    parser.add_argument("--out", metavar="FILE", type=_path, help="where the snapshot goes, as PNG")
    parser.add_argument("--config", type=_path, help="TOML file with settings")
    parser.add_argument("--home", type=_path, help="home of a local stack (default ~/.kith)")
    options = parser.parse_args(argv)
    if bool(options.snapshot) != bool(options.out):
        parser.error("--snapshot and --out belong together")
    return options


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of cameras above 0")
    return value
