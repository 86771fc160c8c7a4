"""OpenTelemetry spans of requests (kith.traces).

A request is a span; the job it submits carries the span's id to the worker, whose span is a child of it, and to the
decision. Names of people stand in addresses: a span knows the pattern of an address, never the address.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kith.traces import provider_of, within
from producers.api.tracing import Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor


class OtlpSpans:
    """Implements producers.api.tracing.Spans. processor: where spans go. Close it at the end, or the last are lost."""

    def __init__(self, processor: "SpanProcessor") -> None:
        self._provider = provider_of("api", processor)
        self._tracer = self._provider.get_tracer("kith.api")

    @contextmanager
    def around(self, method: str, trace: Trace) -> Iterator[Trace]:
        """A span for one request, a child of the caller's."""
        from opentelemetry import trace as api  # noqa: PLC0415 (installed where it is wanted)

        with self._tracer.start_as_current_span(method, within(trace.parent), api.SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", method)
            own = span.get_span_context()
            yield trace.continued(f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{int(own.trace_flags):02x}")

    def answered(self, method: str, route: str, status: int) -> None:
        """What became of the request whose span is the current one."""
        from opentelemetry import trace as api  # noqa: PLC0415

        span = api.get_current_span()
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(api.StatusCode.ERROR)

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        self._provider.shutdown()
