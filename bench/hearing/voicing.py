"""Where a wave has a voice: its pitch, what lies before and after the voice, and whether it stays the same voice."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.heard import Heard

BANDS_HZ = tuple(100.0 * 2 ** (number / 3) for number in range(17))
"""Edges of the third-octave bands from 100 Hz to 4 kHz: all that a telephone carries of a voice."""
VOICED = 0.5
"""Height of the autocorrelation's peak from which a frame is voiced."""
BELOW_LEVEL_DB = 15.0
"""A voiced frame counts as the voice down to so far below the loud ones: a hum below it is none."""
LEAST_RUN = 3
"""Voiced frames in a row, of 20 ms each, that are a voice."""
LEAST_VOICED = 0.3
"""Share of the frames; a voice that whispers has less, and nothing is said of where it begins."""
STILL, LEAST_STILL = 0.99, 4
"""Likeness of a frame to the next, and so many in a row: no voice holds its sound so still where it begins."""
LEAST_HALF = 40
"""Voiced frames of each half that tell its pitch."""


MOST_CONSONANTS_S = 0.35
"""Of sound before the first voice, in one wave: a consonant, and a voice that begins softly. The embedded voice has up
to 0.14 s; of 260 waves of Piper's Joe three have more than this."""


class Voicing(NamedTuple):
    """Of each frame of a spectrum."""

    pitch_hz: NDArray[np.float64]
    strength: NDArray[np.float64]
    """Peak of the autocorrelation over that at 0: 1 for a pulse train."""


def voicing_of(power: NDArray[np.float32], hz: float) -> Voicing:
    """Of power spectra [frames, bins] with bins of `hz`: the lag of the largest autocorrelation peak, 60 to 400 Hz."""
    low_part = power.copy()
    low_part[:, round(900 / hz) :] = 0
    auto = np.fft.irfft(low_part, axis=1)
    rate = hz * auto.shape[1]
    low, high = round(rate / 400), min(round(rate / 60), auto.shape[1] // 2)
    peak = auto[:, low:high].argmax(axis=1) + low
    strength = np.take_along_axis(auto, peak[:, None], axis=1)[:, 0] / (auto[:, 0] + 1e-12)
    return Voicing(rate / peak, strength)


def median_pitch_hz(voicing: Voicing) -> float:
    """Over the voiced frames; 0 if there are too few."""
    voiced = voicing.strength > VOICED
    return float(np.median(voicing.pitch_hz[voiced])) if voiced.sum() >= 5 else 0.0


def bands_db(mean: NDArray[np.float32], hz: float) -> NDArray[np.float64]:
    """Levels of a mean power spectrum [bins] in BANDS_HZ, mean 0."""
    edges = [round(edge / hz) for edge in BANDS_HZ]
    parts = [mean[a : max(b, a + 1)] for a, b in pairwise(edges)]
    bands = [part.mean() if len(part) else 0.0 for part in parts]  # none above what the rate can carry
    levels = 10 * np.log10(np.asarray(bands, np.float64) + 1e-12)
    levelled: NDArray[np.float64] = levels - levels.mean()
    return levelled


def describe_voice(
    found: Heard,
    voicing: Voicing,
    at_s: NDArray[np.float64],
    power: NDArray[np.float32],
    hz: float,
    alike: NDArray[np.floating[Any]],
) -> None:
    """Fill in what lies around the voice of a wave, and how far the voice of its second half is from the first's.

    `alike`, [frames - 1]: how like each frame's spectrum is to the next one's, 1 for the same.
    """
    levels = 10 * np.log10(power.mean(axis=1) + 1e-12)
    voiced = (voicing.strength > VOICED) & (levels > np.percentile(levels, 90) - BELOW_LEVEL_DB)
    if voiced.mean() < LEAST_VOICED:
        return
    hop_s = float(np.diff(at_s).min(initial=1.0))
    first = _after_tone(alike)
    starts = [at for at in range(first, len(voiced) - LEAST_RUN + 1) if _is_run(voiced, at_s, at, hop_s)]
    if starts and found.audible_at_s is not None:
        found.unvoiced_start_s = max(0.0, float(at_s[starts[0]]) - found.audible_at_s)
        found.charged_s = max(0.0, found.unvoiced_start_s - MOST_CONSONANTS_S)
        end_s = float(at_s[starts[-1] + LEAST_RUN - 1]) + 2 * hop_s
        found.unvoiced_end_s = max(0.0, found.seconds - found.tail_s - end_s)
    middle = int(np.searchsorted(at_s, (at_s[0] + at_s[-1]) / 2))
    halves = [slice(None, middle), slice(middle, None)]
    if all(voiced[half].sum() >= LEAST_HALF for half in halves):
        pitches = [float(np.median(voicing.pitch_hz[half][voiced[half]])) for half in halves]
        found.turn_pitch = abs(math.log(pitches[0] / pitches[1]))
        bands = [bands_db(power[half].mean(axis=0), hz) for half in halves]
        found.turn_db = float(np.sqrt(((bands[0] - bands[1]) ** 2).mean()))


def _after_tone(alike: NDArray[np.floating[Any]]) -> int:
    """The first frame behind a tone or hum that a wave begins with, whose onset may be in its first; 0 without one."""
    for begin in range(min(LEAST_STILL, len(alike))):
        moved = np.flatnonzero(alike[begin:] < STILL)
        still = int(moved[0]) if len(moved) else len(alike) - begin
        if still >= LEAST_STILL:
            return begin + still + 1
    return 0


def _is_run(voiced: NDArray[np.bool_], at_s: NDArray[np.float64], at: int, hop_s: float) -> bool:
    """Whether LEAST_RUN frames from this one on are voiced and follow each other without a pause."""
    last = at + LEAST_RUN - 1
    return bool(voiced[at : last + 1].all()) and at_s[last] - at_s[at] < (LEAST_RUN - 0.5) * hop_s
