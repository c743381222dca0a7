"""Samples to what goes over the wire."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.micro.conftest import Timer
from serving.audio.encode import header, pcm16

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
