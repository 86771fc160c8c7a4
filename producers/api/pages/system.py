"""System: queues, workers, cameras, what is done a second, and the jobs that nobody could do."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kith.cameras import CameraStatus
from kith.client import Client
from kith.errors import UnknownCamera
from kith.jobs import now_ms
from kith.ledger import DeadLetter
from kith.status import Status
from producers.api.pages.newest import newest
from producers.api.pages.page_route import PageRoute, by_script
from producers.api.pages.portraits import picture_url
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Administering, Reading, Visitor
from producers.api.problems import Problem
from producers.api.v1 import system as v1

router = APIRouter(route_class=PageRoute, include_in_schema=False)

DeadId = Annotated[str, Path(min_length=1, max_length=200)]

#: What was done to dead letters, by the word in the address.
_SAID = {
    "retried": "Tried again: what fails once more comes back here.",
    "dropped": "Deleted: that job will not be done.",
}

#: The last seconds that are counted, and decisions read for it at most.
_COUNTED_S, _MOST = 10.0, 2_000
#: Dead letters listed, and events looked at for the last face of each camera.
_LETTERS, _EVENTS = 20, 300


@dataclass(frozen=True, slots=True)
class Pace:
    """What the last seconds were like. per_s: decisions published a second; typical_ms, slow_ms: median and 95th
    percentile from the job's making to its decision, None when there was none."""

    per_s: float
    typical_ms: float | None
    slow_ms: float | None


@dataclass(frozen=True, slots=True)
class Watched:
    """A camera, its last frame and the last face it showed: addresses of the pictures, '' for none, and their times."""

    status: CameraStatus
    frame: str
    frame_ms: int | None
    picture: str
    seen_ms: int | None


@router.get("/system")
def system(request: Request, visitor: Reading, said: Annotated[str, Query(max_length=20)] = "") -> Response:
    """How it is now; a script asks for the part that changes alone."""
    visitor.caller.all_galleries()
    pages: Pages = request.app.state.pages
    client = visitor.client
    status = client.status()
    values: dict[str, Any] = {
        "now_ms": now_ms(),
        "status": status,
        "pace": pace(client),
        "cameras": _watched(client),
        "letters": _letters(client, visitor, status),
    }
    if by_script(request):
        return HTMLResponse(pages.part("_system.html", visitor=visitor, csrf=visitor.csrf, **values))
    return pages.page(request, "system.html", visitor, here="system", said=_SAID.get(said, ""), **values)


@router.post("/system/dead/{dead_id}/retry")
def retry(dead_id: DeadId, posted: Administering) -> Response:
    """Do the job once more."""
    v1.retry(dead_id, posted.caller)
    return RedirectResponse("/system?said=retried#dead", 303)


@router.post("/system/dead/{dead_id}/drop")
def drop(dead_id: DeadId, posted: Administering) -> Response:
    """Delete the letter for good, where that was ticked."""
    if not posted.has("sure"):
        raise Problem(422, "invalid_request", "the box was not ticked, so nothing was deleted", remedy="tick it")
    v1.drop(dead_id, posted.caller)
    return RedirectResponse("/system?said=dropped#dead", 303)


@router.post("/system/dead/retry-all")
def retry_all(posted: Administering) -> Response:
    """Those that are listed, once more."""
    posted.caller.all_galleries()
    for each in posted.visitor.client.ledger.dead_letters(_LETTERS):
        v1.retry(each.dead_id, posted.caller)
    return RedirectResponse("/system?said=retried#dead", 303)


@router.get("/system/cameras/{camera}/frame")
def frame(camera: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")], visitor: Reading) -> Response:
    """The last frame of a camera, where one is kept."""
    visitor.caller.all_galleries()
    found = visitor.client.cameras.last_frame(camera)
    if found is None:
        raise Problem(404, "not_found", f"no recent frame of camera {camera} is kept")
    return Response(found.data, media_type="image/jpeg")


def pace(client: Client) -> Pace:
    """Read off the newest decisions."""
    at_ms = now_ms()
    since_ms = at_ms - round(1000 * _COUNTED_S)
    entries = client.results.after(f"{since_ms}-0", limit=_MOST)
    if not entries:
        return Pace(0.0, None, None)
    last_ms = int(entries[-1].entry_id.partition("-")[0])
    # With more than were read, the time in which those came.
    within_s = _COUNTED_S if len(entries) < _MOST else max(0.001, (last_ms - since_ms) / 1000)
    taken = sorted(each.decision.decided_ms - each.decision.created_ms for each in entries)
    return Pace(len(entries) / within_s, taken[len(taken) // 2], taken[min(len(taken) - 1, len(taken) * 95 // 100)])


def _watched(client: Client) -> list[Watched]:
    cameras = client.cameras.statuses()
    if not cameras:
        return []
    shown = newest(
        lambda last, most: client.events.after(last, limit=most), now_ms(),
        lambda each: each.event.snapshot is not None and each.event.camera is not None, _EVENTS,
    )  # fmt: skip
    last: dict[str | None, tuple[str, int]] = {}
    for each in shown:
        last.setdefault(each.event.camera, (picture_url(each.event.snapshot or ""), each.event.at_ms))
    return [
        Watched(each, *_frame(client, each.camera.name), *last.get(each.camera.name, ("", None))) for each in cameras
    ]


def _frame(client: Client, camera: str) -> tuple[str, int | None]:
    try:
        frame = client.cameras.last_frame(camera)
    except UnknownCamera:
        # Removed since the list was read.
        return "", None
    return ("", None) if frame is None else (f"/system/cameras/{camera}/frame?at={frame.at_ms}", frame.at_ms)


def _letters(client: Client, visitor: Visitor, status: Status) -> list[DeadLetter] | None:
    """None for whoever may not see them."""
    if not visitor.may("admin"):
        return None
    return client.ledger.dead_letters(_LETTERS) if status.dead_letters else []
