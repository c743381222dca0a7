"""The engine's figures for GET /metrics, read from its counters when somebody asks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Mapping

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from serving.cache.store import AnswerStore
from serving.engine.client import EngineClient, EngineState
from serving.http.access.door import OPERATOR
from serving.http.observe.metrics import Metrics
from serving.http.schema import READING_PROBLEMS
from serving.protocol import STEP_BUCKETS_S, Overloaded, Stats

STATS_S = 1.0
"""An engine that does not answer within this is left out of the answer."""


class EngineCollector(Collector):
    """What Stats and the client's ledger hold, as Prometheus' families."""

    def __init__(self, engine: EngineClient, store: AnswerStore | None) -> None:
        self._engine = engine
        self._store = store
        self.stats: Stats | None = None
        """As the engine last answered; None while it does not."""

    def collect(self) -> Iterable[Metric]:
        """Called for each answer. The families of a silent engine are left out: no figure is better than an old one."""
        engine, load = self._engine, self._engine.load
        ready = float(engine.state is EngineState.READY)
        yield GaugeMetricFamily("tts_engine_ready", "1 while the engine takes requests", ready)
        idle = float(engine.state is EngineState.IDLE)
        yield GaugeMetricFamily("tts_engine_idle", "1 while the model is unloaded for want of requests", idle)
        yield CounterMetricFamily("tts_engine_restarts", "Starts again after a death", load.restarts)
        yield GaugeMetricFamily("tts_requests_running", "Utterances admitted and not ended", load.requests)
        yield GaugeMetricFamily(
            "tts_audio_pending_seconds", "Audio promised, or made and not yet read", max(load.audio_s, 0.0)
        )
        if self._store is not None:
            state = self._store.state
            with contextlib.suppress(OSError):  # a folder that cannot be read has no figure
                yield GaugeMetricFamily("tts_cache_bytes", "Bytes of kept answers", self._store.used_bytes())
            yield CounterMetricFamily("tts_cache_hits", "Answers that were kept", state.hits)
            yield CounterMetricFamily("tts_cache_misses", "Answers that were not", state.misses)
        if self.stats is not None:
            yield from _families(self.stats)


def _families(stats: Stats) -> Iterable[Metric]:
    yield GaugeMetricFamily("tts_engine_slots", "Segments that may be in flight at once", stats.slots)
    yield GaugeMetricFamily("tts_engine_slots_used", "Segments in flight", stats.slots_used)
    yield GaugeMetricFamily("tts_engine_segments_waiting", "Segments without a slot", stats.waiting_segments)
    yield GaugeMetricFamily("tts_engine_requests_in_flight", "Requests that have not ended", stats.in_flight)
    yield CounterMetricFamily("tts_engine_busy_seconds", "Time inside steps", stats.busy_s)
    yield CounterMetricFamily("tts_engine_chunks", "Chunks of audio that left", stats.chunks)
    yield _by_stage(CounterMetricFamily, "tts_engine_stage_steps", "Steps", stats.steps)
    yield _by_stage(
        CounterMetricFamily, "tts_engine_stage_rows", "Rows of steps, padding left out", stats.rows
    )
    yield _by_stage(
        GaugeMetricFamily, "tts_engine_stage_max_rows", "Most rows of a step: a full batch", stats.max_rows
    )
    yield _by_stage(
        CounterMetricFamily, "tts_engine_stage_padded_units", "Units computed as padding", stats.padded_units
    )
    yield _by_stage(
        CounterMetricFamily,
        "tts_engine_bucket_misses",
        "Steps that found no captured shape",
        stats.bucket_misses,
    )
    steps = HistogramMetricFamily("tts_engine_step_duration_seconds", "Time of a step", labels=["stage"])
    for stage, counts in stats.step_times.items():
        bounds = (*map(str, STEP_BUCKETS_S), "+Inf")
        steps.add_metric(
            [stage], list(zip(bounds, itertools.accumulate(counts), strict=True)), stats.step_s[stage]
        )
    yield steps


def _by_stage(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, text: str, values: Mapping[str, int]
) -> Metric:
    family = kind(name, text, labels=["stage"])
    for stage, value in values.items():
        family.add_metric([stage], value)
    return family


def metrics_route(metrics: Metrics, engine: EngineClient, store: AnswerStore | None) -> HTTPRouteHandler:
    """GET /metrics."""
    collector = EngineCollector(engine, store)
    metrics.registry.register(collector)

    told = ResponseSpec(str, description="Figures", media_type=MediaType.TEXT, generate_examples=False)

    @get("/metrics", opt=OPERATOR, media_type=MediaType.TEXT, responses=READING_PROBLEMS | {200: told})
    async def tell_metrics() -> Response[bytes]:
        """Figures for Prometheus, in its text format."""
        try:
            async with asyncio.timeout(STATS_S):
                collector.stats = await engine.stats()
        except (Overloaded, TimeoutError):
            collector.stats = None
        text = await asyncio.to_thread(generate_latest, metrics.registry)
        # Litestar adds the charset.
        kind = CONTENT_TYPE_PLAIN_0_0_4.partition("; charset")[0]
        return Response(text, media_type=kind, headers={"Cache-Control": "no-store"})

    return tell_metrics
