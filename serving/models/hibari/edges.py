"""Samples made fit to be heard: the ends of a segment without silence and clicks, the loudness. Plain numpy."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from serving.models.hibari.constants import HOP, SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

ONSET_RMS = 10 ** (-55 / 20)
"""Speech begins in the first 2.5 ms that are louder; breaths and fricatives are."""
ONSET_FRAME = SAMPLE_RATE_HZ // 400
SEARCH_SAMPLES = 10 * HOP
"""The onset is sought so far: timing.HEAD_FRAMES and the 50 ms in which a slow fricative rises to ONSET_RMS."""
FADE_IN = SAMPLE_RATE_HZ // 200
FADE_OUT = SAMPLE_RATE_HZ // 100
KNEE = 0.8
"""Samples that a gain raises above it are pressed together between it and 1."""


def trim_head(samples: Samples) -> Samples:
    """The samples from FADE_IN before the onset on, faded in up to it, where they lie.

    What it does depends on the first SEARCH_SAMPLES alone, so it is the same for a first window of any size.
    """
    searched = samples[:SEARCH_SAMPLES]
    frames = searched[: len(searched) // ONSET_FRAME * ONSET_FRAME].reshape(-1, ONSET_FRAME)
    loud = np.flatnonzero(np.square(frames).mean(1) > ONSET_RMS**2)
    onset = int(loud[0]) * ONSET_FRAME if loud.size else len(searched)
    samples = samples[max(onset - FADE_IN, 0) :]
    length = min(FADE_IN, len(samples))
    samples[:length] *= _ramp(length)
    return samples


def fade_tail(samples: Samples) -> Samples:
    """The samples faded out over the last FADE_OUT, where they lie."""
    length = min(FADE_OUT, len(samples))
    samples[-length:] *= _ramp(length)[::-1]
    return samples


@functools.lru_cache(maxsize=16)
def _ramp(length: int) -> Samples:
    """From 0 to 1."""
    return np.linspace(0, 1, length, dtype=np.float32)


def amplify(samples: Samples, gain: float) -> Samples:
    """The samples times `gain`, within [-1, 1] and without a hard edge. No sample depends on another."""
    samples = samples * np.float32(gain)
    size = np.abs(samples)
    pressed = KNEE + (1 - KNEE) * np.tanh((size - KNEE) / (1 - KNEE))
    return (
        np.where(size > KNEE, np.copysign(pressed, samples), samples).astype(np.float32)
        if gain > 1
        else samples
    )
