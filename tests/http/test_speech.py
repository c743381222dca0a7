"""POST /tts and /tts/stream with the tone model, whose samples are known in advance."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from serving.audio.encode import UNKNOWN_SIZE, WAV_HEADER_BYTES, pcm16, wav_header
from serving.http.app import create_app
from serving.models.tone.model import expected_samples
from serving.models.tone.options import Options
from tests.support import JSON, Api, running, tone_profile

TEXT = "Hello there. This is the second sentence, somewhat longer than the first! Is it?"
SEGMENTS = ["Hello there.", "This is the second sentence, somewhat longer than the first!", "Is it?"]


def tones(*segments: str, voice: str = "low") -> bytes:
    """The integers that the tone model must answer with."""
    spoken: list[NDArray[np.float32]] = [
        expected_samples([ord(character) for character in segment], voice, Options()) for segment in segments
    ]
    return pcm16(np.concatenate(spoken))


def differ(left: bytes, right: bytes) -> int:
    """Largest difference of two runs of samples, in steps of 16 bits."""
    a, b = (np.frombuffer(side, "<i2").astype(int) for side in (left, right))
    assert len(a) == len(b)
    return int(np.abs(a - b).max())


async def test_tts_answers_a_whole_wav_file(api: Api) -> None:
    answer = await api.call("POST", "/tts", {"text": TEXT})
    assert answer.status == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.body)
    samples, rate = soundfile.read(io.BytesIO(answer.body), dtype="int16")
    assert rate == int(answer.headers["x-sample-rate"]) == 24000
    assert answer.body[:WAV_HEADER_BYTES] == wav_header(rate, len(samples))
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(len(samples) / rate, abs=1e-3)
    assert answer.headers["x-voice"] == "low"
    assert differ(answer.body[WAV_HEADER_BYTES:], tones(*SEGMENTS)) <= 1


async def test_a_stream_is_one_header_then_the_same_samples_in_pieces(api: Api) -> None:
    answer = await api.call("POST", "/tts/stream", {"text": TEXT, "voice": "high"})
    assert answer.status == 200
    assert answer.complete
    assert answer.pieces[0] == wav_header(24000)
    assert answer.pieces[0][4:8] == UNKNOWN_SIZE.to_bytes(4, "little")
    assert len(answer.pieces) > 4
    assert answer.body.count(b"RIFF") == 1
    assert "content-length" not in answer.headers
    assert answer.headers["x-voice"] == "high"
    assert differ(answer.body[WAV_HEADER_BYTES:], tones(*SEGMENTS, voice="high")) <= 1


@pytest.mark.parametrize("path", ["/tts", "/tts/stream"])
async def test_pcm_is_the_samples_alone(api: Api, path: str) -> None:
    answer = await api.call("POST", path, {"text": TEXT, "format": "pcm"})
    assert answer.headers["content-type"] == "audio/pcm"
    assert differ(answer.body, tones(*SEGMENTS)) <= 1


async def test_a_raw_stream_begins_before_its_samples(api: Api) -> None:
    answer = await api.call("POST", "/tts/stream", {"text": TEXT, "format": "pcm"})
    assert answer.messages[1] == {"type": "http.response.body", "body": b"", "more_body": True}


async def test_fields_without_effect_are_named(api: Api) -> None:
    fields = {"temperature": 0.7, "top_p": 0.8, "top_k": 50, "speed": 1.0, "max_text_tokens_per_segment": 100}
    answer = await api.call("POST", "/tts", {"text": "Hello world", **fields})
    assert answer.status == 200
    assert answer.headers["x-ignored-fields"] == "speed, temperature, top_k, top_p"
    plain = await api.call("POST", "/tts", {"text": "Hello world", "voice": None, "format": "wav"})
    assert "x-ignored-fields" not in plain.headers


async def test_the_seed_is_the_clients_or_drawn(api: Api) -> None:
    given = await api.call("POST", "/tts", {"text": "Hi", "seed": 2**53 + 1})
    assert given.headers["x-seed"] == str(2**53 + 1)
    drawn = {(await api.call("POST", "/tts", {"text": "Hi"})).headers["x-seed"] for _ in range(4)}
    assert len(drawn) > 1


async def test_a_sane_request_id_is_kept_and_another_replaced(api: Api) -> None:
    sane = await api.call("POST", "/tts", {"text": "Hi"}, (*JSON, (b"x-request-id", b"job-7:a.b_c")))
    assert sane.headers["x-request-id"] == "job-7:a.b_c"
    for bad in (b"x" * 200, b"a b", b"a\tb", b"\xff", b""):
        answer = await api.call("POST", "/tts", {"text": "Hi"}, (*JSON, (b"x-request-id", bad)))
        assert answer.status == 200
        assert len(answer.headers["x-request-id"]) == 32
    refused = await api.call("POST", "/tts", {}, (*JSON, (b"x-request-id", b"job-8")))
    assert refused.headers["x-request-id"] == "job-8"


async def test_concurrent_requests_do_not_mix(api: Api) -> None:
    texts = [f"Request number {number}. It has its own words: {'x' * number}." for number in range(12)]
    answers = await asyncio.gather(
        *(
            api.call("POST", "/tts/stream", {"text": text, "format": "pcm", "normalize": False})
            for text in texts
        )
    )
    for text, answer in zip(texts, answers, strict=True):
        first, second = text.split(". ", 1)
        assert differ(answer.body, tones(f"{first}.", second)) <= 1


async def test_a_client_gone_in_mid_stream_frees_its_slot_and_no_other() -> None:
    profile = tone_profile("model.options.step_s=0.02", "model.options.max_window_tokens=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        neighbour = asyncio.ensure_future(api.call("POST", "/tts/stream", {"text": TEXT, "format": "pcm"}))
        await api.until("/stats", lambda stats: stats["slots_used"] > 0)
        gone = await api.call("POST", "/tts/stream", {"text": "a" * 400}, disconnect_after=3)
        assert not gone.complete
        stats = await api.until("/stats", lambda stats: stats["requests"]["aborted"] == 1)
        assert stats["requests"]["finished"] == 0
        assert differ((await neighbour).body, tones(*SEGMENTS)) <= 1
        await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])


async def test_a_client_that_stalls_and_goes_frees_its_slot() -> None:
    profile = tone_profile("model.options.step_s=0.01", "model.options.max_window_tokens=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        gone = await api.call("POST", "/tts/stream", {"text": "a" * 400}, stall_after=2)
        assert not gone.complete
        stats = await api.until("/stats", lambda stats: stats["requests"]["aborted"] == 1)
        assert stats["slots_used"] == 0


async def test_a_client_that_leaves_while_tts_works_frees_its_slot() -> None:
    profile = tone_profile("model.options.step_s=0.01", "model.options.max_window_tokens=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        gone = asyncio.Event()
        asked = asyncio.ensure_future(api.call("POST", "/tts", {"text": "a" * 400}, gone=gone))
        await api.until("/stats", lambda stats: stats["slots_used"] > 0)
        gone.set()
        assert (await asked).status == 499
        stats = await api.until("/stats", lambda stats: stats["requests"]["aborted"] == 1)
        assert stats["slots_used"] == 0


async def test_a_stream_asks_proxies_not_to_buffer(api: Api) -> None:
    answer = await api.call("POST", "/tts/stream", {"text": "Hi."})
    assert answer.headers["x-accel-buffering"] == "no"


async def test_a_byte_order_mark_is_skipped_and_seed_minus_one_draws_a_seed(api: Api) -> None:
    seeds = set()
    for _ in range(2):
        answer = await api.call("POST", "/tts", b'\xef\xbb\xbf{"text": "hello", "seed": -1}')
        assert answer.status == 200
        seeds.add(int(answer.headers["x-seed"]))
    assert len(seeds) == 2
    assert min(seeds) >= 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_pages_answer_head(api: Api, path: str) -> None:
    assert (await api.call("HEAD", path)).status == 200
