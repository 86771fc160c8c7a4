"""Spans as a collector gets them: OTLP over HTTP, decoded; one trace from the request to the decision."""

import gzip
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from kith.traces import sending_to
from producers.api.app import create_app
from producers.api.spans import OtlpSpans
from tests.http_door import House, crop, house
from tests.http_door import served as door_served
from tests.servers.receivers import Server, served

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def told(collector: Server) -> dict[str, list[Span]]:
    """The spans of each service, in the order they began."""
    spans: dict[str, list[Span]] = {}
    for got in collector.got:
        assert (got.method, got.path) == ("POST", "/v1/traces")
        headers = {name.lower(): value for name, value in got.headers.items()}
        assert headers["content-type"] == "application/x-protobuf"
        packed = headers.get("content-encoding") == "gzip"
        request = ExportTraceServiceRequest.FromString(gzip.decompress(got.body) if packed else got.body)
        for resource in request.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                spans.setdefault(about["service.name"], []).extend(scope.spans)
    return {service: sorted(each, key=lambda span: span.start_time_unix_nano) for service, each in spans.items()}


def asked(door: House, collector: str) -> tuple[Any, Any]:
    """Enrol somebody, then ask about a picture within a trace: that job as it was accepted and as it was done."""
    app = create_app(door.doors, OtlpSpans(sending_to(collector)))
    # Ending the application sends what waits.
    with door.caller() as caller, door_served(app) as url:
        form = {"kind": "enrol", "gallery": "staff", "subject": "Ada Lovelace", "content": "aligned"}
        enrolled = caller.post(f"{url}/v1/jobs?wait=60", data=form, files={"images": ("a.png", crop(1))})
        assert enrolled.status_code == 200
        sent = caller.post(
            f"{url}/v1/jobs",
            params={"gallery": "staff", "content": "aligned"},
            content=crop(1, 1),
            headers={"content-type": "image/png", "traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        done = caller.get(f"{url}/v1/jobs/{sent.json()['job_id']}?wait=60").json()
        caller.get(f"{url}/v1/galleries/nowhere/subjects/Ada%20Lovelace")
        return sent.json(), done


def values(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_request_its_job_and_its_decision_are_one_trace(tmp_path: Path) -> None:
    with served() as collector:
        address = f"{collector.url}/v1/traces"
        # Its workers send what waits when they end.
        with house(tmp_path, metrics={"otlp": address}) as door:
            job, done = asked(door, address)
            [entry] = [
                each for each in door.client.results.after("0", limit=1000) if each.decision.job_id == job["job_id"]
            ]
        spans = told(collector)

    assert [span.name for span in spans["kith-api"]] == [
        "POST /v1/jobs",
        "POST /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /v1/galleries/{gallery}/subjects/{subject:path}",
    ]
    assert "Ada" not in str(spans), "names of people are in no trace"
    every = [span for each in spans.values() for span in each]
    assert len({each.trace_id for each in every}) == 4, "a request that continues nothing begins a trace of its own"
    [request] = [each for each in spans["kith-api"] if each.trace_id.hex() == TRACE]
    assert request.parent_span_id.hex() == PARENT
    assert request.kind == Span.SPAN_KIND_SERVER
    assert values(request)["http.route"] == "/v1/jobs"
    assert values(request)["http.response.status_code"] == 202
    # The message that waits in the queue, the worker that took it, and the decision in the stream all have it.
    expected = f"00-{TRACE}-{request.span_id.hex()}-01"
    assert job["traceparent"] == expected
    [decision] = done["decisions"]
    assert decision["face"]["subject"] == "Ada Lovelace"
    assert decision["traceparent"] == expected
    assert entry.decision.traceparent == expected
    mine = {each.name: each for each in spans["kith-embed"] if each.trace_id.hex() == TRACE}
    assert mine.keys() == {"process interactive", "wait"}
    processed, wait = mine["process interactive"], mine["wait"]
    assert processed.parent_span_id == request.span_id
    assert wait.parent_span_id == processed.span_id
    assert values(processed)["messaging.message.id"] == job["job_id"]
    assert values(processed)["kith.outcome.match"] == 1
