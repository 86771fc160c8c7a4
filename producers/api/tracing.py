"""Who asked, traced through queue, worker and decision: a request id, and a W3C trace context.

A caller's `traceparent` is continued; else a trace begins here. It goes with the job to the decision (`traceparent` of
both), and so to every record about it. A caller's `X-Request-Id` is answered as it is; without one, the id of the trace
is the request's id, so that one word finds the request, the job and the decision.
"""

import logging
import re
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kith.traces import TRACEPARENT
from producers.api.problems import Problem, unexpected

_log = logging.getLogger("kith.api")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Trace:
    """traceparent: of what is done for this request, a child of the caller's. parent: the caller's, None for none.
    named: whether the request's id is the caller's own word."""

    request_id: str
    traceparent: str
    parent: str | None = None
    named: bool = False

    def continued(self, trace_id: str, span_id: str, flags: str) -> "Trace":
        """The same request within a span of ours."""
        request_id = self.request_id if self.named else trace_id
        return replace(self, request_id=request_id, traceparent=f"00-{trace_id}-{span_id}-{flags}")


class Spans(Protocol):
    """Whoever makes spans of requests."""

    def around(self, method: str, trace: Trace) -> AbstractContextManager[Trace]:
        """While a request is served; the trace as it is within."""
        ...

    def answered(self, method: str, route: str, status: int) -> None:
        """Within: what the request was answered."""
        ...

    def close(self) -> None:
        """At the end."""
        ...


class NoSpans:
    """Implements Spans where OpenTelemetry is not configured: trace ids are passed on, that is all."""

    def around(self, _: str, trace: Trace) -> AbstractContextManager[Trace]:
        return nullcontext(trace)

    def answered(self, method: str, route: str, status: int) -> None:
        pass

    def close(self) -> None:
        pass


def trace_of(headers: Headers) -> Trace:
    """The trace of a request with these headers. What is no trace context is not continued, as the standard says."""
    given = TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if given is not None and (given[1] == "0" * 32 or given[2] == "0" * 16):
        given = None
    trace_id, flags = (given[1], given[3]) if given is not None else (secrets.token_hex(16), "00")
    asked = headers.get("x-request-id", "")
    named = _REQUEST_ID.fullmatch(asked) is not None
    own = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
    return Trace(asked if named else trace_id, own, given[0] if given is not None else None, named)


class Tracing:
    """ASGI middleware, the outermost: names each request, logs what became of it, and is the last to hear of a fault,
    so that no stack trace leaves the process."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        with self._spans.around(method, trace_of(Headers(scope=scope))) as trace:
            scope.setdefault("state", {})["trace"] = trace
            begun_s = time.perf_counter()
            status = await self._served(scope, receive, send, trace)
            self._spans.answered(method, route_of(scope), status)
            if status >= 400:
                spent_ms = 1000 * (time.perf_counter() - begun_s)
                _log.info(
                    "request %s: %s %s → %d in %.0f ms", trace.request_id, method, route_of(scope), status, spent_ms
                )

    async def _served(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> int:
        """The status that was answered, 0 for none."""
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            # Of a WebSocket this is a refusal; what is accepted has no status.
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["x-request-id"] = trace.request_id
                headers["traceparent"] = trace.traceparent
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Problem as problem:
            # Raised outside the application: a body that is too long or too slow.
            if status == 0 and scope["type"] == "http":
                await problem.response(trace.request_id, scope["path"])(scope, receive, named)
        except Exception as fault:
            _log.exception("request %s: %s failed", trace.request_id, route_of(scope))
            if scope["type"] != "http" or status:
                raise
            await unexpected(fault).response(trace.request_id, scope["path"])(scope, receive, named)
        return status


def route_of(scope: Scope) -> str:
    """The pattern of a request's address, once it was served; never the address: people's names stand in addresses, and
    have no place in logs, traces and measurements."""
    return getattr(scope.get("route"), "path", "(no such address)")
