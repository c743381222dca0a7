"""The server's own figures, as GET /metrics tells them: what clients saw. Those of the engine are in engine.py.

Names follow Prometheus' rules (base units, _total) and the words of the field: vLLM's running and waiting
requests, time to first byte and queue time; the buckets of times are those of OpenTelemetry's GenAI conventions.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

LATENCY_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FACTORS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.28, 2.56, 5.12)

# A time of creation for each counter, which nothing asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Memory, CPU time and open files of the HTTP process.
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "tts_requests",
            "Requests and WebSockets by how they ended",
            ("method", "endpoint", "outcome"),
            registry=self.registry,
        )
        self.duration = self._histogram(
            "tts_request_duration_seconds",
            "Arrival to the last byte, of requests that were spoken",
            "endpoint",
        )
        self.first_byte = self._histogram(
            "tts_time_to_first_byte_seconds",
            "Arrival to the first byte of the body, of spoken requests",
            "endpoint",
        )
        self.first_audio = self._histogram(
            "tts_time_to_first_audio_seconds",
            "Until a listener hears the first sound above -40 dBFS: made, and the silence before it played",
        )
        self.queue = self._histogram("tts_queue_time_seconds", "Arrival at the engine to the first step")
        self.real_time_factor = Histogram(
            "tts_real_time_factor",
            "Time in the engine by length of the audio, of utterances spoken to their end",
            buckets=FACTORS,
            registry=self.registry,
        )
        self.utterances = Counter(
            "tts_utterances", "Utterances by how they ended", ("outcome",), registry=self.registry
        )
        self.audio = Counter("tts_audio_seconds", "Audio made", registry=self.registry)
        self.underruns = Counter(
            "tts_underruns",
            "Chunks made after the moment at which a listener needed them",
            registry=self.registry,
        )
        self.underrun_s = Counter(
            "tts_underrun_seconds", "Silence that these chunks cost their listeners", registry=self.registry
        )

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=LATENCY_S, registry=self.registry)
