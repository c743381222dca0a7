"""What metrics cost a stream: an application that sends four chunks, bare and watched."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from serving.engine.client import Utterance
from serving.http.observe.calls import Watched
from serving.http.observe.metrics import Metrics
from serving.http.observe.utterances import watcher_of
from serving.protocol import RequestStats, SpeechParams

RATE_HZ = 24_000
PARAMS = SpeechParams(voice="v", seed=1)
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/tts/stream",
    "path_template": "/tts/stream",
    "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"40")],
    "client": ("127.0.0.1", 1),
}
STATS = RequestStats(queue_s=0.001, first_chunk_s=0.03, total_s=0.3, audio_s=3.25, chunks=4, steps={})


@pytest.mark.benchmark(group="observe")
@pytest.mark.parametrize("watched", [False, True], ids=["bare", "watched"])
def test_stream(benchmark: BenchmarkFixture, watched: bool) -> None:
    """One call, with one utterance."""
    metrics = Metrics()
    begin = watcher_of(metrics, RATE_HZ)
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ).astype(np.float32)
    chunks = [noise[: RATE_HZ // 4], noise, noise, noise]
    spoken = Utterance("u", stats=STATS)

    async def bare(_: Any, receive: Any, send: Any) -> None:
        watch = begin(PARAMS, True, 3.0) if watched else None
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in chunks:
            if watch is not None:
                watch.made(chunk)
            await send({"type": "http.response.body", "body": b"audio", "more_body": True})
        if watch is not None:
            watch.ended(spoken)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app: Any = Watched(cast("Any", bare), metrics, access_log=False, traces=None) if watched else bare

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        pass

    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(app(SCOPE | {"state": {}}, receive, send)))
    if watched:
        assert metrics.registry.get_sample_value("tts_utterances_total", {"outcome": "finished"})
