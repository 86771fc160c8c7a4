"""kith camera, kith cameras: which cameras there are, how they are, and the process that serves them."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kith.applications import application_root, process_environment
from kith.cameras import MAX_FPS, Camera, CameraStatus
from kith.cli.camera_screen import answer_snapshot, show_cameras, show_status
from kith.cli.exits import Exit
from kith.cli.terminal import Gallery, Json, answer, answer_json, client_for, say, settings_for
from kith.cli.up import with_pack
from kith.installation import check_running
from kith.jobs import Lane, now_ms

app = typer.Typer()
_camera = typer.Typer(no_args_is_help=True, help="Cameras: add, list, show, test, pause, resume, remove.")
_cameras = typer.Typer(no_args_is_help=True, help="The process that serves cameras.")
app.add_typer(_camera, name="camera", rich_help_panel="Cameras")
app.add_typer(_cameras, name="cameras", rich_help_panel="Cameras")

_Name = Annotated[str, typer.Argument(metavar="CAMERA", help="The camera's name.", show_default=False)]


def _region(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text} is not X,Y,WIDTH,HEIGHT in shares of the frame, such as 0.25,0,0.5,1"
        ) from None
    return x, y, width, height


@_camera.command()
def add(
    context: typer.Context,
    name: _Name,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="rtsp://…, http://… (MJPEG, or HLS when it ends with .m3u8), /dev/video0, a video file, a folder of "
            "pictures; - to be asked for it, or to read it from standard input.",
            show_default=False,
        ),
    ],
    gallery: Gallery = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, max=MAX_FPS, help="Frames looked at a second (default: camera.fps).")
    ] = None,
    roi: Annotated[
        Any, typer.Option("--roi", metavar="X,Y,W,H", parser=_region, help="Only this part, in shares of the frame.")
    ] = None,
    lane: Annotated[
        Lane | None, typer.Option("--lane", help="How urgent it is (default live; with --fast bulk).")
    ] = None,
    transport: Annotated[Literal["tcp", "udp"], typer.Option(help="Of RTSP.")] = "tcp",
    fast: Annotated[
        bool, typer.Option("--fast", help="Play a recording as fast as possible, not in its time.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch one more camera; the process of `kith up`, or `kith cameras run`, serves it within seconds.

    \b
    kith camera add front rtsp://10.0.0.2/stream1 --gallery staff
    kith camera add front - < address.txt            so that no password is on a command line
    kith camera add clip party.mp4 --fast            a recording, once

    The address is kept in Redis, passwords included, and shown nowhere.
    """
    if address == "-":
        address = typer.prompt("address", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    with client_for(context) as client:
        camera = Camera(
            name=name,
            address=address,
            gallery=gallery or client.settings.gallery.default,
            fps=fps or client.settings.camera.fps,
            roi=roi,
            lane=lane or (Lane.BULK if fast else Lane.LIVE),
            transport=transport,
            fast=fast,
            added_ms=now_ms(),
        )
        # Crops for a gallery that is not there would all become dead letters. Raises UnknownGallery.
        client.galleries.info(camera.gallery)
        client.cameras.add(camera)
    if as_json:
        answer_json(plain_camera(camera))
    else:
        answer(f"camera {name} at {camera.shown} is added, for gallery {camera.gallery} (kith camera show {name})")


@_camera.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All cameras by name, how each is, since when and why; with --json one line each."""
    with client_for(context) as client:
        found = client.cameras.statuses()
    if as_json:
        for each in found:
            answer_json(plain_status(each))
    elif found:
        show_cameras(found)
    else:
        say("no cameras yet: kith camera add NAME ADDRESS")


@_camera.command()
def show(context: typer.Context, name: _Name, as_json: Json = False) -> None:
    """One camera: what it does, what was counted, what was dropped and why, where its CPU time goes."""
    with client_for(context) as client:
        found = client.cameras.status(name)
    if as_json:
        answer_json(plain_status(found))
    else:
        show_status(found)


@_camera.command()
def pause(
    context: typer.Context,
    name: _Name,
    why: Annotated[str | None, typer.Option("--why", help="Shown to whoever asks how it is.")] = None,
) -> None:
    """Serve a camera no more, until `kith camera resume`."""
    with client_for(context) as client:
        served = client.cameras.pause(name, why)
    answer(f"camera {name} is paused" if served else f"camera {name} is paused; nobody served it")


@_camera.command()
def resume(context: typer.Context, name: _Name) -> None:
    """Serve a paused camera again; a recording is played from its beginning."""
    with client_for(context) as client:
        paused = client.cameras.resume(name)
    answer(f"camera {name} goes on" if paused else f"camera {name} was not paused")


@_camera.command()
def remove(context: typer.Context, name: _Name) -> None:
    """Watch a camera no more. What was seen by it is kept (kith events); its address is erased."""
    with client_for(context) as client:
        client.cameras.remove(name)
    answer(f"camera {name} is removed")


@_camera.command("test")
def try_(
    context: typer.Context,
    name: _Name,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the picture goes (default CAMERA.png).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take one frame now, draw the faces found in it, and save that as PNG; needs the extra `camera`.

    Each face is judged as in service: green would be recognised, orange would not, with the reason.
    """
    out = (out or Path(f"{name}.png")).expanduser().absolute()
    with client_for(context) as client:
        client.cameras.get(name)
        settings = with_pack(client.settings, None)
    command = [sys.executable, "-m", "producers.camera", "--snapshot", name, "--out", str(out)]
    done = subprocess.run(
        command,
        cwd=application_root(),
        env=process_environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        say(f"kith: {done.stderr.strip().removeprefix('producers.camera: ') or 'the camera process ended'}")
        # The same table of statuses, of the process that tried.
        raise typer.Exit(done.returncode if done.returncode in set(Exit) else Exit.BUG)
    taken = json.loads(done.stdout)
    if as_json:
        answer_json(taken)
    else:
        answer_snapshot(taken)


@_cameras.command()
def run(
    context: typer.Context,
    most: Annotated[int | None, typer.Option(min=1, help="Most cameras served (default: camera.per_process).")] = None,
) -> None:
    """Serve cameras until Ctrl-C; started several times, on one machine or many, the processes share them.

    `kith up` runs one when there are cameras. A process that dies is replaced by the others within 15 s.
    """
    settings = settings_for(context)
    check_running(settings)
    root, environment = application_root(), process_environment(with_pack(settings, None))
    command = [sys.executable, "-m", "producers.camera", *(["--most", str(most)] if most else [])]
    sys.stdout.flush()
    os.chdir(root)
    # In our place: signals and exit statuses are its own.
    os.execve(sys.executable, command, environment)  # noqa: S606 (no shell)


def plain_camera(camera: Camera) -> dict[str, Any]:
    """A camera as plain JSON, its address without what is secret."""
    return {**asdict(camera), "address": camera.shown}


def plain_status(status: CameraStatus) -> dict[str, Any]:
    """What is known of a camera, as plain JSON."""
    return {**asdict(status), "camera": plain_camera(status.camera)}
