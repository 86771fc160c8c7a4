"""Traces of OpenTelemetry, for whoever makes spans: sent to the collector that `metrics.otlp` names.

Nothing of it is loaded where no collector is named; trace ids are passed on all the same (`EmbedJob.traceparent`).
"""

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

from kith.errors import Misconfigured

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

#: https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def provider_of(role: str, processor: "SpanProcessor", worker_id: str | None = None) -> "TracerProvider":
    """Makes the spans of a process. processor: where they go. Shut it down at the end, or the last are lost."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 (installed where it is wanted)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    about = {"service.name": f"kith-{role}", "service.version": version("kith")}
    if worker_id is not None:
        about["service.instance.id"] = worker_id
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(processor)
    return provider


def within(traceparent: str | None) -> "Context | None":
    """The context whose children are within the trace that `traceparent` names, None where it names none."""
    from opentelemetry import trace as api  # noqa: PLC0415

    given = TRACEPARENT.fullmatch(traceparent or "")
    if given is None:
        return None
    parent = api.SpanContext(int(given[1], 16), int(given[2], 16), True, api.TraceFlags(int(given[3], 16)))
    return api.set_span_in_context(api.NonRecordingSpan(parent))


def sending_to(address: str) -> "SpanProcessor":
    """Sends spans in the background, by OTLP over HTTP. Raises Misconfigured where the packages are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise Misconfigured(f"metrics.otlp needs {missing.name}: pip install 'kith[otlp]'") from None
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=address))
