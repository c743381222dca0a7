"""The sound of a voice, so that arms with the same one are held against each other, and a known one against itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.heard import Heard
from bench.hearing.doubts import LOSSLESS
from bench.hearing.length import slowness, tolerance
from bench.records import Sample

SAME_VOICE_DB = 1.5
"""Root mean square distance of two long-term spectra, medians over waves. The same voice: up to 0.42."""
MOVED_VOICE_DB = 3.0
"""The same of a spectrum that was moved by less than a band."""
SAME_PITCH = 0.1
"""log of the ratio of their median pitches."""
OTHER_VOICE_DB = 5.0
"""Of one wave from its arm's median. The farthest honest wave: 2.6."""
OTHER_PITCH = 0.28
"""The same of the logs of their pitches. The farthest honest wave of ours: 0.09; of a natural man's voice: 0.19."""
WITH_PITCH_DB = 3.0
"""Another pitch is another voice's if the spectrum has moved so far as well. In lively speech it rises alone: of 260
waves of Piper's Joe two are beyond the limit (0.34) and have 2.2 dB and less. A voice made higher by 1.35 has 5.7."""
MOVED_PITCH, MOVED_DB, MOVED_APART, MOVED_SHARE = 0.12, 2.5, 0.08, 0.6
"""One wave has another voice's pitch and sound moved together if its pitch and its spectrum are both so far off (half
the limits above), both moved by nearly the same factor (logs), and the spectrum moved back has less than this share of
the distance. In lively speech the spectrum stays: the honest waves keep 0.8 of it and more. Played 1.25 times as slow:
0.26 to 0.46."""
SPREADS = 5.0
"""A wave is another's only if it is also this many times farther off than the waves of its arm by the median: voices
differ in how even they are, and the limits above are those of a very even one."""
EVENNESS, MOST_PATIENCE = 8.0, 2.0
"""The embedded voice's unevenness is 0.13 and Piper's Joe's 0.17: of such a normal spread 8 are more than 5 sigma."""
LEAST_WAVES = 3
BANDS_PER_OCTAVE = 3


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Medians over the waves of one arm."""

    name: str
    bands_db: tuple[float, ...]
    pitch_hz: float
    slowness: float
    bandwidth_hz: float
    nyquist_hz: float
    """What its sample rate can carry."""
    level_dbfs: float
    coded: bool = False
    """It came through a codec, which may cut its bandwidth."""
    ends_s: float
    """Silence before and after the speech."""
    pitch_spread: float = 0.0
    """Median distance of a wave's pitch from the arm's, by pitches_apart."""
    bands_spread_db: float = 0.0
    """The same of the spectra."""
    unevenness: float = 0.0
    """The same of the slownesses, each over its text's tolerance."""


KNOWN = (
    Voice(
        name="the embedded voice",
        bands_db=(
            -13.3, -0.7, 13.2, 14.7, 9.8, 7.3, 7.3, 4.2, 2.2, 2.6, 0.3, -4.5, -6.4, -8.7, -12.7, -15.0,
        ),
        pitch_hz=196.0,
        slowness=0.0,
        bandwidth_hz=12_000.0,
        nyquist_hz=12_000.0,
        level_dbfs=-25.1,
        ends_s=0.8,
    ),
)  # fmt: skip
"""Voices whose pace is known: that of the package hibari-tts, over 281 waves."""


def voice_of(name: str, samples: Sequence[Sample]) -> Voice | None:
    """The voice of an arm; None if too few waves tell."""
    heard = [sample.heard for sample in samples if sample.heard is not None and sample.heard.bands_db]
    timed = [(pace, sample.text) for sample in samples if (pace := slowness(sample)) is not None]
    paces = [pace for pace, _ in timed]
    if len(heard) < LEAST_WAVES or len(paces) < LEAST_WAVES:
        return None
    bands_db = tuple(float(band) for band in np.median([one.bands_db for one in heard], axis=0))
    pitch_hz = float(np.median([one.pitch_hz for one in heard]))
    return Voice(
        name=name,
        bands_db=bands_db,
        pitch_hz=pitch_hz,
        pitch_spread=float(np.median([pitches_apart(one.pitch_hz, pitch_hz) for one in heard])),
        bands_spread_db=float(np.median([distance_db(one.bands_db, bands_db) for one in heard])),
        slowness=float(np.median(paces)),
        unevenness=float(np.median([abs(p - np.median(paces)) / tolerance(text) for p, text in timed])),
        bandwidth_hz=float(np.median([one.bandwidth_hz for one in heard])),
        nyquist_hz=float(np.median([sample.sample_rate_hz / 2 for sample in samples])),
        level_dbfs=float(np.median([one.level_dbfs for one in heard])),
        coded=any(sample.codec not in LOSSLESS for sample in samples),
        ends_s=float(np.median([(one.audible_at_s or 0.0) + one.tail_s for one in heard])),
    )


