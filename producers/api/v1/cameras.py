"""Cameras: which are watched, how they are, and whether they pause. Addresses are shown without their passwords."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from kith.cameras import MAX_FPS, Camera, CameraReport, CameraState, CameraStatus
from kith.errors import UnknownCamera
from kith.jobs import Lane, now_ms
from producers.api.callers import Caller
from producers.api.shapes import Administering, Reading
from producers.api.submissions import Flag, GalleryName, Number

router = APIRouter(prefix="/v1/cameras", tags=["cameras"])

_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
CameraName = Annotated[str, Path(pattern=_NAME, description="The camera's name.", examples=["front"])]
Share = Annotated[Number, Field(ge=0, le=1)]


class NewCamera(BaseModel):
    """A camera to watch. `address`: rtsp://…, http://… (MJPEG, or HLS when it ends with .m3u8), or what the machine of
    the camera process has: a device, a file, a folder. `roi`: x, y, width, height in shares of the frame."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=_NAME, examples=["front"])]
    address: Annotated[str, Field(min_length=1, max_length=2048, examples=["rtsp://10.0.0.2/stream1"])]
    gallery: GalleryName | None = None
    fps: Annotated[Number, Field(ge=0.01, le=MAX_FPS)] | None = None
    roi: tuple[Share, Share, Share, Share] | None = None
    lane: Lane | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    fast: Annotated[Flag, Field(description="Play a recording as fast as possible.")] = False


class Pausing(BaseModel):
    """Why, for whoever asks how it is."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str | None, Field(max_length=200)] = None


class CameraView(BaseModel):
    """A camera with how it is. `since_ms`: when this state began; `counts`: since it was added."""

    name: str
    address: str
    gallery: str
    fps: float
    roi: tuple[float, float, float, float] | None = None
    lane: Lane
    transport: str
    fast: bool
    added_ms: int
    state: CameraState
    since_ms: int
    why: str | None = None
    process: str | None = None
    report: CameraReport | None = None
    counts: dict[str, int] = {}


class Cameras(BaseModel):
    """By name."""

    cameras: list[CameraView]


@router.get("", response_model=Cameras)
def list_cameras(caller: Reading) -> Response:
    """All cameras of the key's galleries, and how each is."""
    found = [each for each in caller.client.cameras.statuses() if caller.key.sees(each.camera.gallery)]
    return JSONResponse({"cameras": [_view(each) for each in found]})


@router.post("", status_code=201, response_model=CameraView)
def add(body: NewCamera, caller: Administering) -> Response:
    """Watch one more camera; the camera process serves it within seconds."""
    client, knobs = caller.client, caller.settings.camera
    gallery = caller.gallery(body.gallery)
    client.galleries.info(gallery)
    camera = Camera(
        name=body.name,
        address=body.address,
        gallery=gallery,
        fps=body.fps or knobs.fps,
        roi=body.roi,
        lane=body.lane or (Lane.BULK if body.fast else Lane.LIVE),
        transport=body.transport,
        fast=body.fast,
        added_ms=now_ms(),
    )
    client.cameras.add(camera)
    status = _view(client.cameras.status(body.name))
    return JSONResponse(status, 201, {"location": f"/v1/cameras/{body.name}"})


@router.get("/{name}", response_model=CameraView)
def show(name: CameraName, caller: Reading) -> Response:
    """One camera: what it does, what was counted, what was dropped and why."""
    _own(caller, name)
    return JSONResponse(_view(caller.client.cameras.status(name)))


@router.delete("/{name}", status_code=204)
def remove(name: CameraName, caller: Administering) -> Response:
    """Watch a camera no more. What was seen by it is kept; its address is erased."""
    _own(caller, name)
    caller.client.cameras.remove(name)
    return Response(status_code=204)


@router.post("/{name}/pause", response_model=CameraView)
def pause(name: CameraName, body: Pausing, caller: Administering) -> Response:
    """Serve a camera no more, until it is resumed."""
    _own(caller, name)
    caller.client.cameras.pause(name, body.why)
    return JSONResponse(_view(caller.client.cameras.status(name)))


@router.post("/{name}/resume", response_model=CameraView)
def resume(name: CameraName, caller: Administering) -> Response:
    """Serve a paused camera again."""
    _own(caller, name)
    caller.client.cameras.resume(name)
    return JSONResponse(_view(caller.client.cameras.status(name)))


def _own(caller: Caller, name: str) -> Camera:
    camera = caller.client.cameras.get(name)
    if not caller.key.sees(camera.gallery):
        raise UnknownCamera(f"there is no camera {name}")
    return camera


def _view(status: CameraStatus) -> dict[str, Any]:
    camera = asdict(status.camera)
    for internal in ("paused", "paused_why", "paused_ms", "wire"):
        del camera[internal]
    known = {
        **camera,
        "address": status.camera.shown,
        "state": status.state,
        "since_ms": status.since_ms,
        "why": status.why,
        "process": status.process,
        "report": None if status.report is None else asdict(status.report),
        "counts": dict(status.counts),
    }
    return {name: value for name, value in known.items() if value is not None}
