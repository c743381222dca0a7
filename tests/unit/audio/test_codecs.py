"""Every format at every rate: decoded whole and cut off, its length, its fidelity, and how soon it begins."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.audio.codecs import CodecEncoder
from serving.audio.encode import (
    AUDIO_FORMATS,
    FIXED_RATES_HZ,
    OUTPUT_RATES_HZ,
    AudioFormat,
    PcmEncoder,
    make_encoder,
    pcm16,
)
from serving.protocol import InputError
from tests.decoding import Floats, decoded, snr_db

pytestmark = pytest.mark.slow

MODEL_RATES_HZ = (24_000, 22_050)
"""Of the embedded voice, and of IndexTTS2."""
CASES = [
    (audio_format, rate_hz)
    for audio_format in AUDIO_FORMATS
    for rate_hz in OUTPUT_RATES_HZ
    if rate_hz == FIXED_RATES_HZ.get(audio_format, rate_hz)
]
LEAST_SNR_DB: dict[AudioFormat, float] = {"opus": 30, "mp3": 30, "aac": 50, "mulaw": 35, "alaw": 35}
"""Others are as exact as 16 bits."""
LEADS = {"aac": 1024}
"""Samples of silence that a decoder gives before the first: ADTS cannot tell it to leave them out."""


def tones(samples: int, rate_hz: int) -> Floats:
    """Three tones that swell three times a second, a band that every rate can hold."""
    time_s = np.arange(samples) / rate_hz
    parts = ((0.25, 220.0), (0.15, 870.0), (0.1, 2300.0))
    wave = np.sum([level * np.sin(2 * np.pi * hz * time_s + hz) for level, hz in parts], axis=0)
    swell: Floats = wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))
    return swell


def encode(
    audio_format: AudioFormat,
    samples: NDArray[np.float32],
    model_rate_hz: int,
    rate_hz: int,
    *,
    known: bool,
    piece: int = 480,
) -> bytes:
    encoder = make_encoder(audio_format, model_rate_hz, rate_hz)
    pieces = [encoder.feed(samples[at : at + piece]) for at in range(0, len(samples), piece)]
    rest = encoder.end()
    return b"".join([encoder.begin(len(samples) if known else None), *pieces, rest])


@pytest.mark.parametrize("model_rate_hz", MODEL_RATES_HZ)
@pytest.mark.parametrize(("audio_format", "rate_hz"), CASES)
def test_a_whole_answer_decodes_to_what_was_fed(
    audio_format: AudioFormat, rate_hz: int, model_rate_hz: int
) -> None:
    count = model_rate_hz + 123
    fed = tones(count, model_rate_hz).astype(np.float32)
    samples, rate = decoded(
        encode(audio_format, fed, model_rate_hz, rate_hz, known=True), audio_format, rate_hz
    )
    assert rate == rate_hz
    samples = samples[LEADS.get(audio_format, 0) :]
    exact = count * rate_hz / model_rate_hz
    # Opus counts at 48 kHz what was coded at 24 kHz.
    assert abs(len(samples) - exact) <= 1 or (audio_format == "aac" and 0 <= len(samples) - exact <= 1024)
    # A resampler knows nothing before the first sample and after the last, so the edges are left out.
    middle = slice(rate_hz // 20, round(exact) - rate_hz // 20)
    wanted = tones(len(samples), rate_hz)
    assert snr_db(samples[middle], wanted[middle]) >= LEAST_SNR_DB.get(audio_format, 80)


@pytest.mark.parametrize("audio_format", ["wav", "pcm", "flac"])
def test_a_lossless_answer_at_the_rate_of_the_model_is_the_integers_themselves(
    audio_format: AudioFormat,
) -> None:
    fed = np.random.default_rng(2).uniform(-1.1, 1.1, 24_123).astype(np.float32)
    for known in (True, False):
        content = encode(audio_format, fed, 24_000, 24_000, known=known)
        samples, _ = decoded(content, audio_format, 24_000)
        assert np.rint(samples * 32767).astype("<i2").tobytes() == pcm16(fed)


@pytest.mark.parametrize("audio_format", ["flac", "opus", "mp3"])
@pytest.mark.parametrize("model_rate_hz", MODEL_RATES_HZ)
@pytest.mark.parametrize("count", [2_000, 2_879, 2_880, 2_881, 9_999, 24_000])
def test_lengths_are_exact(audio_format: AudioFormat, model_rate_hz: int, count: int) -> None:
    rate_hz = FIXED_RATES_HZ.get(audio_format, model_rate_hz)
    fed = tones(count, model_rate_hz).astype(np.float32)
    samples, _ = decoded(encode(audio_format, fed, model_rate_hz, rate_hz, known=True), audio_format, rate_hz)
    assert abs(len(samples) - count * rate_hz / model_rate_hz) <= (1 if audio_format == "opus" else 0)


@pytest.mark.parametrize("rate_hz", OUTPUT_RATES_HZ)
def test_a_streamed_mp3_begins_with_its_first_sample_and_ends_at_most_a_frame_late(rate_hz: int) -> None:
    count = rate_hz + 77
    samples, _ = decoded(
        encode("mp3", tones(count, rate_hz).astype(np.float32), rate_hz, rate_hz, known=False), "mp3", rate_hz
    )
    assert 0 <= len(samples) - count <= (1152 if rate_hz > 24_000 else 576) + 47
    middle = slice(rate_hz // 20, count - rate_hz // 20)
    assert snr_db(samples[middle], tones(count, rate_hz)[middle]) >= LEAST_SNR_DB["mp3"]


@pytest.mark.parametrize(("audio_format", "rate_hz"), CASES)
def test_a_stream_that_is_cut_plays_to_the_cut(audio_format: AudioFormat, rate_hz: int) -> None:
    fed = tones(2 * 24_000, 24_000).astype(np.float32)
    content = encode(audio_format, fed, 24_000, rate_hz, known=False)
    whole, _ = decoded(content, audio_format, rate_hz)
    for share in (0.3, 0.7):
        samples, rate = decoded(content[: int(len(content) * share)], audio_format, rate_hz, cut=True)
        assert rate == rate_hz
        # The bit rate varies, and of a frame that is cut nothing is heard.
        assert len(samples) > (share - 0.2) * len(whole)
        kept = len(samples) - 2048
        np.testing.assert_allclose(samples[:kept], whole[:kept], atol=1e-4)


@pytest.mark.parametrize(
    ("audio_format", "held_s"),
    [
        ("pcm", 0.0),
        ("mulaw", 0.01),
        ("alaw", 0.01),
        ("flac", 0.02),
        ("opus", 0.04),
        ("mp3", 0.05),
        ("aac", 0.09),
    ],
)
def test_the_first_audio_comes_early(audio_format: AudioFormat, held_s: float) -> None:
    """Milliseconds of speech that a format keeps back, at 24 kHz: after that much, a listener has sound."""
    encoder = make_encoder(audio_format, 24_000)
    fed = tones(24_000, 24_000).astype(np.float32)
    got, fed_s = b"", 0.0
    for at in range(0, len(fed), 240):
        got, fed_s = encoder.feed(fed[at : at + 240]), (at + 240) / 24_000
        if got:
            break
    assert got
    assert fed_s <= held_s + 0.011
    # From then on it keeps no more than that back.
    rest = b"".join(encoder.feed(fed[at + 240 + n : at + 480 + n]) for n in range(0, 4_800, 240))
    samples, rate = decoded(encoder.begin() + got + rest, audio_format, encoder.sample_rate_hz)
    heard_s = (len(samples) - LEADS.get(audio_format, 0)) / rate
    assert heard_s >= fed_s + 0.2 - 2 * held_s - 0.01


@pytest.mark.parametrize(("audio_format", "rate_hz"), CASES)
def test_the_bytes_depend_on_the_samples_alone(audio_format: AudioFormat, rate_hz: int) -> None:
    fed = tones(12_345, 24_000).astype(np.float32)
    contents = {
        encode(audio_format, fed, 24_000, rate_hz, known=False, piece=piece)
        for piece in (7, 480, 6_000, 12_345)
    }
    assert len(contents) == 1


@pytest.mark.parametrize(("audio_format", "rate_hz"), CASES)
def test_a_header_can_be_rewritten_in_place(audio_format: AudioFormat, rate_hz: int) -> None:
    encoder = make_encoder(audio_format, 24_000, rate_hz)
    first = encoder.begin()
    encoder.feed(np.zeros(5_000, np.float32))
    assert len(encoder.begin(5_000)) == len(first)
    assert encoder.begin() == first


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_no_samples_make_an_answer_without_sound(audio_format: AudioFormat) -> None:
    encoder = make_encoder(audio_format, 24_000)
    nothing = np.zeros(0, np.float32)
    assert encoder.feed(nothing) == b""
    assert len(encoder.begin(0) + encoder.end()) < 300


def test_a_format_keeps_its_only_rate() -> None:
    for audio_format, rate_hz in FIXED_RATES_HZ.items():
        assert make_encoder(audio_format, 24_000).sample_rate_hz == rate_hz
        with pytest.raises(InputError, match=f"always {rate_hz} Hz") as refused:
            make_encoder(audio_format, 24_000, 16_000)
        assert refused.value.field == "sample_rate_hz"


def test_a_flac_longer_than_its_header_can_say_is_refused() -> None:
    encoder = CodecEncoder("flac", 24_000)
    assert encoder.begin((1 << 36) - 1)
    with pytest.raises(ValueError, match="do not fit"):
        encoder.begin(1 << 36)


@pytest.mark.slow
def test_no_codec_is_loaded_until_one_is_asked_for() -> None:
    assert isinstance(make_encoder("wav", 24_000, 24_000), PcmEncoder)
    code = (
        "import sys, serving.cli, serving.http.app, serving.say, serving.audio.encode as encode;"
        "encode.make_encoder('wav', 24000, 24000); assert 'av' not in sys.modules, 'loaded';"
        "encode.make_encoder('mp3', 24000); assert 'av' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
