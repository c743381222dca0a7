"""GET /metrics: what it counts, by what the requests were."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.http.app import create_app
from serving.http.observe.metrics import Metrics
from serving.http.observe.utterances import watcher_of
from serving.protocol import SpeechParams
from tests.support import JSON, Api, running, tone_profile

TEXT = {"text": "Hello there, all of you"}
RATE_HZ = 1000


async def scrape(api: Api) -> dict[tuple[str, ...], float]:
    """Every sample: its name and its labels' values, in order."""
    answer = await api.call("GET", "/metrics", headers=())
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_requests_by_endpoint_and_outcome() -> None:
    async with running(
        create_app(tone_profile("admission.max_requests=1", "http.cors_origins=['*']"))
    ) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", "/tts", TEXT)
        await api.call("POST", "/tts/stream", TEXT)
        await api.call("POST", "/tts/stream", TEXT, disconnect_after=1)
        await api.call("POST", "/tts", {"text": ""})
        await api.call("POST", "/tts", b"{")
        await api.call("GET", "/made/up/by/a/client")
        await api.call("BREW", "/tts", TEXT)
        seen = await scrape(api)
    assert seen["tts_requests_total", "/tts", "POST", "ok"] == 1
    assert seen["tts_requests_total", "/tts", "POST", "invalid"] == 2
    assert seen["tts_requests_total", "/tts/stream", "POST", "ok"] == 1
    assert seen["tts_requests_total", "/tts/stream", "POST", "aborted"] == 1
    assert seen["tts_requests_total", "none", "GET", "invalid"] == 1
    assert seen["tts_requests_total", "none", "other", "invalid"] == 1
    assert seen["tts_request_duration_seconds_count", "/tts"] == 1, "only what was spoken"
    assert seen["tts_time_to_first_byte_seconds_count", "/tts/stream"] == 2
    assert not any("made" in label for key in seen for label in key[1:])


async def test_what_the_guard_refuses_and_gives_up_is_counted() -> None:
    async with running(create_app(tone_profile("http.send_s=0.2", "http.access_log=true"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        stranger = ((b"origin", b"https://stranger.example"), (b"x-request-id", b"mine-7"), *JSON)
        refused = await api.call("POST", "/tts", TEXT, stranger)
        assert (refused.status, refused.headers["x-request-id"]) == (403, "mine-7")
        await api.call("HEAD", "/voices", headers=())
        await api.call("POST", "/tts", TEXT, stall_after=1, gone=asyncio.Event())
        seen = await scrape(api)
    assert seen["tts_requests_total", "none", "POST", "unauthorized"] == 1
    assert seen["tts_requests_total", "/voices", "HEAD", "ok"] == 1
    assert seen["tts_requests_total", "/tts", "POST", "aborted"] == 1


async def test_the_engine_and_its_stages() -> None:
    async with running(create_app(tone_profile())) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        before = await scrape(api)
        await asyncio.gather(*(api.call("POST", "/tts/stream", TEXT) for _ in range(3)))
        stats = (await api.call("GET", "/stats", headers=())).json
        seen = await scrape(api)
    stage = "render"
    assert seen["tts_engine_stage_steps_total", stage] == stats["steps"][stage] > 0
    assert seen["tts_engine_stage_rows_total", stage] == stats["rows"][stage]
    assert seen["tts_engine_stage_max_rows", stage] == stats["max_rows"][stage] > 0
    assert seen["tts_engine_step_duration_seconds_count", stage] == stats["steps"][stage]
    assert seen["tts_engine_step_duration_seconds_sum", stage] == pytest.approx(stats["step_s"][stage])
    assert seen["tts_engine_step_duration_seconds_bucket", "+Inf", stage] == stats["steps"][stage]
    assert seen["tts_engine_bucket_misses_total", stage] == 0
    assert seen[("tts_engine_slots_used",)] == seen[("tts_engine_segments_waiting",)] == 0
    assert seen[("tts_engine_ready",)] == 1
    assert seen[("tts_engine_idle",)] == 0
    assert seen[("tts_engine_restarts_total",)] == 0
    assert seen[("tts_requests_running",)] == 0
    assert seen[("tts_audio_pending_seconds",)] == pytest.approx(0, abs=1e-9)
    assert seen[("tts_queue_time_seconds_count",)] == seen[("tts_real_time_factor_count",)] == 3
    assert seen[("tts_time_to_first_audio_seconds_count",)] == 3
    assert seen["tts_utterances_total", "finished"] == 3
    assert seen[("tts_audio_seconds_total",)] > before[("tts_audio_seconds_total",)] == 0


@pytest.mark.slow
async def test_an_engine_that_died_is_counted_and_not_described() -> None:
    profile = tone_profile("engine.process=true", "model.options.crash_token=113")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", "/tts", {"text": "quit"})
        seen = await scrape(api)
        assert seen[("tts_engine_ready",)] == 0
        assert ("tts_engine_slots",) not in seen
        assert seen["tts_utterances_total", "engine_died"] == 1
        await api.until("/readyz", lambda answer: answer["ready"])
        assert (await scrape(api))[("tts_engine_restarts_total",)] == 1


async def test_the_cache_has_figures_only_if_there_is_one(tmp_path: Any) -> None:
    settings = (f"cache.folder={tmp_path}", "cache.max_bytes=10000000")
    async with running(create_app(tone_profile(*settings))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        kept = ""
        while kept != "hit":  # a server keeps nothing until its own digest is made
            kept = (await api.call("POST", "/tts", TEXT | {"seed": 1})).headers["x-cache"]
        seen = await scrape(api)
    assert seen[("tts_cache_bytes",)] > 1000
    assert seen[("tts_cache_misses_total",)] >= seen[("tts_cache_hits_total",)] == 1


async def test_without_metrics_there_are_none() -> None:
    async with running(create_app(tone_profile("observe.metrics=false"))) as api:
        assert (await api.call("GET", "/metrics", headers=())).status == 404


def made(metrics: Metrics, monkeypatch: pytest.MonkeyPatch, *chunks: tuple[float, Any]) -> None:
    """An utterance of a listener whose chunks are made at these moments."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    watch = watcher_of(metrics, RATE_HZ)(SpeechParams(voice="v", seed=1), True, 1.0)
    assert watch is not None
    for moment_s, samples in chunks:
        now[0] = moment_s
        watch.made(np.asarray(samples, np.float32))


def test_underruns_are_chunks_that_a_listener_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, chunk = Metrics(), np.ones(100)
    # Played from 0.5 on, so the second is needed at 0.6, and after a wait of 0.15 s the fourth at 0.95.
    made(metrics, monkeypatch, (0.5, chunk), (0.75, chunk), (0.76, chunk), (0.9, chunk))
    assert metrics.registry.get_sample_value("tts_underruns_total") == 1
    assert metrics.registry.get_sample_value("tts_underrun_seconds_total") == pytest.approx(0.15)


def test_the_first_sound_is_not_the_first_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    quiet = np.full(100, 0.005)
    sound = np.concatenate((np.zeros(40), np.full(60, -0.2)))
    made(metrics, monkeypatch, (0.5, quiet), (0.52, sound), (0.53, sound))
    assert metrics.registry.get_sample_value("tts_time_to_first_audio_seconds_sum") == pytest.approx(0.64)
    assert metrics.registry.get_sample_value("tts_time_to_first_audio_seconds_count") == 1
