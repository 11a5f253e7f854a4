"""Spans by OpenTelemetry: those of a request, its events, the stream, jobs and webhooks, below one another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adapters.tracing.settings import Traces
from domain.sections import CannotStart
from domain.tracing import HEADER, TRACE, Begin, Kind, Span, collect

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider


class NoOpenTelemetry(CannotStart):
    """LEDGERLINE_TRACES_URL is set, and OpenTelemetry is not installed. Install `ledgerline[otel]`, or unset it."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__))


def start(settings: Traces, role: str) -> TracerProvider | None:
    """Send the spans of this process to where the settings say, from a thread of its own; None where they say nothing.

    Whoever takes them being away costs spans and nothing else. Raises NoOpenTelemetry.
    """
    if not settings.traces_url:
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise NoOpenTelemetry
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = provider_of(role, settings.traces_ratio)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=str(settings.traces_url))))
    collect(begins(provider))
    return provider


def provider_of(role: str, ratio: float = 1.0) -> TracerProvider:
    """What makes spans of a role; of the traces that begin here a part is collected, others as their parents say."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create(
        {"service.name": "ledgerline", "service.version": version("ledgerline"), "ledgerline.role": role}
    )
    return TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)))


def begins(provider: TracerProvider) -> Begin:
    """Begins spans with a provider."""
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer, propagator = provider.get_tracer("ledgerline"), TraceContextTextMapPropagator()

    @contextmanager
    def begin(name: str, kind: Kind, facts: dict[str, str | int]) -> Iterator[Span]:
        parent = TRACE.get()
        above = propagator.extract({HEADER: parent}, context=Context()) if parent else Context()
        with tracer.start_as_current_span(
            name, context=above, kind=SpanKind[kind.upper()], attributes=_named(facts)
        ) as made:
            carried: dict[str, str] = {}
            propagator.inject(carried, context=set_span_in_context(made, Context()))
            # A trace that begins here and is not collected is none: nothing is written of it anywhere.
            below = carried.get(HEADER) if parent is not None or made.is_recording() else None
            token = TRACE.set(below)
            try:
                yield _Span(made)
            finally:
                TRACE.reset(token)

    return begin


class _Span:
    """A span of OpenTelemetry in our words."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        """Call it what it turned out to be."""
        self._span.update_name(name)

    def note(self, **facts: str | int) -> None:
        """Say more of it."""
        self._span.set_attributes(_named(facts))


def _named(facts: dict[str, str | int]) -> dict[str, str | int]:
    """Attributes by the names that OpenTelemetry has for them: `route` is `http.route`; ours are below our name."""
    return {_NAMES.get(name, f"ledgerline.{name}"): value for name, value in facts.items()}


_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "error": "error.type",
}
