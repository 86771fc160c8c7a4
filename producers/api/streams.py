"""Streams as callers read them: pages with a cursor, server-sent events that begin where a caller was, a socket."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Header, Query
from starlette.requests import Request

from kith.errors import KithError
from producers.api.broadcasting import Broadcast, Told
from producers.api.callers import Caller
from producers.api.problems import of_error
from producers.api.sse import PING, EventStream, event

LastEventId = Annotated[
    str | None,
    Header(pattern=r"^\d{1,15}-\d{1,15}$", description="The last event you had: what followed it is sent first."),
]
OfGallery = Annotated[
    str | None, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Only of this gallery.", examples=["staff"])
]
OfCamera = Annotated[
    str | None, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Only of this camera.", examples=["front"])
]

#: How an event stream is described.
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}

#: Entries read at a time for a page, and looked at at all.
_PAGE, _MOST_LOOKED_AT = 500, 5000

Lets = Callable[[Told], bool]


def filter_for(caller: Caller, gallery: str | None, camera: str | None = None) -> Lets:
    """What a caller is told: of the galleries of the key, and of those of what was asked for. Raises Problem."""
    if gallery is not None:
        caller.gallery(gallery)
    return lambda told: (
        gallery in (None, told.gallery) and camera in (None, told.camera) and caller.key.sees(told.gallery)
    )


def stream(request: Request, broadcast: Broadcast[Any], last: str | None, lets: Lets, name: str) -> EventStream:
    """Server-sent events. The ids are places in the stream, for Last-Event-ID. Raises Problem."""
    broadcast.check_room()
    return EventStream(_parts(request, broadcast, last, lets, name))


def page(
    read: Callable[[str, int, float], Sequence[Told]], after: str | None, lets: Lets, limit: int, wait_s: float
) -> bytes:
    """A page as JSON: `items`, each with its `entry_id`; `next`, to be given as `after`; whether there was `more`.

    At most `_MOST_LOOKED_AT` entries are looked at: a page of a rare kind may be short, or empty, and yet have more.
    """
    found: list[Told] = []
    last, looked, more = after or "0", 0, True
    while more and len(found) < limit and looked < _MOST_LOOKED_AT:
        # Only the first look waits: whoever has something to tell tells it.
        entries = read(last, _PAGE, wait_s if looked == 0 else 0.0)
        more = len(entries) == _PAGE
        looked += len(entries)
        for each in entries:
            last = each.entry_id
            if lets(each):
                found.append(each)
                if len(found) == limit:
                    more = more or each is not entries[-1]
                    break
    items = ",".join(f'{{"entry_id":"{each.entry_id}",{each.text[1:]}' for each in found)
    return f'{{"items":[{items}],"next":"{last}","more":{json.dumps(more)}}}'.encode()


async def _parts(
    request: Request, broadcast: Broadcast[Any], last: str | None, lets: Lets, name: str
) -> AsyncIterator[bytes]:
    try:
        if last is None:
            last = await to_thread.run_sync(broadcast.position)
        # At once: the caller's client knows that it is connected, after how long to come back, and where to: cut off
        # before the first event it would else miss what is told meanwhile.
        yield f"retry: 2000\nid: {last}\n\n".encode()
        async for told in broadcast.listen(last):
            if told is None:
                yield PING
            elif lets(told):
                yield event(told.text, name=name, entry_id=told.entry_id)
    except KithError as away:
        problem = of_error(away).body(request.state.trace.request_id, request.url.path)
        yield event(json.dumps(problem), name="problem")
