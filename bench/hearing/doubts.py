"""What is wrong with one wave, from its own figures: limits that no honest wave comes near (docs/hearing.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.heard import Heard
from bench.hearing.length import INNER_MARKS, LEAST_LETTERS, MARKS, letters
from bench.records import Sample

PACE = (9.0, 26.0)
"""Letters per second of sound, slowest and fastest speech. The embedded voice has 16.5."""
LEVEL_DBFS = (-45.0, -8.0)
MOST_LEAD_S = 1.0
MOST_TAIL_S = 1.5
MOST_GAP_S = 3.5
MOST_SILENCE = 0.45
"""Share of a wave."""
LEAST_SPREAD_DB = 7.0
MOST_FLATNESS = 0.2
LEAST_CHANGE = 0.05
MOST_STEADY_S = 0.45
LEAST_BANDWIDTH = 0.8
"""Of what the sample rate can carry, or of a voice that needs no more."""
NARROW_VOICE_HZ = 7000.0
"""What speech needs to be more than a telephone's, and what the vocoders of all voices make."""
NARROW_CODED_HZ = 4000.0
"""Of a codec the sample rate is its decoder's: it says nothing of the voice, which may be a telephone's."""
MOST_MIRRORED = 0.4
LEAST_DISTINCT = 600
MOST_CLICKS = 2
MOST_CLIPPED = 1e-3
MOST_OFFSET = 0.2
MOST_UNVOICED_START_S, MOST_UNVOICED_END_S = 1.0, 1.5
"""Of one wave, where a soft voice may be missed (Piper's Joe: up to 0.69 and 1.09 s); what an arm usually has is judged
more narrowly (judge.py)."""
MOST_TURN_PITCH = (0.12, 0.55)
"""a + b over the root of the seconds of speech: a short wave is one sentence, whose pitch falls."""
MOST_REPEATED = 0.15
MOST_PIECED = 0.5
MOST_REPEATED_ITSELF = 0.03

SILENCE = "silence: nothing is louder than -45 dBFS"
NOISE = "noise in place of speech"
TONE = "a tone or a hum in place of speech"
ONE_LEVEL = "one level throughout, as no speech has"
LOSSLESS = frozenset((None, "flac"))
"""Codecs that give back what they were given: no excuse for a narrow band."""
EIGHT_BITS = frozenset(("u8", "ulaw", "alaw"))
NO_SPEECH = frozenset((SILENCE, NOISE, TONE, ONE_LEVEL))


def wave_doubts(sample: Sample, *, sound_only: bool = False) -> list[str]:
    """Reasons in words, the same words for the same fault; empty for a request without audio, whose error is named.

    `sound_only`: the wave was heard so, and its spectrum and seams are not known.
    """
    heard = sample.heard
    if heard is None:
        return []
    if heard.audible_at_s is None:
        return [SILENCE]
    found = [*_of_level(heard, sample.encoding), *_of_silence(heard, sample.text)]
    if not sound_only:
        found += _of_sound(heard)
    if not sound_only and NO_SPEECH.isdisjoint(found):
        found += [
            *_of_rate(heard, sample.sample_rate_hz, coded=sample.codec not in LOSSLESS),
            *_of_seams(heard),
            *_of_edges(heard),
        ]
    if letters(sample.text) >= LEAST_LETTERS and heard.voiced_s > 0:
        pace = letters(sample.text) / heard.voiced_s
        if pace > PACE[1]:
            found.append("too short: nobody says this text so fast")
        elif pace < PACE[0]:
            found.append("too long: nobody says this text so slowly")
    if heard.repeated_share > MOST_REPEATED:
        found.append("a copy: a long piece was sent for another text too")
    elif heard.pieced_share > MOST_PIECED:
        found.append("a copy: it is put together of short pieces that were sent for other texts too")
    return found


def _of_level(heard: Heard, encoding: str) -> Iterator[str]:
    if heard.not_numbers:
        yield "bad samples: some are no numbers"
    if not LEVEL_DBFS[0] <= heard.level_dbfs <= LEVEL_DBFS[1]:
        yield "level: too quiet or too loud for speech"
    if heard.clipped_share > MOST_CLIPPED or heard.peak > 1.01:
        yield "clipped: runs of samples at the largest value"
    if abs(heard.offset) > MOST_OFFSET:
        yield "an offset: the samples do not swing around zero"
    if heard.silent_channels:
        yield "a channel is silent while another speaks"
    if encoding not in EIGHT_BITS and heard.distinct < min(LEAST_DISTINCT, 0.2 * heard.peak * 65536):
        yield "coarse: fewer different sample values than the format states (8 bits or less)"


def _of_sound(heard: Heard) -> Iterator[str]:
    if heard.flatness > MOST_FLATNESS:
        yield NOISE
    elif 0 < heard.spectral_change < LEAST_CHANGE or (heard.seconds > 1 and heard.spectral_change == 0):
        yield TONE
    elif heard.level_spread_db < LEAST_SPREAD_DB:
        yield ONE_LEVEL
    elif heard.steady_start_s > MOST_STEADY_S:
        yield "noise or a tone before the speech"


def _of_silence(heard: Heard, text: str) -> Iterator[str]:
    if (heard.audible_at_s or 0.0) > MOST_LEAD_S:
        yield "silence before the speech"
    if heard.tail_s > MOST_TAIL_S:
        yield "silence after the speech"
    if heard.longest_gap_s > MOST_GAP_S:
        yield "a long gap in the speech"
    elif heard.pauses > 2 * len(MARKS.findall(text)) + 2:
        yield "gaps: more pauses than the text has"
    elif heard.long_pauses > len(INNER_MARKS.findall(text)):
        yield "a long gap in the speech where the text has no mark"
    silence = (heard.audible_at_s or 0.0) + heard.tail_s + heard.pauses_s
    if heard.seconds > 2 and silence > MOST_SILENCE * heard.seconds and heard.voiced_s > 1:
        yield "padded: much of it is silence"


def _of_rate(heard: Heard, sample_rate_hz: int, *, coded: bool) -> Iterator[str]:
    if heard.bandwidth_hz < LEAST_BANDWIDTH * min(
        sample_rate_hz / 2, NARROW_CODED_HZ if coded else NARROW_VOICE_HZ
    ):
        yield "narrow: no sound where the stated sample rate has room for it (upsampled, or dull)"
    elif heard.mirrored > MOST_MIRRORED and not coded:  # Opus fills its upper bands with copies of lower ones
        yield "upsampled: the upper band mirrors the lower one"


def _of_edges(heard: Heard) -> Iterator[str]:
    if heard.unvoiced_start_s > MOST_UNVOICED_START_S:
        yield "noise or clicks before the speech: the first sound is no voice"
    if heard.unvoiced_end_s > MOST_UNVOICED_END_S:
        yield "noise after the speech: the last sound is no voice"
    if heard.turn_pitch > MOST_TURN_PITCH[0] + MOST_TURN_PITCH[1] / math.sqrt(heard.voiced_s):
        yield "another voice in its second half than in its first"


def _of_seams(heard: Heard) -> Iterator[str]:
    if heard.holes:
        yield "holes: equal samples in mid-sound"
    if heard.clicks > MOST_CLICKS:
        yield "clicks: jumps between neighbouring samples"
    if heard.repeated_itself_share > MOST_REPEATED_ITSELF:
        yield "said twice: a piece of the wave comes again in it"
