"""Every format over both WebSocket endpoints, decoded as a player does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.audio.encode import AUDIO_FORMATS, FIXED_RATES_HZ, AudioFormat
from tests.decoding import decoded
from tests.e2e.websocket.test_nari import nari
from tests.live import PCM, hear, send, speak, tone_server
from tests.support import Server, children

pytestmark = pytest.mark.e2e

TEXT = "Hi you. And me too."
RATE_HZ = 24_000
LEADS = {"aac": 1024}
TAILS = {"aac": 1024, "mp3": 1152}
"""Samples that a decoder may give after the last, see docs/http-api.md: of MP3 only where the length came late."""


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tone_server(tmp_path_factory.mktemp("tone"), 'http.voice_aliases={vivian="high"}') as started:
        yield started


def check(content: bytes, audio_format: AudioFormat, rate_hz: int, samples: int) -> None:
    """The content is one file of so many samples of sound."""
    got, rate = decoded(content, audio_format, rate_hz)
    assert rate == rate_hz
    excess = len(got) - LEADS.get(audio_format, 0) - samples
    assert -1 <= excess <= TAILS.get(audio_format, 1), excess
    assert np.sqrt(np.mean(got**2)) > 0.1, "a tone of amplitude 0.3, and a pause"


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
@pytest.mark.parametrize("stream_audio", [False, True], ids=["whole", "streamed"])
async def test_each_sentence_is_a_file(tone: Server, audio_format: AudioFormat, stream_audio: bool) -> None:
    heard = await speak(tone.base_url, [TEXT], response_format=audio_format, stream_audio=stream_audio)
    plain = await speak(tone.base_url, [TEXT], **PCM)
    rate_hz = FIXED_RATES_HZ.get(audio_format, RATE_HZ)
    at = [number for number, kind in enumerate(heard.order) if kind == "audio.done"]
    frames = iter(heard.frames)
    done_before = 0
    for end, start, done, reference in zip(
        at, heard.of("audio.start"), heard.of("audio.done"), plain.of("audio.done"), strict=True
    ):
        content = [next(frames) for kind in heard.order[done_before:end] if kind == "audio"]
        done_before = end
        assert len(content) > 1 if stream_audio else len(content) == 1
        assert (start["format"], start["sample_rate"], done["sample_rate"]) == (
            audio_format,
            rate_hz,
            rate_hz,
        )
        assert done["total_bytes"] == sum(map(len, content))
        assert done["samples"] == round(reference["samples"] * rate_hz / RATE_HZ)
        check(b"".join(content), audio_format, rate_hz, done["samples"])
    (last,) = heard.of("session.done")
    assert last["samples"] == sum(done["samples"] for done in heard.of("audio.done"))
    assert last["sample_rate"] == rate_hz


@pytest.mark.parametrize("rate_hz", [8000, 44100])
async def test_another_rate(tone: Server, rate_hz: int) -> None:
    heard = await speak(tone.base_url, [TEXT], sample_rate_hz=rate_hz, **PCM)
    plain = await speak(tone.base_url, [TEXT], **PCM)
    assert {event["sample_rate"] for event in heard.of("audio.start")} == {rate_hz}
    assert len(heard.samples) == heard.of("session.done")[0]["samples"]
    assert len(heard.samples) == pytest.approx(len(plain.samples) * rate_hz / RATE_HZ, abs=2)


async def test_times_with_another_rate(tone: Server) -> None:
    heard = await speak(tone.base_url, [TEXT], word_timestamps=True, sample_rate_hz=8000, **PCM)
    last = next(chunk for chunk in heard.of("audio.chunk") if chunk["timestamps"] is not None)
    assert last["chunk_end_ms"] == pytest.approx(50 * len("Hi you."), abs=1)


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
async def test_nari_sends_one_file(tone: Server, audio_format: AudioFormat) -> None:
    plain = await speak(tone.base_url, [TEXT], **PCM)
    async with nari(tone.base_url, response_format=audio_format) as client:
        await send(client, "input_text.append", sequence=0, text=TEXT)
        await send(client, "input_text.end", sequence=1)
        heard = await hear(client, "response.done", "error")
    rate_hz = FIXED_RATES_HZ.get(audio_format, RATE_HZ)
    encoding = "pcm_s16le" if audio_format == "pcm" else audio_format
    (started,), (done,) = heard.of("response.started"), heard.of("response.done")
    assert started["audio"] == {"encoding": encoding, "sample_rate": rate_hz, "channels": 1}
    assert done["samples"] == round(len(plain.samples) * rate_hz / RATE_HZ)
    assert done["audio_chunks"] == len(heard.frames)
    check(b"".join(heard.frames), audio_format, rate_hz, done["samples"])


@pytest.mark.parametrize("field", ["voice", "speaker"])
async def test_an_alias_of_the_profile_speaks(tone: Server, field: str) -> None:
    high = await speak(tone.base_url, ["Hi."], voice="high", **PCM)
    config: dict[str, Any] = {field: "Vivian", **PCM}
    named = await speak(tone.base_url, ["Hi."], **config)
    assert np.array_equal(high.samples, named.samples)
    async with nari(tone.base_url, **{field: "vivian"}) as client:
        await send(client, "input_text.append", sequence=0, text="Hi.")
        await send(client, "input_text.end", sequence=1)
        assert np.array_equal((await hear(client, "response.done")).samples, high.samples)


async def test_a_speed_is_brought_into_the_range_of_the_model(server: str) -> None:
    quick, quickest = [
        await speak(server, ["The boats are home."], seed=1, speed=speed, **PCM) for speed in (2.0, 4.0)
    ]
    assert len(quickest.samples) == len(quick.samples) > 0
    assert "ignored_fields" not in quickest.of("session.done")[0]


async def test_a_cancelled_coded_answer_ends_and_the_next_is_whole(tone: Server) -> None:
    async with nari(tone.base_url, response_format="opus") as client:
        await send(client, "input_text.append", sequence=0, text=TEXT * 200)
        while isinstance(message := await client.recv(), str) or message == b"":
            assert json.loads(message)["type"] != "response.done"
        await send(client, "response.cancel")
        assert (await hear(client, "response.done")).events[-1]["stop_reason"] == "cancelled"
    together = await asyncio.gather(
        *(speak(tone.base_url, [TEXT], response_format=f) for f in AUDIO_FORMATS for _ in range(2))
    )
    assert all(heard.of("session.done")[0]["reason"] == "stop" for heard in together)


def test_codecs_are_loaded_before_the_server_is_ready(tmp_path: Path) -> None:
    with tone_server(tmp_path) as fresh:
        maps = [Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") for pid in children(fresh.pid)]
        assert any("libavcodec" in libraries for libraries in maps)
