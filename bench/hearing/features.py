"""What the samples of one wave say without knowing its words: bytes in, Heard out, by numpy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.heard import Heard
from bench.hearing.raw import played, samples_of
from bench.hearing.sound import AUDIBLE_DBFS, FRAME_S, levels_dbfs, quiet_dbfs, sound_of, without_rumble
from bench.hearing.voicing import bands_db, describe_voice, median_pitch_hz, voicing_of
from bench.records import Encoding

Floats = NDArray[np.float32]

SPECTRUM_S = 0.04
"""Least length of a frame of the spectrum; the next power of two is taken."""
HOP_S = 0.02
OLD_NYQUISTS_HZ = (4000.0, 5512.5, 6000.0, 8000.0, 11025.0, 12000.0)
HOLE_S = 0.003
"""A run of equal samples in mid-speech that is no zero crossing."""
HOLE_EDGE = 0.01
"""Least root mean square on both sides of it."""
STEP_OF_U8 = 1 / 128
"""Between neighbouring values of 8-bit sound: small sounds stand still, and move by jumps."""
LEAST_CLICK_RATE_HZ = 16_000
"""Below it a single pulse of a voice is as narrow as a click."""
CLICK_RATIO = 4.5
"""A spike of the second difference over its surroundings. The highest of 281 honest waves is 3.3."""
CLICK_FLOOR = 0.002
"""Added to the surroundings: what is below cannot be heard."""
STEADY_DB, STEADY_FRAMES = 2.0, 200
LONG_PAUSE_S = 1.4
BREAK_S = 0.5
BANDWIDTH_DB = -70.0
DISTINCT_MOST = 4096


class Spectra(NamedTuple):
    """Power of the frames of a wave."""

    power: NDArray[np.float32]
    """[frames, bins]."""
    hz: float
    """Width of a bin."""
    at_s: NDArray[np.float64]
    """[frames]: where each begins in the wave."""


def hear(
    audio: bytes, encoding: Encoding, channels: int, sample_rate_hz: int, *, sound_only: bool = False
) -> Heard:
    """The figures of one wave of raw audio. An empty one is silent.

    `sound_only` leaves out all but levels and silences, for a generator that has to hear while it loads.
    """
    every = samples_of(audio, encoding, channels)
    numbers = played(every)
    finite = numbers.mean(axis=1)
    speech = without_rumble(finite, sample_rate_hz)
    levels = levels_dbfs(speech, sample_rate_hz)
    heard = sound_of(speech, sample_rate_hz)
    threshold = quiet_dbfs(levels)
    sound = None if heard is None else sound_of(speech, sample_rate_hz, threshold)
    audible = levels[levels > threshold] if heard is not None else levels[:0]
    found = Heard(
        seconds=len(finite) / sample_rate_hz,
        audible_at_s=None if heard is None else heard.head_s,
        tail_s=len(finite) / sample_rate_hz if sound is None else sound.tail_s,
        longest_gap_s=0.0 if sound is None else max(sound.pauses_s, default=0.0),
        pauses=0 if sound is None else len(sound.pauses_s),
        pauses_s=0.0 if sound is None else sum(sound.pauses_s),
        early_pause_s=0.0 if sound is None else sound.early_pause_s,
        breaks_s=[] if sound is None else [round(pause, 2) for pause in sound.pauses_s if pause >= BREAK_S],
        long_pauses=0 if sound is None else sum(pause >= LONG_PAUSE_S for pause in sound.pauses_s),
        voiced_s=0.0 if sound is None else sound.voiced_s,
        level_dbfs=_mean_level(audible),
        peak=float(np.abs(np.nan_to_num(every)).max(initial=0.0)),
        clipped_share=_clipped_share(finite),
        offset=float(finite.mean() / (finite.std() + 1e-9)) if len(finite) else 0.0,
        distinct=DISTINCT_MOST,
        not_numbers=int(np.count_nonzero(~np.isfinite(every))),
        silent_channels=_silent_channels(numbers),
    )
    if sound_only:
        return found
    found.distinct = _distinct(every)
    if sound is None or len(audible) < 5:
        return found
    spectra = spectra_of(speech, sample_rate_hz, threshold)
    step = STEP_OF_U8 if encoding == "u8" else 0.0
    low, high = np.percentile(audible, [10, 90])
    found.level_spread_db = float(high - low)
    found.steady_start_s = _steady_start_s(levels, threshold)
    found.clicks = _clicks(finite, sample_rate_hz, step)
    found.holes = _holes(finite, sample_rate_hz, step)
    if len(spectra.power) > 2:
        _describe_spectrum(found, spectra, sample_rate_hz)
    return found


def spectra_of(wave: Floats, sample_rate_hz: int, threshold_dbfs: float = AUDIBLE_DBFS) -> Spectra:
    """Power spectra of the frames of a wave [n] above a level, Hann window."""
    size = 1 << int(np.ceil(np.log2(SPECTRUM_S * sample_rate_hz)))
    hop = round(HOP_S * sample_rate_hz)
    if len(wave) < size:
        return Spectra(np.zeros((0, size // 2 + 1), np.float32), sample_rate_hz / size, np.zeros(0))
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    loud = 10 * np.log10((frames**2).mean(axis=1) + 1e-12) > threshold_dbfs
    spectrum = np.fft.rfft(frames[loud] * np.hanning(size).astype(np.float32), axis=1)
    power: Floats = (np.abs(spectrum) ** 2 / size).astype(np.float32)
    return Spectra(power, sample_rate_hz / size, np.flatnonzero(loud) * hop / sample_rate_hz)


def _describe_spectrum(found: Heard, spectra: Spectra, sample_rate_hz: int) -> None:
    power = spectra.power + 1e-12
    mean = power.mean(axis=0)
    found.bandwidth_hz = _bandwidth_hz(np.percentile(power, 95, axis=0), spectra.hz)
    low, high = round(100 / spectra.hz), round(min(3900.0, sample_rate_hz / 2) / spectra.hz)
    part = power[:, low:high]
    found.flatness = float(np.median(np.exp(np.log(part).mean(axis=1)) / part.mean(axis=1)))
    shape = np.sqrt(part)
    shape /= np.linalg.norm(shape, axis=1, keepdims=True)
    alike = (shape[1:] * shape[:-1]).sum(axis=1)
    found.spectral_change = float(1 - np.median(alike))
    found.mirrored = _mirrored(power, spectra.hz)
    found.bands_db = [round(float(level), 2) for level in bands_db(mean, spectra.hz)]
    voicing = voicing_of(power, spectra.hz)
    found.pitch_hz = median_pitch_hz(voicing)
    describe_voice(found, voicing, spectra.at_s, power, spectra.hz, alike)


def _mean_level(audible: NDArray[np.float64]) -> float:
    return float(10 * np.log10((10 ** (audible / 10)).mean())) if len(audible) else -120.0


def _clipped_share(wave: Floats) -> float:
    """Samples in a run of three at the wave's own extreme, if that is loud: a limiter at any level has such runs."""
    if not len(wave):
        return 0.0
    size = np.abs(wave)
    top = size >= size.max() * 0.9995
    runs = top[2:] & top[1:-1] & top[:-2]
    return float(runs.mean()) if size.max() > 0.05 and len(runs) else 0.0


