"""Spans of requests, kept where a test can see them; no collector, no door."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from producers.api.spans import OtlpSpans
from producers.api.tracing import Tracing, trace_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


Get = Callable[..., httpx.Response]


@pytest.fixture
def get(kept: InMemorySpanExporter) -> Get:
    async def answer(request: Request) -> JSONResponse:
        trace = request.state.trace
        if request.path_params["name"] == "broken":
            raise ValueError
        return JSONResponse({"traceparent": trace.traceparent})

    spans = OtlpSpans(SimpleSpanProcessor(kept))
    app = Starlette(routes=[Route("/people/{name}", answer)], middleware=[Middleware(Tracing, spans=spans)])
    traced = httpx.ASGITransport(app)

    def get(path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=traced, base_url="http://door") as client:
                return await client.get(path, headers=headers)

        return anyio.run(ask)

    return get


def test_a_request_is_a_span_within_the_callers_trace(get: Get, kept: InMemorySpanExporter) -> None:
    answer = get("/people/Ada", traceparent=PARENT)

    [span] = kept.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
    # What the job carries is this span, and no other.
    assert answer.json()["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
    assert answer.headers["x-request-id"] == PARENT.split("-")[1]


def test_a_span_knows_the_pattern_of_an_address_and_no_name_in_it(get: Get, kept: InMemorySpanExporter) -> None:
    get("/people/Ada")

    [span] = kept.get_finished_spans()
    attributes: dict[str, Any] = dict(span.attributes or {})
    assert attributes["http.response.status_code"] == 200
    assert "Ada" not in span.to_json()


def test_a_fault_is_an_error_of_the_span(get: Get, kept: InMemorySpanExporter) -> None:
    assert get("/people/broken").status_code == 500

    [span] = kept.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_without_a_caller_s_trace_one_begins(get: Get, kept: InMemorySpanExporter) -> None:
    answer = get("/people/Ada")

    [span] = kept.get_finished_spans()
    assert span.parent is None
    assert span.context is not None
    assert answer.headers["x-request-id"] == f"{span.context.trace_id:032x}"


def test_a_callers_own_request_id_stays_within_a_span() -> None:
    trace = trace_of(Headers({"x-request-id": "order-1", "traceparent": PARENT}))

    assert trace.continued("1" * 32, "2" * 16, "01").request_id == "order-1"
    assert trace.parent == PARENT