def same_voice(one: Voice, other: Voice) -> bool:
    """Whether two arms sound alike, in their spectrum and in their pitch."""
    return (
        distance_db(one.bands_db, other.bands_db) <= SAME_VOICE_DB
        and abs(_pitch_ratio(one, other)) < SAME_PITCH
    )


def another_voice(heard: Heard, voice: Voice) -> bool:
    """Whether a wave has the sound of another voice than its arm's other waves."""
    if not heard.bands_db:
        return False
    pitch = pitches_apart(heard.pitch_hz, voice.pitch_hz) / max(OTHER_PITCH, SPREADS * voice.pitch_spread)
    bands_db = distance_db(heard.bands_db, voice.bands_db)
    return (
        bands_db > max(OTHER_VOICE_DB, SPREADS * voice.bands_spread_db)
        or (pitch > 1 and bands_db > WITH_PITCH_DB)
        or _moved(heard, voice, bands_db)
    )


def _moved(heard: Heard, voice: Voice, bands_db: float) -> bool:
    """Whether a wave is its arm's voice at another rate, or a voice of another size: pitch and spectrum as one."""
    if bands_db < MOVED_DB or not (heard.pitch_hz and voice.pitch_hz):
        return False
    octaves = math.log2(heard.pitch_hz / voice.pitch_hz)
    octaves -= round(octaves)
    least = max(MOVED_PITCH, SPREADS * voice.pitch_spread)
    if abs(octaves) * math.log(2) < least:
        return False
    apart = MOVED_APART / math.log(2)
    shifts = np.linspace(octaves - apart, octaves + apart, 9) * BANDS_PER_OCTAVE
    return (
        min(moved_db(heard.bands_db, voice.bands_db, float(shift)) for shift in shifts)
        < MOVED_SHARE * bands_db
    )


def moved_db(seen: Sequence[float], bands_db: Sequence[float], shift: float) -> float:
    """distance_db() of `seen` and a spectrum moved up by `shift` bands, over those that both have."""
    bands = np.arange(len(bands_db))
    inside = (bands - shift >= 0) & (bands - shift <= len(bands) - 1)
    moved = np.interp(bands - shift, bands, bands_db)[inside]
    other = np.asarray(seen)[inside]
    return distance_db(moved - moved.mean(), other - other.mean())


def pitches_apart(one_hz: float, other_hz: float) -> float:
    """log of the ratio of two pitches; an octave does not count, for it is easily heard wrongly. 0 without a pitch."""
    if not (one_hz and other_hz):
        return 0.0
    apart = abs(math.log(one_hz / other_hz))
    return min(apart, abs(apart - math.log(2)))


def patience(voice: Voice) -> float:
    """Times the tolerance that a wave of this voice may be too long or too short: voices differ in how even they are.

    1 for a known voice, which is even, and at most MOST_PATIENCE.
    """
    if any(same_voice(voice, known) for known in KNOWN):
        return 1.0
    return min(max(1.0, EVENNESS * voice.unevenness), MOST_PATIENCE)


def _pitch_ratio(one: Voice, other: Voice) -> float:
    """log of the ratio; infinite without a pitch."""
    return math.log(one.pitch_hz / other.pitch_hz) if one.pitch_hz and other.pitch_hz else math.inf


def distance_db(one: Sequence[float], other: Sequence[float]) -> float:
    """Root mean square of the differences of two long-term spectra of equal bands."""
    return float(np.sqrt(np.mean((np.asarray(one) - np.asarray(other)) ** 2)))


def at_another_rate(voice: Voice, known: Voice) -> float | None:
    """How many times too fast `voice` plays the sound of `known`; None if it is not its sound played at another rate.

    Such a wave is faster by a factor, and its spectrum and its pitch are moved by the same factor.
    """
    factor = math.exp(known.slowness - voice.slowness)
    shift = math.log2(factor) * BANDS_PER_OCTAVE
    bands = np.arange(len(known.bands_db))
    inside = (bands - shift >= 0) & (bands - shift <= len(bands) - 1)
    if (
        abs(shift) < 0.2
        or inside.sum() < 8
        or abs(_pitch_ratio(voice, known) - math.log(factor)) > SAME_PITCH / 2
    ):
        return None
    seen = np.asarray(voice.bands_db)[inside]
    apart = moved_db(voice.bands_db, known.bands_db, shift)
    still = np.asarray(known.bands_db)[inside]
    if apart > MOVED_VOICE_DB or apart > distance_db(still - still.mean(), seen - seen.mean()):
        return None
    return factor
