"""OpenTelemetry spans of jobs (kith.traces): of those that carry a trace, for whoever follows one request to its end.

Each time a worker takes such a job there is a span `process LANE`, a child of the request that submitted it, and within
it `wait`, from when the job was made until the worker began. Names as in OpenTelemetry's conventions for messaging;
what is ours begins with `kith.`. Nobody's name, label or picture is in it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kith.jobs import Decision, EmbedJob
from kith.traces import provider_of, within

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

_NS_PER_MS = 1_000_000

#: Stages of each image are summed, these are of the whole job and repeated in each decision.
_OF_JOBS = frozenset(("embed", "search"))


class JobSpans(Protocol):
    """Told what became of a job. began_ns: when the worker began with it, Unix time."""

    def decided(self, job: EmbedJob, began_ns: int, decisions: Sequence[Decision]) -> None:
        """Its decisions are in good hands."""
        ...

    def failed(self, job: EmbedJob, began_ns: int, code: str) -> None:
        """It was put off, or became a dead letter. code: of an error (kith.errors)."""
        ...

    def close(self) -> None:
        """At the end."""
        ...


class NoJobSpans:
    """Implements JobSpans where no collector is named."""

    def decided(self, job: EmbedJob, began_ns: int, decisions: Sequence[Decision]) -> None:
        pass

    def failed(self, job: EmbedJob, began_ns: int, code: str) -> None:
        pass

    def close(self) -> None:
        pass


class OtlpJobSpans:
    """Implements JobSpans. processor: where spans go. Close it at the end, or the last are lost."""

    def __init__(self, processor: "SpanProcessor", worker_id: str) -> None:
        self._provider = provider_of("embed", processor, worker_id)
        self._tracer = self._provider.get_tracer("kith.embed")

    def decided(self, job: EmbedJob, began_ns: int, decisions: Sequence[Decision]) -> None:
        """See JobSpans."""
        span = self._begun(job, began_ns)
        if span is None:
            return
        for outcome, number in Counter(each.outcome for each in decisions).items():
            span.set_attribute(f"kith.outcome.{outcome}", number)
        for stage in sorted({stage for each in decisions for stage in each.timings_ms}):
            spent = [each.timings_ms.get(stage, 0.0) for each in decisions]
            span.set_attribute(f"kith.stage.{stage}_ms", max(spent) if stage in _OF_JOBS else sum(spent))
        span.end()

    def failed(self, job: EmbedJob, began_ns: int, code: str) -> None:
        """See JobSpans."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 (installed where it is wanted)

        span = self._begun(job, began_ns)
        if span is None:
            return
        span.set_attribute("error.type", code)
        # Not the reason: it may hold a name.
        span.set_status(StatusCode.ERROR, code)
        span.end()

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        self._provider.shutdown()

    def _begun(self, job: EmbedJob, began_ns: int) -> "Span | None":
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        context = within(job.traceparent)
        if context is None:
            return None
        # Clocks of two machines may disagree; nobody waits less than no time.
        made_ns = min(job.created_ms * _NS_PER_MS, began_ns)
        span = self._tracer.start_span(f"process {job.lane}", context, SpanKind.CONSUMER, start_time=made_ns)
        span.set_attributes(
            {
                "messaging.system": "celery",
                "messaging.operation.type": "process",
                "messaging.destination.name": str(job.lane),
                "messaging.message.id": job.job_id,
                "messaging.batch.message_count": len(job.images),
                "kith.kind": str(job.kind),
            }
        )
        wait = self._tracer.start_span("wait", set_span_in_context(span), start_time=made_ns)
        wait.end(began_ns)
        return span
