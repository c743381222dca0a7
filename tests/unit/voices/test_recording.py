"""A recording from an untrusted file: what is decoded, within which bounds, and how it is stored."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from serving.protocol import InputError
from serving.voices import recording
from serving.voices.recording import Recording, decode
from tests.cloning import RATE_HZ, WAVE, audio


def test_samples_are_stored_as_they_are() -> None:
    stereo = np.stack([WAVE, -WAVE / 2], axis=1)
    for wave in (WAVE, stereo):
        file = audio(wave)
        decoded = decode(io.BytesIO(file), "file", 60)
        expected, _ = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
        assert np.array_equal(decoded.samples, expected)
        stored, rate_hz = soundfile.read(io.BytesIO(decoded.wav()), dtype="float32", always_2d=True)
        assert rate_hz == RATE_HZ
        assert np.array_equal(stored, expected)
        assert np.array_equal(decode(io.BytesIO(decoded.wav()), "file", 60).samples, expected)
        assert decoded.wav() == decode(io.BytesIO(decoded.wav()), "file", 60).wav()


def test_no_more_is_decoded_than_is_taken() -> None:
    """An hour of silence is a small file."""
    bomb = io.BytesIO(audio(np.zeros(3600 * RATE_HZ, np.int16), kind="FLAC"))
    assert bomb.getbuffer().nbytes < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="longer than 60 s"):
            decode(bomb, "file", 60)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * 60 * RATE_HZ * 4


def test_a_file_that_decodes_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_DECODE_S", -1.0)
    with pytest.raises(InputError, match="to decode"):
        decode(io.BytesIO(audio(WAVE)), "file", 60)


@pytest.mark.parametrize("rate_hz", [192_000, 100_000])
def test_rates_that_no_recording_needs(rate_hz: int) -> None:
    with pytest.raises(InputError, match=f"{rate_hz} samples a second; at most 96000"):
        decode(io.BytesIO(audio(WAVE, rate_hz)), "file", 60)


def test_what_is_no_number_is_refused() -> None:
    broken = Recording(np.full((RATE_HZ, 1), np.nan, np.float32), RATE_HZ)
    with pytest.raises(InputError, match="no numbers"):
        decode(io.BytesIO(broken.wav()), "file", 60)


def wav_called(code: int, bits: int, *, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    """A WAV whose head says so of its samples."""
    data = (WAVE * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", code, channels, rate_hz, 2 * RATE_HZ, 2, bits)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (wav_called(1, 0), "in a format"),
        (wav_called(0xFFFE, 16), "in a format"),
        (wav_called(0x7777, 16), "in a format"),
        (wav_called(1, 16, rate_hz=0), "not readable"),
        (wav_called(1, 16, rate_hz=2**32 - 1), "not readable"),
        (wav_called(1, 16, rate_hz=1), "longer than 60 s"),
        (wav_called(1, 16, channels=0), "0 channels"),
        (wav_called(1, 16, channels=32), "32 channels"),
    ],
)
def test_a_head_that_says_what_cannot_be_is_refused(file: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(io.BytesIO(file), "file", 60)


@pytest.mark.parametrize("kind", ["WAV", "MP3", "FLAC", "OGG", "AIFF"])
def test_a_file_cut_anywhere_is_read_or_refused(kind: str) -> None:
    file = audio(WAVE, kind=kind)
    for share in range(0, 100, 7):
        try:
            decoded = decode(io.BytesIO(file[: len(file) * share // 100]), "file", 60)
        except InputError:
            continue
        assert 0 < decoded.seconds <= 4.2


def test_any_bytes_are_read_or_refused() -> None:
    chance = np.random.default_rng(1)
    file = bytearray(audio(WAVE, kind="MP3"))
    for _ in range(30):
        damaged = bytearray(file)
        for at in chance.integers(0, len(file), 40):
            damaged[at] = chance.integers(0, 256)
        try:
            assert decode(io.BytesIO(damaged), "file", 60).seconds < 60
        except InputError:
            continue
