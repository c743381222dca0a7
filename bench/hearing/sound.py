"""What is audible in a wave, in frames of 10 ms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

AUDIBLE_DBFS = -45.0
"""Frames above this level are heard; the level of a full-scale sine is -3 dBFS."""
FRAME_S = 0.01
LOUD_RANGE_DB = 25.0
"""Below the loudest frame: what tells how loud a voice is."""
BELOW_VOICE_DB = 18.5
"""Silence lies so far below a quiet voice. The embedded voice is loud enough for AUDIBLE_DBFS."""
LEAST_QUIET_DBFS = -60.0
RUMBLE_HZ = (55.0, 95.0)
"""Below the first is no speech, from the second on all of it: an offset and the hum of the mains are no sound."""
SHORTEST_PAUSE_S = 0.15
"""A closed plosive is silent for up to 0.12 s; longer silence is a pause."""


EARLY_S = 1.0
"""Two or three words."""


class Sound(NamedTuple):
    """Seconds of silence before, after and within a wave."""

    head_s: float
    tail_s: float
    pauses_s: list[float]
    """Silences of SHORTEST_PAUSE_S and more between the first sound and the last."""
    voiced_s: float
    """From the first sound to the last, without the pauses."""
    early_pause_s: float = 0.0
    """The longest pause that begins within EARLY_S of the first sound."""


def without_rumble(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """A wave [n] without what a sound card, the mains or a vendor adds below speech; nobody hears it as a sound."""
    if not len(samples):
        return samples
    centred = samples - samples.mean()
    whole = len(samples) + -len(samples) % (sample_rate_hz // 10)  # a length of small factors
    spectrum = np.fft.rfft(centred, whole)
    hz = np.arange(len(spectrum)) * sample_rate_hz / whole
    passed = np.clip((hz - RUMBLE_HZ[0]) / (RUMBLE_HZ[1] - RUMBLE_HZ[0]), 0.0, 1.0)
    spectrum *= 0.5 - 0.5 * np.cos(np.pi * passed)
    return np.fft.irfft(spectrum, whole)[: len(samples)].astype(np.float32)


def levels_dbfs(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float64]:
    """Level of each whole frame of a wave [n]: 20 log10 of its root mean square."""
    size = round(FRAME_S * sample_rate_hz)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    levels: NDArray[np.float64] = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-9)
    return levels


def quiet_dbfs(levels: NDArray[np.float64]) -> float:
    """What counts as silence in a wave with these levels of its frames: AUDIBLE_DBFS, and less in one that is quiet.

    Else the soft sounds of a quiet voice would be pauses, and the voice a fast one.
    """
    loud = levels[levels > levels.max(initial=-180.0) - LOUD_RANGE_DB]
    mean_dbfs = 10 * np.log10((10 ** (loud / 10)).mean()) if len(loud) else AUDIBLE_DBFS
    return float(max(min(AUDIBLE_DBFS, mean_dbfs - BELOW_VOICE_DB), LEAST_QUIET_DBFS))


def sound_of(
    samples: NDArray[np.float32], sample_rate_hz: int, threshold_dbfs: float = AUDIBLE_DBFS
) -> Sound | None:
    """Where a wave is louder than that; None if it nowhere is."""
    audible = np.flatnonzero(levels_dbfs(samples, sample_rate_hz) > threshold_dbfs)
    if not len(audible):
        return None
    silences = (np.diff(audible) - 1) * FRAME_S
    pauses = [float(silence) for silence in silences if silence >= SHORTEST_PAUSE_S]
    head_s = float(audible[0]) * FRAME_S
    end_s = float(audible[-1] + 1) * FRAME_S
    early = silences[audible[:-1] < audible[0] + EARLY_S / FRAME_S].max(initial=0.0)
    return Sound(
        head_s,
        len(samples) / sample_rate_hz - end_s,
        pauses,
        end_s - head_s - sum(pauses),
        float(early) if early >= SHORTEST_PAUSE_S else 0.0,
    )
