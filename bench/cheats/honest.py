"""Honest servers of many kinds, which must pass."""

from __future__ import annotations

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Answer, Floats, wav_file
from bench.cheats.rows import of_wave, prefixed, row
from bench.cheats.server import Asked


def _room(asked: Asked) -> Floats:
    """With the noise of a quiet room, another one each time."""
    noise = sounds.noise(len(asked.wave) / RATE_HZ + 1, -62.0, asked.number)
    heard: Floats = asked.wave + noise[: len(asked.wave)]
    return heard


def _breathy(asked: Asked) -> Floats:
    """With a quarter of its loudness as the sound of air."""
    heard: Floats = asked.wave + 0.25 * sounds.shaped_noise(asked.wave)
    return heard


def _dithered(asked: Asked) -> Floats:
    rng = np.random.default_rng(asked.number)
    heard: Floats = asked.wave + (rng.triangular(-1, 0, 1, len(asked.wave)) / 32768).astype(np.float32)
    return heard


def _odd(asked: Asked) -> Answer:
    wave = asked.wave[: len(asked.wave) // 2 * 2 - 1]
    return of_wave(wave, body=wav_file(wave, "u8"))


HONEST = (
    row("plain", "16 bits, in pieces of half a second", None, lambda a: of_wave(a.wave)),
    row("slow", "each piece after 0.1 s", None, lambda a: of_wave(a.wave, pause_s=0.1, piece_s=2.0)),
    row("8 bit", "8-bit WAV, and says so", None, lambda a: of_wave(a.wave, encoding="u8")),
    row("float", "32-bit float WAV", None, lambda a: of_wave(a.wave, encoding="f32")),
    row("double", "64-bit float WAV, as SciPy writes it", None, lambda a: of_wave(a.wave, encoding="f64")),
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
    row("rate in words", "says 24000.0 where others say 24000", None,
        lambda a: of_wave(a.wave, headers={"X-Sample-Rate": "24000.0"})),
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
    # other voices
    row("deep", "a deep voice at the same pace", None, lambda a: of_wave(sounds.higher(a.wave, 0.6))),
    row("child", "a high voice at the same pace", None, lambda a: of_wave(sounds.higher(a.wave, 1.5))),
    row("slow speaker", "another voice, 1.4 times as slow", None,
        lambda a: of_wave(sounds.stretched(sounds.higher(a.wave, 0.6), 1.4))),
    row("fast speaker", "another voice, a quarter faster", None,
        lambda a: of_wave(sounds.stretched(sounds.higher(a.wave, 0.6), 0.75))),
    row("vibrato", "the pitch trembles by 3 %", None, lambda a: of_wave(sounds.vibrato(a.wave, 0.03))),
    row("lively", "each sentence falls by a quarter", None,
        lambda a: of_wave(sounds.falling(sounds.higher(a.wave, 0.6), 0.12))),
    row("creak", "ends of sentences creak", None, lambda a: of_wave(sounds.creaking(a.wave))),
    row("breathy", "air in the voice", None, lambda a: of_wave(_breathy(a))),
    row("clauses", "0.25 s more in every pause", None,
        lambda a: of_wave(sounds.long_pauses(a.wave, 0.25, least_s=0.15))),
    # what cards, rooms and codecs add
    row("mains", "a hum of 50 Hz at -44 dBFS", None, lambda a: of_wave(sounds.mains(a.wave, -44.0))),
    row("card", "the offset of a sound card, -42 dBFS", None, lambda a: of_wave(a.wave + 0.008)),
    row("dither", "noise of one step", None, lambda a: of_wave(_dithered(a))),
    row("gate", "nought below -55 dBFS", None, lambda a: of_wave(sounds.gated(a.wave, -55.0))),
    row("living room", "the echo of a small room", None, lambda a: of_wave(sounds.small_room(a.wave))),
    row("studio", "each answer as loud as it can be", None, lambda a: of_wave(a.wave / np.abs(a.wave).max())),
    row("96 kHz", "resampled to 96 kHz", None, lambda a: of_wave(sounds.resampled(a.wave, 4), rate_hz=96_000)),
    row("11 kHz", "resampled to 11.025 kHz, and says so", None,
        lambda a: of_wave(sounds.resampled(a.wave, 11_025 / RATE_HZ), rate_hz=11_025)),
    # files and connections
    row("odd", "8 bits, an odd length and the byte that makes it even", None, _odd),
    row("tagged", "a list of tags behind the samples", None,
        lambda a: of_wave(a.wave, body=wav_file(a.wave, "s16", behind=b"LIST\x0c\0\0\0INFOISFT\0\0\0\0"))),
    row("endless", "a length of 2 GB, as espeak-ng states before it knows", None,
        lambda a: of_wave(a.wave, body=wav_file(a.wave, "s16", size=0x7FFFF000))),
    row("HTTP/1.0", "ends with its connection", None, lambda a: of_wave(a.wave, until_close=True)),
)  # fmt: skip
