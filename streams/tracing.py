"""Traces of batches, and of single events from their record to their slate, as OTLP over HTTP; off unless asked for.

A sampled batch is one trace: its steps are spans below it, timed by marks that the worker sets as it goes. A few of its
events get a span each, from the record's timestamp to the acknowledged slate, linked to the batch; it continues the
trace that the record's `traceparent` header names, so a producer can follow its event through. No attribute names a
user or a video. Nothing of OpenTelemetry is imported unless `FRESHLOOP_TRACES` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streams.clock import Clock
from streams.config import ConfigError, Settings
from streams.core.hashing import bucket

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

EVENTS = 4  # of a sampled batch that get a span, spread evenly over it
CLOSE_MS = 2_000  # the longest wait for the last spans when a worker stops
_PARENT = "traceparent"
Facts = dict[str, str | bool | int | float]  # attributes of a span


class Marks:
    """When the steps of one batch ended.

    Attributes:
      steps: name and end of each, monotonic seconds, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begun_ms, self.begun = clock.now_ms(), clock.monotonic()
        self.steps: list[tuple[str, float]] = []

    def mark(self, step: str) -> None:
        """Note that a step has just ended."""
        self.steps.append((step, self._clock.monotonic()))

    def ns(self, at: float) -> int:
        """Return a moment given in monotonic seconds as nanoseconds of wall time."""
        return self.begun_ms * 1_000_000 + round((at - self.begun) * 1e9)


def mark(marks: Marks | None, step: str) -> None:
    """Note that a step of a batch has just ended, if the batch is traced."""
    if marks is not None:
        marks.mark(step)


class Traces:
    """Makes spans of what is sampled.

    Args:
      share: of batches and of HTTP requests; which ones depends on what they are, not on chance.
      exporter: takes the spans, in a thread of its own.
    """

    def __init__(self, worker: str, share: float, exporter: SpanExporter, clock: Clock) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": "freshloop-worker", "service.instance.id": worker})
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("freshloop")
        self._share, self._clock = share, clock
        self._requests = 0

    def begin(self, partition: int, offset: int) -> Marks | None:
        """Return marks for a batch, None when it is not sampled."""
        return Marks(self._clock) if bucket(f"{partition}-{offset}", "traces") < self._share else None

    def batch(self, marks: Marks, partition: int, records: Sequence[Any], counts: dict[str, int]) -> None:
        """Make the spans of a batch that is done with, and of some of its events.

        Args:
          records: of the events topic.
          counts: what came of it, by name.
        """
        from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

        first = min((record.timestamp for record in records), default=marks.begun_ms) * 1_000_000
        facts: Facts = {"messaging.destination.partition.id": str(partition), "freshloop.events": len(records)}
        start = min(first, marks.ns(marks.begun))
        whole = self._tracer.start_span("batch", None, attributes=facts | _named(counts), start_time=start)
        inside = set_span_in_context(whole)
        step_start = start
        for name, at in [("wait", marks.begun), *marks.steps]:
            self._tracer.start_span(name, inside, start_time=step_start).end(max(step_start, marks.ns(at)))
            step_start = max(step_start, marks.ns(at))
        whole.end(step_start)
        published = next((marks.ns(at) for name, at in marks.steps if name == "publish"), step_start)
        chosen = np.unique(np.linspace(0, len(records) - 1, min(EVENTS, len(records))).astype(int)) if records else ()
        link = Link(whole.get_span_context())
        for record in (records[at] for at in chosen):
            parent = _parent(record.headers)
            context = set_span_in_context(NonRecordingSpan(parent)) if parent else None
            at_ns = record.timestamp * 1_000_000
            span = self._tracer.start_span(
                "event to slate", context, links=[link], start_time=at_ns,
                attributes={
                    "messaging.destination.partition.id": str(partition), "messaging.kafka.offset": record.offset
                },
            )  # fmt: skip
            span.end(max(at_ns, published))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Make the span of an HTTP request that has just been answered, when it is sampled; `route` is the pattern."""
        self._requests += 1
        if bucket(str(self._requests), "requests") >= self._share:
            return
        end = self._clock.now_ms() * 1_000_000
        facts: Facts = {"http.route": route, "http.response.status_code": status}
        span = self._tracer.start_span(f"HTTP {route}", None, attributes=facts, start_time=end - round(seconds * 1e9))
        span.end(end)

    def close(self) -> None:
        """Send what is left; blocks for a while at most."""
        self._provider.force_flush(CLOSE_MS)
        self._provider.shutdown()


def make_traces(settings: Settings, worker: str, clock: Clock) -> Traces | None:
    """Return what traces a worker, None when traces are off.

    Raises:
      ConfigError: OpenTelemetry is not installed.
    """
    if not settings.traces:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError("FRESHLOOP_TRACES needs OpenTelemetry: pip install 'freshloop[traces]'") from None
    return Traces(worker, settings.traces_share, OTLPSpanExporter(f"{settings.traces.rstrip('/')}/v1/traces"), clock)


def _named(counts: dict[str, int]) -> Facts:
    return {f"freshloop.{name}": count for name, count in counts.items()}


def _parent(headers: Any) -> Any:
    """Return the span that a record's `traceparent` names (W3C Trace Context), None when it names none."""
    from opentelemetry.trace import SpanContext, TraceFlags

    value = next((value for name, value in headers or () if name == _PARENT), None)
    parts = value.decode("ascii", "replace").split("-") if value and len(value) <= 64 else []
    if len(parts) != 4 or [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        found = SpanContext(int(parts[1], 16), int(parts[2], 16), True, TraceFlags(int(parts[3], 16)))
    except ValueError:
        return None
    return found if found.is_valid else None
