"""OpenTelemetry traces (extra `otel`): a span of each call, and under it the queue and each stage of its utterances.

Spans of the engine are made when an utterance has ended, from the times that came with it, so that the engine knows
nothing of traces. They hold no text, no key and no address.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from serving import __version__
from serving.observe.logs import REQUEST_ID
from serving.profile import ObserveProfile, ProfileError

if TYPE_CHECKING:
    from litestar.types import Scope
    from opentelemetry.sdk.trace.export import SpanExporter

    from serving.engine.client import Utterance
    from serving.engine.watch import Watch
    from serving.http.observe.calls import Call
    from serving.protocol import SpeechParams

NS = 1_000_000_000
_SPAN: ContextVar[Any] = ContextVar("span", default=None)


class Traces:
    """Makes the spans of one server and sends them in a thread of its own."""

    def __init__(self, observe: ObserveProfile, model: str, exporter: SpanExporter | None = None) -> None:
        """`exporter` takes the spans at once, in tests. Raises ProfileError without the extra."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ProfileError(
                f"observe.traces_to: needs the extra otel (pip install 'tts-serving[otel]'): {error}"
            ) from None
        self._trace = trace
        self._model = model
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(observe.traces_share)),
            resource=Resource.create({"service.name": "tts-serving", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if exporter is not None
            else BatchSpanProcessor(OTLPSpanExporter(endpoint=observe.traces_to))
        )
        self._tracer = self._provider.get_tracer("serving", __version__)

    def begin(self, scope: Scope) -> CallSpan:
        """The span of a call, under its caller's if a traceparent came with it."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            "request",
            context=self._propagator.extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={"tts.request_id": REQUEST_ID.get() or ""},
        )
        return CallSpan(self._trace, span, str(scope.get("method", "WEBSOCKET")))

    def watch(self, _: SpeechParams, streaming: bool, __: float) -> Watch | None:
        """Begins to watch an utterance (serving.engine.watch.Watcher)."""
        span = _SPAN.get()
        if span is None or not span.is_recording():
            return None
        return _UtteranceSpan(self, span, streaming)

    def spans_of(self, parent: Any, begun_ns: int, streaming: bool, utterance: Utterance) -> None:
        """The span of an utterance that has ended, and under it those of the queue and of each stage."""
        stats = utterance.stats
        attributes: dict[str, Any] = {"gen_ai.request.model": self._model, "tts.streaming": streaming}
        if stats is not None:
            attributes |= {"tts.audio_s": stats.audio_s, "tts.first_chunk_s": stats.first_chunk_s}
        elif utterance.failure is not None:
            attributes["error.type"] = utterance.failure.code
        under = self._trace.set_span_in_context(parent)
        speech = self._tracer.start_span("speech", under, start_time=begun_ns, attributes=attributes)
        if stats is not None:
            # The engine counts from the arrival of Submit: its end is now, its beginning total_s before.
            arrived_ns = time.time_ns() - round(stats.total_s * NS)
            within = self._trace.set_span_in_context(speech)
            parts = {"queue": (0.0, stats.queue_s), **{f"stage {k}": v for k, v in stats.stages.items()}}
            for name, (first_s, last_s) in parts.items():
                begin_ns, end_ns = (arrived_ns + round(moment_s * NS) for moment_s in (first_s, last_s))
                steps = stats.steps.get(name.removeprefix("stage "), 0)
                part = self._tracer.start_span(name, within, start_time=begin_ns)
                if name != "queue":
                    part.set_attribute("tts.steps", steps)
                part.end(end_ns)
        else:
            speech.set_status(self._trace.StatusCode.ERROR)
        speech.end()

    def close(self) -> None:
        """Send what is left. It blocks for seconds where nobody answers."""
        self._provider.shutdown()


class CallSpan:
    """The span of a call under way; the utterances of its task become its children."""

    def __init__(self, trace: Any, span: Any, method: str) -> None:
        self._trace = trace
        self._span = span
        self._method = method
        self._token = _SPAN.set(span)

    def end(self, endpoint: str, call: Call) -> None:
        """The call has been answered. Call it in the task that began the span."""
        _SPAN.reset(self._token)
        span = self._span
        span.update_name(f"{self._method} {endpoint}")
        span.set_attributes(
            {
                "http.request.method": self._method,
                "http.route": endpoint,
                "http.response.status_code": call.status,
                "tts.outcome": call.outcome,
            }
        )
        if call.outcome == "failed":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()


class _UtteranceSpan:
    """Waits for an utterance to end."""

    def __init__(self, traces: Traces, parent: Any, streaming: bool) -> None:
        self._traces = traces
        self._parent = parent
        self._streaming = streaming
        self._begun_ns = time.time_ns()

    def made(self, _: object) -> None:
        """Chunks are no spans: there are too many."""

    def ended(self, utterance: Utterance) -> None:
        """All is known now."""
        self._traces.spans_of(self._parent, self._begun_ns, self._streaming, utterance)
