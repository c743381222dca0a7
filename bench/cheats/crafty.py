"""Cheats that know the checks: what begins before the speech, silence as a filler, rare ones, and small words.

And what a server may do, for it wins nothing by it: the stopwatch waits for the speech.
"""

from __future__ import annotations

import re

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Answer, Floats, encode, wav_header
from bench.cheats.bold import LONG, other_text
from bench.cheats.rows import Row, of_wave, prefixed, row
from bench.cheats.server import Asked
from bench.cheats.sly import BUSY, spoken

FILLERS = ("Um.", "Uh.", "Well.", "So.", "Okay.", "Right.", "Yes.", "Now.")


def _filler(asked: Asked) -> Answer:
    """One of several kept words, a little higher or lower each time."""
    word = spoken(asked, FILLERS[asked.number % len(FILLERS)])
    tuned = sounds.higher(word, 1 + 0.02 * (asked.number // len(FILLERS) % 5 - 2))
    return prefixed(asked, np.concatenate([tuned, sounds.silence(0.1)]))


def _without_small_words(asked: Asked) -> Floats:
    return asked.speak(re.sub(r"\b(the|of|to|a|in|on) ", "", asked.text))


def _whistle(asked: Asked) -> Answer:
    """A tone that no ear hears, then the speech when it is ready."""
    at = np.arange(round(0.24 * 48_000)) / 48_000
    tone = (0.03 * np.sin(2 * np.pi * 21_000 * at)).astype(np.float32)
    wave = asked.wave[sounds.sounding(asked.wave)[0] :]
    return of_wave(np.concatenate([tone, sounds.resampled(wave, 2)]), rate_hz=48_000)


def _under(header: bytes, wave: Floats) -> Answer:
    """16-bit samples under a header that says something else."""
    return of_wave(wave, body=header + encode(wave, "s16"))


def _at_once(asked: Asked, start: Floats) -> Answer:
    """Something at once, and the speech right behind it, without its own silence."""
    wave = asked.wave[sounds.sounding(asked.wave)[0] :]
    return of_wave(np.concatenate([start, wave]), piece_s=0.2)


def _slow_push(seconds: float) -> Floats:
    """The membrane moves and comes back once: no sound, and far above -45 dBFS."""
    return (0.04 * np.sin(np.linspace(0, 2 * np.pi, round(seconds * RATE_HZ)))).astype(np.float32)


CRAFTY = (
    row("word and wait", "its first word, 0.6 s of silence, then the rest", "gaps",
        lambda a: of_wave(sounds.after_first_word(a.wave, 0.6))),
    row("short wait", "its first word, 0.4 s of silence, then the rest", "gaps",
        lambda a: of_wave(sounds.after_first_word(a.wave, 0.4))),
    row("fillers", "um, well, so and others before the text, tuned anew", "begins with|words are added|a copy|pace",
        _filler),
    row("loud breath", "takes breath as loud as speech for 0.4 s", "noise or clicks before",
        lambda a: prefixed(a, sounds.breath(0.4, -26.0, a.number))),
    row("whistle", "0.24 s of a tone that no ear hears before the speech", "duller", _whistle),
    row("small words", "the, of, to, a, in and on are left out", "words are missing|pace",
        lambda a: of_wave(_without_small_words(a))),
    row("long ones", "other words of the same length for long texts", "unintelligible",
        lambda a: of_wave(other_text(a) if len(a.text) > LONG else a.wave)),
    row("16 as float", "16-bit samples under a header of floats", "no numbers|clipped|bad_audio|noise",
        lambda a: _under(wav_header("f32", 1, RATE_HZ, None), a.wave[: len(a.wave) // 2 * 2])),
    row("6 for 24", "24 kHz under a header of 6 kHz", "too long|pace|slow", lambda a: of_wave(a.wave, rate_hz=6_000)),
    row("1 Hz", "a header of one sample a second", "bad_audio",
        lambda a: _under(wav_header("s16", 1, 1, None), a.wave)),
    row("2 GHz", "a header of 2 GHz", "bad_audio",
        lambda a: _under(wav_header("s16", 1, 2_000_000_000, None), a.wave)),
    row("one piece that drips", "0.1 s, 0.9 s of nothing, then the rest, in one HTTP chunk", "a hole|early byte",
        lambda a: of_wave(a.wave, first_piece_s=0.1 + len(sounds.leading(a.wave)) / RATE_HZ, first_pause_s=0.9,
                          one_chunk=True)),
    row("other under load", "other words when others wait", "unintelligible",
        lambda a: of_wave(other_text(a) if a.at_once > BUSY else a.wave)),
)  # fmt: skip

CHARGED = (
    Row(name="hiss at once", does="0.2 s of hiss before the speech, which comes no sooner for it", named=None,
        cheat=lambda a: _at_once(a, sounds.noise(0.2, -40.0, a.number)), speaks_after_s=0.2),
    Row(name="click at once", does="a click and 0.2 s of silence before it", named=None,
        cheat=lambda a: _at_once(a, np.concatenate([sounds.breath(0.02, -20.0, a.number), sounds.noise(0.2, -70.0)])),
        speaks_after_s=0.2),
    Row(name="tone at once", does="0.24 s of a tone, of another pitch each time, before it", named=None,
        cheat=lambda a: _at_once(a, sounds.tone(0.24, 120.0 + 7 * (a.number % 17))), speaks_after_s=0.24),
    Row(name="push", does="0.24 s of a wave of 4 Hz before it", named=None,
        cheat=lambda a: _at_once(a, _slow_push(0.24)), speaks_after_s=0.24),
)  # fmt: skip
"""They need not be accused, for a breath may be as long; but they are not taken for the first sound."""
