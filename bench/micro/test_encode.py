"""Samples to what goes over the wire."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.micro.conftest import Timer
from serving.audio.encode import AUDIO_FORMATS, AudioFormat, header, make_encoder, pcm16

RATE_HZ = 24_000


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float32]:
    """Ten seconds."""
    return np.random.default_rng(1).uniform(-1, 1, 10 * RATE_HZ).astype(np.float32)


@pytest.mark.benchmark(group="encode 10 s")
def test_pcm(timed: Timer, samples: NDArray[np.float32]) -> None:
    timed(lambda: pcm16(samples))


@pytest.mark.benchmark(group="encode 10 s")
def test_wav(timed: Timer, samples: NDArray[np.float32]) -> None:
    timed(lambda: header("wav", RATE_HZ, len(samples)) + pcm16(samples))


@pytest.mark.benchmark(group="encode 10 s")
@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_format(timed: Timer, samples: NDArray[np.float32], audio_format: AudioFormat) -> None:
    def answer() -> bytes:
        encoder = make_encoder(audio_format, RATE_HZ)
        return encoder.begin(len(samples)) + encoder.feed(samples) + encoder.end()

    timed(answer)


@pytest.mark.benchmark(group="encode 10 s")
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_another_rate(timed: Timer, samples: NDArray[np.float32], rate_hz: int) -> None:
    def answer() -> bytes:
        encoder = make_encoder("pcm", RATE_HZ, rate_hz)
        return encoder.feed(samples) + encoder.end()

    timed(answer)