def _distinct(samples: Floats) -> int:
    return min(len(np.unique(samples[:: max(1, len(samples) // 100_000)])), DISTINCT_MOST)


def _silent_channels(samples: Floats) -> int:
    level = np.sqrt((samples.astype(np.float64) ** 2).mean(axis=0)) if len(samples) else np.zeros(1)
    return int((level < 1e-2 * level.max()).sum()) if level.max() > 0 else 0


def _steady_start_s(levels: NDArray[np.float64], threshold_dbfs: float) -> float:
    """From the first audible frame: as long as the level stays within STEADY_DB of its median so far; 2 s at most."""
    start = int(np.argmax(levels > threshold_dbfs))
    part = levels[start : start + STEADY_FRAMES]
    length = 3
    while length < len(part) and abs(part[length] - np.median(part[1:length])) < STEADY_DB:
        length += 1
    return length * FRAME_S


def _clicks(wave: Floats, sample_rate_hz: int, step: float) -> int:
    """Places where the second difference is a spike of one or two samples, alone within 2 ms on both sides.

    The pulses of a voice and the bursts of its consonants are wider than that. The highest of each 5 ms is looked at.
    """
    if sample_rate_hz < LEAST_CLICK_RATE_HZ:
        return 0
    floor = CLICK_FLOOR + 2 * step
    second = np.abs(np.diff(wave, 2))
    inner, outer = max(2, round(0.00012 * sample_rate_hz)), round(0.002 * sample_rate_hz)
    size = round(0.005 * sample_rate_hz)
    blocks = len(second) // size
    highest = second[: blocks * size].reshape(blocks, size).argmax(axis=1) + np.arange(blocks) * size
    highest = highest[(highest > outer) & (highest < len(second) - outer)]
    highest = highest[second[highest] > CLICK_RATIO * floor]
    around = second[highest[:, None] + np.arange(-outer, outer + 1)]
    spike = around[:, outer].copy()
    around[:, outer - inner : outer + inner + 1] = 0
    # The third highest: two clicks may be neighbours.
    others = np.partition(around, -3, axis=1)[:, -3]
    return int((spike > CLICK_RATIO * (others + floor)).sum())


def _holes(wave: Floats, sample_rate_hz: int, step: float) -> int:
    """Runs of equal samples of HOLE_S and more that begin or end in the midst of sound."""
    same = np.flatnonzero(np.diff(wave) != 0)
    gaps = np.diff(same)
    least, near = round(HOLE_S * sample_rate_hz), round(0.005 * sample_rate_hz)
    count = 0
    for index in np.flatnonzero(gaps >= least):
        begin, end = int(same[index]) + 1, int(same[index + 1])
        before, after = wave[max(0, begin - near) : begin], wave[end + 1 : end + 1 + near]
        count += bool(min(_rms(before), _rms(after)) > HOLE_EDGE + 4 * step)
    return count


def _rms(part: Floats) -> float:
    return float(np.sqrt((part.astype(np.float64) ** 2).mean())) if len(part) else 0.0


def _bandwidth_hz(top: NDArray[np.float64], hz: float) -> float:
    """The highest frequency at which the smoothed spectrum is above BANDWIDTH_DB of its peak."""
    size = max(1, round(200 / hz))
    smooth = np.convolve(top, np.ones(size) / size, mode="same")
    above = np.flatnonzero(10 * np.log10(smooth / smooth.max()) > BANDWIDTH_DB)
    return float(above[-1] * hz)


def _mirrored(power: NDArray[np.float32], hz: float) -> float:
    """Largest correlation, over time and frequency, of what lies above a likely older Nyquist frequency and below."""
    levels = np.log(power)
    worst = 0.0
    for edge in OLD_NYQUISTS_HZ:
        middle, width = round(edge / hz), round(1500 / hz)
        if middle + width >= levels.shape[1]:
            continue
        gap = round(150 / hz)
        below = levels[:, middle - width : middle - gap][:, ::-1]
        above = levels[:, middle + gap + 1 : middle + width + 1]
        pair = [part - part.mean(axis=0) for part in (below, above)]
        one, other = (part - part.mean(axis=1, keepdims=True) for part in pair)
        norm = float(np.sqrt((one**2).sum() * (other**2).sum())) + 1e-9
        worst = max(worst, float((one * other).sum()) / norm)
    return worst
