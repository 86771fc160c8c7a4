"""What the door tells Prometheus (docs/metrics.md), at an address of its own: how requests went, by the pattern of
their address; and whether the process goes on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kith.metrics.readiness import LastDone, Readiness
from kith.metrics.requests import Requests
from producers.api.tracing import route_of

#: How often the event loop is seen to turn, and the silence after which it counts as stuck. What holds it up for a
#: moment (a large body, a garbage collection) is no reason to start the process again.
_TURN_EVERY_S, _STUCK_S = 1.0, 60.0

#: The first word of an answer, and the status where the message has none.
_BEGINS = {
    "http.response.start": 0,
    "websocket.http.response.start": 0,
    "websocket.accept": 101,
    # Before it was accepted: servers answer so.
    "websocket.close": 403,
}


class Metering:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, took_s = 0, None
        came_s = time.perf_counter()
        self._requests.arrived()

        async def timed(message: Message) -> None:
            nonlocal status, took_s
            if took_s is None and (begins := _BEGINS.get(message["type"])) is not None:
                status, took_s = message.get("status", begins), time.perf_counter() - came_s
            await send(message)

        try:
            await self._app(scope, receive, timed)
        finally:
            self._requests.answered(scope.get("method", "WEBSOCKET"), route_of(scope), status, took_s)


@asynccontextmanager
async def turning(readiness: Readiness) -> AsyncIterator[None]:
    """While the door is open: the process lives as long as its event loop turns, and has started."""
    turns = LastDone("the event loop has not turned", _STUCK_S)
    readiness.lives_by("loop", turns)
    watching = asyncio.create_task(_turn(turns))
    readiness.begin()
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _turn(turns: LastDone) -> None:
    while True:
        turns.done()
        await asyncio.sleep(_TURN_EVERY_S)
