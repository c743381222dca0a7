"""Samples to bytes."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import soundfile

from serving.audio.encode import UNKNOWN_SIZE, WAV_HEADER_BYTES, header, pcm16, wav_header

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("sample", "integer"),
    [
        (0.0, 0),
        (1.0, 32767),
        (-1.0, -32767),
        (7.0, 32767),
        (-7.0, -32767),
        (1.4 / 32767, 1),
        (1.6 / 32767, 2),
        (-1.6 / 32767, -2),
    ],
)
def test_a_sample_is_clipped_scaled_and_rounded(sample: float, integer: int) -> None:
    assert pcm16(np.array([sample], np.float32)) == integer.to_bytes(2, "little", signed=True)


def test_a_half_rounds_to_the_even_integer() -> None:
    # Of these quotients the float32 product with 32767 is the half itself.
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)
    samples = halves / np.float32(32767)
    assert (samples * np.float32(32767) == halves).all()
    assert np.frombuffer(pcm16(samples), "<i2").tolist() == [0, 2, 2, 0, -2]


def test_pieces_joined_equal_the_whole() -> None:
    samples = np.random.default_rng(1).uniform(-1.2, 1.2, 1000).astype(np.float32)
    pieces = [samples[:1], samples[1:1], samples[1:700], samples[700:]]
    assert b"".join(map(pcm16, pieces)) == pcm16(samples)


def test_a_wav_with_a_true_header_is_read_by_others() -> None:
    samples = np.linspace(-1, 1, 500, dtype=np.float32)
    file = wav_header(24000, 500) + pcm16(samples)
    with wave.open(io.BytesIO(file)) as read:
        assert read.getparams()[:4] == (1, 2, 24000, 500)
    read_samples, rate = soundfile.read(io.BytesIO(file), dtype="int16")
    assert rate == 24000
    assert read_samples.astype("<i2").tobytes() == pcm16(samples)


def test_a_streaming_header_has_unknown_sizes_and_is_read_to_the_end() -> None:
    head = wav_header(22050)
    assert len(head) == WAV_HEADER_BYTES
    assert int.from_bytes(head[4:8], "little") == int.from_bytes(head[40:44], "little") == UNKNOWN_SIZE
    samples, rate = soundfile.read(io.BytesIO(head + pcm16(np.zeros(100, np.float32))))
    assert (len(samples), rate) == (100, 22050)


def test_raw_pcm_has_no_header() -> None:
    assert header("pcm", 24000, 10) == b""
    assert header("wav", 24000, 10) == wav_header(24000, 10)


def test_a_file_past_four_gigabytes_is_refused() -> None:
    wav_header(24000, (UNKNOWN_SIZE - 37) // 2)
    with pytest.raises(ValueError, match="do not fit"):
        wav_header(24000, 2**31)
