"""Answers in every format, whole, streamed, and with times, decoded as a player does."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serving.audio.encode import AUDIO_FORMATS, FIXED_RATES_HZ, MEDIA_TYPES, AudioFormat
from tests.decoding import Floats, decoded, snr_db
from tests.http.test_speech import SEGMENTS, TEXT, tones
from tests.http.test_times import parts_of
from tests.support import Api

pytestmark = pytest.mark.slow

RATE_HZ = 24_000
LEADS = {"aac": 1024}
LEAST_SNR_DB: dict[AudioFormat, float] = {"opus": 15, "mp3": 20, "aac": 25, "mulaw": 25, "alaw": 25}
"""The tone model jumps from one frequency to the next, which no codec likes. Others are exact."""


def said() -> Floats:
    """What the tone model must say, in [-1, 1]."""
    return np.frombuffer(tones(*SEGMENTS), "<i2").astype(np.float64) / 32767.0


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
async def test_a_whole_answer(api: Api, audio_format: AudioFormat) -> None:
    answer = await api.call("POST", "/tts", {"text": TEXT, "format": audio_format})
    assert answer.status == 200, answer.body
    rate_hz = FIXED_RATES_HZ.get(audio_format, RATE_HZ)
    assert answer.headers["content-type"] == MEDIA_TYPES[audio_format]
    assert int(answer.headers["x-sample-rate"]) == rate_hz
    assert int(answer.headers["content-length"]) == len(answer.body)
    wanted = said()
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(len(wanted) / RATE_HZ, abs=1e-3)
    samples, rate = decoded(answer.body, audio_format, rate_hz)
    assert rate == rate_hz
    samples = samples[LEADS.get(audio_format, 0) :]
    excess_s = len(samples) / rate - len(wanted) / RATE_HZ
    assert -1 / RATE_HZ <= excess_s <= (1024 / rate if audio_format == "aac" else 1 / RATE_HZ)
    if rate == RATE_HZ:
        kept = min(len(samples), len(wanted))
        assert snr_db(samples[:kept], wanted[:kept]) >= LEAST_SNR_DB.get(audio_format, 60)


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
async def test_a_stream_comes_in_pieces_that_play(api: Api, audio_format: AudioFormat) -> None:
    whole = await api.call("POST", "/tts", {"text": TEXT, "format": audio_format})
    answer = await api.call("POST", "/tts/stream", {"text": TEXT, "format": audio_format})
    assert answer.complete
    assert answer.headers["content-type"] == MEDIA_TYPES[audio_format]
    assert "content-length" not in answer.headers
    rate_hz = int(answer.headers["x-sample-rate"])
    head = len(answer.messages[1]["body"])
    assert answer.body[head:] == whole.body[head:], "a stream differs in its header alone"
    assert len(answer.pieces) > 4
    half = b"".join(answer.pieces[: len(answer.pieces) // 2])
    samples, rate = decoded(half, audio_format, rate_hz, cut=True)
    assert rate == rate_hz
    assert len(samples) > 0.3 * rate


async def test_the_first_audio_of_each_format_comes_with_the_first_samples(api: Api) -> None:
    """The pieces that the engine makes are longer than what a codec keeps back, so each piece gives a piece; on a busy
    machine some are joined."""
    plain = await api.call("POST", "/tts/stream", {"text": TEXT, "format": "pcm"})
    for audio_format in AUDIO_FORMATS:
        answer = await api.call("POST", "/tts/stream", {"text": TEXT, "format": audio_format})
        head = bool(answer.messages[1]["body"])
        assert len(answer.pieces) - head >= len(plain.pieces) / 2, audio_format


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("audio_format", ["wav", "pcm", "flac", "mp3"])
async def test_another_rate(api: Api, audio_format: AudioFormat, rate_hz: int) -> None:
    fields = {"text": TEXT, "format": audio_format, "sample_rate_hz": rate_hz}
    answer = await api.call("POST", "/tts", fields)
    assert int(answer.headers["x-sample-rate"]) == rate_hz
    samples, rate = decoded(answer.body, audio_format, rate_hz)
    assert rate == rate_hz
    assert len(samples) == round(len(said()) * rate_hz / RATE_HZ)
    assert 0.15 < np.sqrt(np.mean(samples**2)) < 0.22  # a tone of amplitude 0.3


async def test_the_rate_of_the_model_by_name_changes_nothing(api: Api) -> None:
    for path in ("/tts", "/tts/stream"):
        plain = await api.call("POST", path, {"text": TEXT})
        named = await api.call("POST", path, {"text": TEXT, "sample_rate_hz": RATE_HZ})
        assert named.body == plain.body


@pytest.mark.parametrize("audio_format", ["opus", "mp3", "flac", "aac", "mulaw"])
async def test_times_beside_a_coded_answer(api: Api, audio_format: AudioFormat) -> None:
    fields = {"text": TEXT, "format": audio_format}
    for path in ("/tts", "/tts/stream"):
        plain = await api.call("POST", path, fields)
        timed = await api.call("POST", path, fields | {"timestamps": "sentence"})
        kinds = {kind.lower() for kind, _ in parts_of(timed)}
        media_type = MEDIA_TYPES[audio_format].lower()
        assert kinds == {media_type, "application/json"}
        audio = b"".join(content for kind, content in parts_of(timed) if kind.lower() == media_type)
        assert audio == plain.body


async def test_streams_in_all_formats_at_once_are_those_that_come_alone(api: Api) -> None:
    bodies = [{"text": TEXT, "format": audio_format} for audio_format in AUDIO_FORMATS]
    alone = [await api.call("POST", "/tts/stream", body) for body in bodies]
    together = await asyncio.gather(*(api.call("POST", "/tts/stream", body) for body in bodies * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert len(one.body) == len(other.body)


async def test_a_client_that_leaves_a_coded_stream_frees_the_engine(api: Api) -> None:
    answer = await api.call("POST", "/tts/stream", {"text": TEXT * 20, "format": "opus"}, disconnect_after=3)
    assert not answer.complete
    await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
