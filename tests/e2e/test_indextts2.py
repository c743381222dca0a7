"""The real server with IndexTTS2 from tiny random weights: what it says is noise, how it says it is not."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from serving.audio.encode import WAV_HEADER_BYTES, wav_header
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.voice.recordings import built_in_wave
from tests.support import serving

pytestmark = pytest.mark.e2e

CODES = 36
SETTINGS = {
    "model.options.weights": "random",
    "model.options.size": "tiny",
    "model.options.min_codes": CODES,
    "model.options.max_codes": CODES,
    "model.options.prompt_s": 0.4,
    "model.options.flow_iterations": 2,
    "streaming.first_chunk_s": 0.2,
    "streaming.growth": 1.5,
    "engine.workers": 1,
    "engine.threads": 1,
    "engine.device": "cpu",
}
SAMPLES = target_frames(CODES) * 256
"""Of one segment."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a server with two recordings as voices."""
    voices = tmp_path_factory.mktemp("voices")
    wave = built_in_wave(24000)[:36000]
    soundfile.write(voices / "ann.wav", wave, 24000)
    soundfile.write(voices / "ben.wav", wave[::-1] * np.linspace(0.2, 1, len(wave)), 24000)
    settings = SETTINGS | {"model.options.voices": voices}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with serving(Path(tmp_path_factory.mktemp("server")), "--profile", "indextts2-default", *overrides) as it:
        yield it.base_url


def pcm(answer: httpx.Response) -> NDArray[np.int64]:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2").astype(np.int64)


def test_tts_and_a_stream_of_the_same_length(url: str) -> None:
    body = {"text": "Hello world.", "seed": 7}
    file = httpx.post(f"{url}/tts", json=body, timeout=60)
    samples, rate = soundfile.read(io.BytesIO(file.content))
    assert rate == 22050 == int(file.headers["x-sample-rate"])
    assert len(samples) == SAMPLES
    assert np.abs(samples).max() > 0
    assert "x-ignored-fields" not in file.headers
    pieces: list[bytes] = []
    with httpx.stream("POST", f"{url}/tts/stream", json=body, timeout=60) as answer:
        assert answer.status_code == 200
        pieces.extend(answer.iter_raw())
    stream = b"".join(pieces)
    assert len(pieces) >= 3
    assert stream[:WAV_HEADER_BYTES] == wav_header(rate)
    assert len(stream) - WAV_HEADER_BYTES == 2 * SAMPLES


def test_a_text_of_two_segments_has_a_pause_between_them(url: str) -> None:
    body = {
        "text": "One is here at last. Two is not.",
        "max_text_tokens_per_segment": 20,
        "format": "pcm",
        "seed": 1,
    }
    samples = pcm(httpx.post(f"{url}/tts", json=body, timeout=60))
    pause = round(0.2 * 22050)
    assert len(samples) == 2 * SAMPLES + pause
    assert not samples[SAMPLES : SAMPLES + pause].any()


def test_emotion_reaches_the_model_by_the_official_precedence(url: str) -> None:
    def speak(**fields: Any) -> NDArray[np.int64]:
        body = {"text": "Hello.", "seed": 3, "format": "pcm", "voice": "ann", **fields}
        return pcm(httpx.post(f"{url}/tts", json=body, timeout=60))

    angry = [0.0, 0.9, *[0.0] * 6]
    own = speak()
    by_voice, by_vector = speak(emo_voice="ben"), speak(emo_vector=angry)
    assert not np.array_equal(own, by_voice)
    assert not np.array_equal(own, by_vector)
    assert not np.array_equal(by_voice, by_vector)
    # The vector wins over the voice; at strength 0 it is the voice's own emotion.
    assert np.array_equal(by_vector, speak(emo_vector=angry, emo_voice="ben"))
    assert np.array_equal(own, speak(emo_vector=angry, emo_alpha=0.0))
    assert not np.array_equal(by_vector, speak(emo_vector=angry, emo_alpha=0.5))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"emo_vector": [0.1] * 7}, "emo_vector"),
        ({"emo_vector": [0.1] * 7 + [-1]}, "emo_vector"),
        ({"emo_vector": [0.1] * 7 + ["much"]}, "emo_vector"),
        ({"emo_voice": "eve"}, "emo_voice"),
        ({"emo_alpha": 1.5}, "emo_alpha"),
        ({"emo_text": "What a day!"}, "emo_text"),
        ({"voice": "eve"}, "voice"),
        ({"top_k": 200}, "top_k"),
        ({"max_text_tokens_per_segment": 600}, "max_text_tokens_per_segment"),
    ],
)
def test_a_wrong_field_is_named_before_any_audio(url: str, fields: dict[str, Any], field: str) -> None:
    for path in ("/tts", "/tts/stream"):
        answer = httpx.post(url + path, json={"text": "Hello.", **fields}, timeout=60)
        assert answer.status_code == 400
        assert answer.json()["field"] == field


def test_fields_without_use_are_named(url: str) -> None:
    answer = httpx.post(f"{url}/tts", json={"text": "Hello.", "speed": 1.5, "emo_alpha": 1}, timeout=60)
    assert answer.headers["x-ignored-fields"] == "speed"
    voices = httpx.get(f"{url}/voices").json()
    assert [voice["name"] for voice in voices["voices"]] == ["ann", "ben"]


async def test_eight_streams_at_once_each_say_what_they_say_alone(url: str) -> None:
    bodies = [
        {"text": "It goes on. " * (number + 1), "seed": number, "format": "pcm", "voice": "ann"}
        for number in range(8)
    ]
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        before = (await client.get("/stats")).json()
        answers = await asyncio.gather(*(client.post("/tts/stream", json=body) for body in bodies))
        after = (await client.get("/stats")).json()
        for number in (0, 5):
            alone = pcm(await client.post("/tts/stream", json=bodies[number]))
            assert len(alone) == SAMPLES
            assert np.abs(pcm(answers[number]) - alone).max() <= 1
    assert all(len(pcm(answer)) == SAMPLES for answer in answers)
    rows, steps = (after[key]["decode"] - before[key]["decode"] for key in ("rows", "steps"))
    assert rows >= 8 * (CODES - 1)
    assert rows > 3 * steps, "the streams share their steps"


async def test_a_client_gone_in_mid_decode_frees_its_slot_and_no_neighbour_notices(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def stats() -> dict[str, Any]:
            return dict((await client.get("/stats")).json())

        before = await stats()
        body = {"text": "This one stays.", "seed": 5, "format": "pcm"}
        alone = pcm(await client.post("/tts", json=body))
        # /tts draws all its codes before its first sample, so this goes in mid-decode.
        leaving = asyncio.ensure_future(client.post("/tts", json={"text": "This one goes away. " * 30}))
        while (await stats())["slots_used"] == 0:
            assert not leaving.done()
        staying = asyncio.ensure_future(client.post("/tts", json=body))
        while (await stats())["slots_used"] < 2:
            assert not staying.done()
        leaving.cancel()
        left_at = time.monotonic()
        while (now := await stats())["requests"]["aborted"] == before["requests"]["aborted"]:
            assert time.monotonic() - left_at < 30
        assert now["slots_used"] <= 1
        answer = await staying
        after = await stats()
    assert np.abs(pcm(answer) - alone).max() <= 1
    assert after["slots_used"] == 0
    assert after["requests"]["failed"] == before["requests"]["failed"]
