"""Spans of jobs, kept where a test can see them; no collector, no worker process."""

from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kith.jobs import EmbedJob, ImageRef, Kind, Lane, Outcome, decide
from workers.job_spans import OtlpJobSpans

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MS = 1_000_000


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(kept: InMemorySpanExporter) -> OtlpJobSpans:
    return OtlpJobSpans(SimpleSpanProcessor(kept), "here:1")


def job(traceparent: str | None = PARENT, images: int = 1) -> EmbedJob:
    refs = tuple(ImageRef(f"ab/{number}", "Ada Lovelace", label="Ada.jpg") for number in range(images))
    return EmbedJob("j1", Kind.IDENTIFY, "door", Lane.BULK, refs, 1000, traceparent=traceparent)


def test_a_job_is_a_span_within_the_trace_it_carries_and_its_wait_is_a_part_of_it(
    spans: OtlpJobSpans, kept: InMemorySpanExporter
) -> None:
    spans.decided(job(), 1250 * MS, [decide(job(), 0, Outcome.MATCH)])

    wait, processed = kept.get_finished_spans()
    assert (processed.name, processed.kind) == ("process bulk", SpanKind.CONSUMER)
    assert processed.parent is not None
    assert (f"{processed.parent.trace_id:032x}", f"{processed.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
    assert wait.parent == processed.context
    assert (wait.start_time, wait.end_time) == (1000 * MS, 1250 * MS)
    assert processed.start_time == 1000 * MS
    assert processed.resource.attributes["service.instance.id"] == "here:1"


def test_it_knows_what_was_decided_how_often_and_what_the_stages_took(
    spans: OtlpJobSpans, kept: InMemorySpanExporter
) -> None:
    asked = job(images=3)
    outcomes = (Outcome.MATCH, Outcome.UNKNOWN, Outcome.MATCH)
    spans.decided(
        asked,
        1250 * MS,
        [
            decide(asked, at, outcome, timings_ms={"fetch": 2.0 + at, "embed": 7.0})
            for at, outcome in enumerate(outcomes)
        ],
    )

    told: dict[str, Any] = dict(kept.get_finished_spans()[1].attributes or {})
    assert {key: told[key] for key in told if key.startswith("kith.")} == {
        "kith.kind": "identify",
        "kith.outcome.match": 2,
        "kith.outcome.unknown": 1,
        "kith.stage.fetch_ms": 9.0,
        # One pass of the network for all of them.
        "kith.stage.embed_ms": 7.0,
    }
    assert told["messaging.batch.message_count"] == 3
    assert "Ada" not in kept.get_finished_spans()[1].to_json()


def test_a_job_that_was_put_off_is_an_error_whose_reason_names_nobody(
    spans: OtlpJobSpans, kept: InMemorySpanExporter
) -> None:
    spans.failed(job(), 1250 * MS, "store_unavailable")

    failed = kept.get_finished_spans()[1]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "store_unavailable")
    assert dict(failed.attributes or {})["error.type"] == "store_unavailable"


@pytest.mark.parametrize("traceparent", [None, "nothing of the kind", PARENT.replace("-01", "-00")])
def test_jobs_that_nobody_traces_make_no_span(
    spans: OtlpJobSpans, kept: InMemorySpanExporter, traceparent: str | None
) -> None:
    spans.decided(job(traceparent), 1250 * MS, [decide(job(), 0, Outcome.MATCH)])
    spans.failed(job(traceparent), 1250 * MS, "internal")

    assert kept.get_finished_spans() == ()


def test_a_clock_that_is_behind_makes_no_wait_of_less_than_nothing(
    spans: OtlpJobSpans, kept: InMemorySpanExporter
) -> None:
    spans.decided(job(), 900 * MS, [decide(job(), 0, Outcome.MATCH)])

    wait, processed = kept.get_finished_spans()
    assert wait.start_time == wait.end_time == processed.start_time == 900 * MS
