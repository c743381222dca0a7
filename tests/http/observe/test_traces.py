"""Traces, taken by OpenTelemetry's exporter in memory."""

from __future__ import annotations

import importlib
import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.http.app import create_app
from serving.http.observe.traces import Traces
from serving.profile import ObserveProfile, ProfileError
from tests.support import JSON, running, tone_profile

PARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Takes the spans of the applications that are made."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(
        "serving.http.app.Traces", lambda observe, model: Traces(observe, model, exporter=memory)
    )
    return memory


def by_name(spans: tuple[ReadableSpan, ...]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans}


async def test_a_request_its_queue_and_its_stages(exporter: InMemorySpanExporter) -> None:
    async with running(create_app(tone_profile("observe.traces_to=http://127.0.0.1:9/v1/traces"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        exporter.clear()
        await api.call("POST", "/tts/stream", {"text": "Zanzibar marmalade"}, (*JSON, PARENT))
        spans = by_name(exporter.get_finished_spans())
    request, speech, queue, step = (
        spans[name] for name in ("POST /tts/stream", "speech", "queue", "stage render")
    )
    assert request.context is not None
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert speech.parent == request.context
    assert queue.parent == step.parent == speech.context
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert step.attributes is not None
    assert step.attributes["tts.steps"]
    for part in (queue, step):
        assert part.start_time is not None
        assert part.end_time is not None
        assert speech.start_time is not None
        assert speech.end_time is not None
        assert part.start_time <= part.end_time <= speech.end_time
        assert part.start_time >= speech.start_time - 5_000_000
    assert queue.end_time == spans["stage embed"].start_time
    assert "marmalade" not in "".join(span.to_json() for span in spans.values())


async def test_a_refusal_has_a_span_and_no_speech(exporter: InMemorySpanExporter) -> None:
    async with running(create_app(tone_profile("observe.traces_to=http://127.0.0.1:9/v1/traces"))) as api:
        exporter.clear()
        await api.call("POST", "/tts", {"text": ""})
        (span,) = exporter.get_finished_spans()
    assert span.name == "POST /tts"
    assert span.attributes is not None
    assert span.attributes["tts.outcome"] == "invalid"


async def test_off_by_default_and_unsampled_costs_nothing(exporter: InMemorySpanExporter) -> None:
    async with running(create_app(tone_profile())) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", "/tts", {"text": "Hello"}, (*JSON, PARENT))
    assert not exporter.get_finished_spans()


def test_without_the_extra_the_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    traces = importlib.import_module("serving.http.observe.traces")
    with pytest.raises(ProfileError, match=r"tts-serving\[otel\]"):
        traces.Traces(ObserveProfile(traces_to="http://127.0.0.1:9"), "tone")
