"""Honest servers of many kinds, which must pass."""

from __future__ import annotations

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Floats
from bench.cheats.rows import of_wave, prefixed, row
from bench.cheats.server import Asked


def _room(asked: Asked) -> Floats:
    """With the noise of a quiet room, another one each time."""
    noise = sounds.noise(len(asked.wave) / RATE_HZ + 1, -62.0, asked.number)
    heard: Floats = asked.wave + noise[: len(asked.wave)]
    return heard


HONEST = (
    row("plain", "16 bits, in pieces of half a second", None, lambda a: of_wave(a.wave)),
    row("slow", "each piece after 0.1 s", None, lambda a: of_wave(a.wave, pause_s=0.1, piece_s=2.0)),
    row("8 bit", "8-bit WAV, and says so", None, lambda a: of_wave(a.wave, encoding="u8")),
    row("float", "32-bit float WAV", None, lambda a: of_wave(a.wave, encoding="f32")),
    row("24 bit", "24-bit WAV, extensible header", None, lambda a: of_wave(a.wave, encoding="s24", extensible=True)),
    row("48 kHz", "resampled to 48 kHz", None, lambda a: of_wave(sounds.resampled(a.wave, 2), rate_hz=48_000)),
    row("8 kHz", "a telephone line, and says so", None,
         lambda a: of_wave(sounds.resampled(a.wave, 1 / 3), rate_hz=8_000)),
    row("stereo", "both sides the same", None, lambda a: of_wave(np.stack([a.wave, a.wave], axis=1))),
    row("headers", "a WAV header before every piece", None, lambda a: of_wave(a.wave, header_per_piece=True)),
    row("long pauses", "0.8 s more between sentences", None, lambda a: of_wave(sounds.long_pauses(a.wave, 0.8))),
    row("trimmed", "no silence before and after", None,
         lambda a: of_wave(a.wave[slice(*sounds.sounding(a.wave))])),
    row("louder", "half as loud again", None, lambda a: of_wave(a.wave * 1.5)),
    row("quiet", "a third of the loudness (-35 dBFS)", None, lambda a: of_wave(a.wave * 0.32)),
    row("quiet 8 kHz", "the same on a telephone line", None,
        lambda a: of_wave(sounds.resampled(a.wave, 1 / 3) * 0.32, rate_hz=8_000)),
    row("mu-law", "a telephone's 8 bits at 8 kHz, and says so", None,
        lambda a: of_wave(sounds.resampled(a.wave, 1 / 3), rate_hz=8_000, encoding="ulaw")),
    row("a-law", "the other telephone's", None,
        lambda a: of_wave(sounds.resampled(a.wave, 1 / 3), rate_hz=8_000, encoding="alaw")),
    row("late start", "0.3 s of silence first, for which it is charged", None,
        lambda a: prefixed(a, sounds.silence(0.3))),
    row("16 kHz", "resampled to 16 kHz", None,
        lambda a: of_wave(sounds.resampled(a.wave, 2 / 3), rate_hz=16_000)),
    row("44.1 kHz", "resampled to 44.1 kHz, in 32 bits", None,
        lambda a: of_wave(sounds.resampled(a.wave, 44_100 / RATE_HZ), rate_hz=44_100, encoding="s32")),
    row("float stereo", "float, two sides, one softer", None,
        lambda a: of_wave(np.stack([a.wave, a.wave * 0.7], axis=1), encoding="f32")),
    row("room", "the noise of a quiet room", None, lambda a: of_wave(_room(a))),
    row("breath", "a soft breath before it speaks", None,
        lambda a: prefixed(a, sounds.breath(0.25, -50.0, a.number))),
    row("live", "short pieces, a little faster than they play", None,
        lambda a: of_wave(a.wave, piece_s=0.4, pause_s=0.02)),
    row("small start", "a first piece of 60 ms, then longer ones", None,
        lambda a: of_wave(a.wave, first_piece_s=0.06 + len(sounds.leading(a.wave)) / RATE_HZ, first_pause_s=0.04)),
)  # fmt: skip
