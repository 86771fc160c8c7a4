"""Events: what the watcher tells of cameras, page by page, as server-sent events, or through a WebSocket."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from kith import wire
from kith.api_keys import Scope
from kith.errors import KithError
from kith.watching.event_log import EventEntry
from kith.watching.events import Event, EventKind
from producers.api.broadcasting import Broadcast, Told
from producers.api.callers import Callers, token_in
from producers.api.problems import Problem, of_error
from producers.api.shapes import Limit, Place, Reading, Wait, patience
from producers.api.sse import EventStream
from producers.api.streams import STREAM, LastEventId, OfCamera, OfGallery, filter_for, page, stream

router = APIRouter(prefix="/v1/events", tags=["events"])

#: What a WebSocket is closed with: try again later (IANA, WebSocket close codes).
_LATER = 1013


class Events(BaseModel):
    """Oldest first; each is an Event with its `entry_id`. `next`: give it as `after` for what follows. `more`: whether
    something does already."""

    items: list[dict[str, Any]]
    next: str
    more: bool


def told(entry: EventEntry) -> Told:
    """An event as it goes out."""
    return Told(entry.entry_id, entry.event.gallery, entry.event.camera, wire.to_json(entry.event))


@router.get("", response_model=Events)
def list_events(
    caller: Reading,
    after: Place = None,
    since_ms: Annotated[int | None, Query(ge=0, le=10**15 - 1, description="Told at this time or later.")] = None,
    limit: Limit = 100,
    wait: Wait = None,
    gallery: OfGallery = None,
    camera: OfCamera = None,
    kind: Annotated[EventKind | None, Query()] = None,
    subject: Annotated[str | None, Query(min_length=1, max_length=1000)] = None,
) -> Response:
    """A page of events. Read on with `after` = `next`, also when the page is empty; `wait` waits for new ones."""
    lets = filter_for(caller, gallery, camera)
    kept: dict[str, Event] = {}

    def read(last: str, most: int, wait_s: float) -> list[Told]:
        entries = caller.client.events.after(last, limit=most, block_s=wait_s)
        kept.update((entry.entry_id, entry.event) for entry in entries)
        return [told(entry) for entry in entries]

    def wanted(each: Told) -> bool:
        event = kept[each.entry_id]
        return lets(each) and kind in (None, event.kind) and subject in (None, event.subject)

    start = f"{since_ms - 1}-{10**15 - 1}" if after is None and since_ms else after
    return Response(page(read, start, wanted, limit, patience(caller, wait)), media_type="application/json")


@router.get("/stream", response_class=EventStream, responses=STREAM)
def follow(
    request: Request,
    caller: Reading,
    last_event_id: LastEventId = None,
    gallery: OfGallery = None,
    camera: OfCamera = None,
) -> EventStream:
    """Server-sent events `event`, as they are told; from where you were, with `Last-Event-ID`."""
    broadcast: Broadcast[EventEntry] = request.app.state.events
    return stream(request, broadcast, last_event_id, filter_for(caller, gallery, camera), "event")


@router.websocket("/ws")
async def socket(socket: WebSocket, after: Place = None, gallery: OfGallery = None, camera: OfCamera = None) -> None:
    """The same through a WebSocket: one JSON object a message, with its `entry_id`; `after` begins behind that one.

    The key comes in the headers, as everywhere, or for browsers, which cannot set any, as a subprotocol beside `kith`:
    `new WebSocket(url, ["kith", KEY])`.
    """
    offered = socket.scope.get("subprotocols", [])
    token = token_in(socket) or next((each for each in offered if each != "kith"), None)
    callers: Callers = socket.app.state.callers
    broadcast: Broadcast[EventEntry] = socket.app.state.events
    try:
        caller = await callers.admit(token, (Scope.READ,), socket.state.trace)
        lets = filter_for(caller, gallery, camera)
        broadcast.check_room()
    except (Problem, KithError) as refused:
        problem = refused if isinstance(refused, Problem) else of_error(refused)
        await problem.refuse(socket)
        return
    # Only what was offered may be chosen, and the key must not be told back.
    await socket.accept("kith" if "kith" in offered else None)
    try:
        async for each in broadcast.listen(after):
            if each is None:
                await socket.send_text("{}")
            elif lets(each):
                await socket.send_text(f'{{"entry_id":"{each.entry_id}",{each.text[1:]}')
        await socket.close(_LATER, "you do not keep up")
    except WebSocketDisconnect:
        return
    except KithError as away:
        await socket.close(_LATER, away.code)
