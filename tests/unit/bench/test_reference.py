"""The plain reference server speaks, streams by sentence, refuses past its limit and rejects nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from bench.hearing.speech_check import transcribe
from bench.hearing.words import word_error_rate
from bench.load.generator import LoadGenerator, LoadPlan, Outcome
from bench.metrics import audio_s
from bench.servers.start import ArmSpec, Server, get, start_server

LIMIT = 2
SMALL = ArmSpec(
    "the reference with little room",
    ("-m", "bench.servers.reference", "--port", "{port}", "--max-requests", str(LIMIT)),
)
TEXTS = ["The garden was quiet. Nobody had watered it for 12 days! Who would do it now?"]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference() -> Iterator[Server]:
    with start_server("reference", spec=SMALL, timeout_s=60) as server:
        yield server


def _ask(server: Server, texts: list[str], **more: Any) -> Outcome:
    settings: dict[str, Any] = {"clients": 1, "endpoint": "/tts", "duration_s": 60.0}
    plan = LoadPlan(url=server.url, texts=texts, warmup_texts=[], **(settings | more))
    return asyncio.run(LoadGenerator(plan).run())


def test_it_is_ready_and_healthy(reference: Server) -> None:
    assert reference.info["ready"] is True
    assert get(f"{reference.url}/healthz") == (200, {"status": "ok"})


def test_what_it_says_is_understood_and_the_header_is_true(reference: Server, tmp_path: Path) -> None:
    sample = _ask(reference, TEXTS, keep_waves=1, waves=str(tmp_path), name="r").samples[0]
    assert sample.error is None
    assert sample.stated_samples == round(audio_s(sample) * 24_000)
    audio, rate = soundfile.read(tmp_path / str(sample.wave))
    assert word_error_rate(TEXTS[0], transcribe(audio, rate)) <= 0.1


def test_a_stream_brings_a_chunk_per_sentence_under_one_header(reference: Server) -> None:
    sample = _ask(reference, TEXTS, endpoint="/tts/stream").samples[0]
    assert (sample.error, sample.stated_samples, sample.chunks) == (None, None, 3)


def test_past_its_limit_it_refuses_and_then_serves_again(reference: Server) -> None:
    due = [0.0] * (LIMIT + 3)
    crowd = _ask(reference, TEXTS * len(due), endpoint="/tts/stream", due_s=due, clients=None).samples
    assert sorted(sample.error or "spoken" for sample in crowd) == ["refused"] * 3 + ["spoken"] * LIMIT
    assert [sample.error for sample in _ask(reference, TEXTS * 3).samples] == [None] * 3


def test_an_empty_text_is_an_error_of_the_client(reference: Server) -> None:
    assert _ask(reference, [""]).samples[0].status == 422
