"""The table of cheats: what a server does that wants to look better than it is heard, and by which words it is named.

And the honest servers, which must pass: a reason for one of them is a fault of the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Answer, Floats, wav_header
from bench.cheats.server import Asked, Cheat

LONG = 400
"""Characters of a long text."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A server of the table."""

    name: str
    does: str
    cheat: Cheat
    named: str | None
    """What one of its reasons must say; None: honest, and no reason may be given."""
    stats: dict[str, Any] | None = field(default=None)


def _row(name: str, does: str, named: str | None, cheat: Cheat, stats: dict[str, Any] | None = None) -> Row:
    return Row(name=name, does=does, named=named, cheat=cheat, stats=stats)


def _wave(wave: Floats, **more: Any) -> Answer:
    return Answer(wave=np.asarray(wave, np.float32), **more)


def _one_wave(asked: Asked) -> Floats:
    wave: Floats = asked.kept.setdefault("first", asked.wave)
    return wave


def _by_length(asked: Asked) -> Floats:
    wave: Floats = asked.kept.setdefault(len(asked.text) // 100, asked.wave)
    return wave


def _every_third(asked: Asked) -> Floats:
    if asked.number % 3 == 2 and "last" in asked.kept:
        wave: Floats = asked.kept["last"]
        return wave
    asked.kept["last"] = asked.wave
    return asked.wave


def _disguised(asked: Asked) -> Answer:
    """The first wave again at another gain, shifted, and with a little noise."""
    first = _one_wave(asked)
    gain = 1.0 - 0.03 * (asked.number % 8)
    moved = np.concatenate([sounds.silence(0.001 * asked.number), first * gain])
    return _wave(moved + sounds.noise(1.0, -62.0)[np.arange(len(moved)) % RATE_HZ])


def _patchwork(asked: Asked) -> Floats:
    """The first half of an earlier answer before the second half of the right one."""
    first = _one_wave(asked)
    if asked.number == 0:
        return asked.wave
    return np.concatenate(
        [first[: min(len(first), len(asked.wave)) // 2], asked.wave[len(asked.wave) // 2 :]]
    )


def _other_text(asked: Asked) -> Floats:
    """Other words, as many: every name is another."""
    words = asked.text.split()
    return asked.speak(" ".join(reversed(words)).replace(".", "").replace("?", "") + ".")


def _truncated_text(asked: Asked) -> Floats:
    return asked.speak(asked.text[:LONG].rsplit(" ", 1)[0] + ".") if len(asked.text) > LONG else asked.wave


def _without_last_word(asked: Asked) -> Floats:
    return asked.speak(asked.text.rsplit(" ", 1)[0] + ".")


def _without_words(asked: Asked) -> Floats:
    words = asked.text.split()
    return asked.speak(" ".join(word for number, word in enumerate(words) if number % 6 != 3))


def _sentences_swapped(asked: Asked) -> Floats:
    head, _, tail = asked.text.partition(". ")
    return asked.speak(f"{tail} {head}.") if tail else sounds.halves_swapped(asked.wave)


def _refuse_long(asked: Asked) -> Answer:
    long = len(asked.text) > 100
    return _wave(asked.wave, status=503, body=b"{}") if long else _wave(asked.wave)


def _prefixed(asked: Asked, start: Floats) -> Answer:
    return _wave(np.concatenate([start, asked.wave]), piece_s=0.2)


CHEATS = (
    # words
    _row("one wave", "one wave for every text", "a copy", lambda a: _wave(_one_wave(a))),
    _row("wave per length", "one wave for each length of text", "a copy", lambda a: _wave(_by_length(a))),
    _row("every third", "each third answer is an earlier one", "a copy", lambda a: _wave(_every_third(a))),
    _row("disguised", "one wave, with gain, shift and noise", "a copy", _disguised),
    _row("patchwork", "the first half from an earlier answer", "a copy", lambda a: _wave(_patchwork(a))),
    _row("other text", "other words of the same length", "unintelligible", lambda a: _wave(_other_text(a))),
    _row("reversed", "the speech backwards", "unintelligible", lambda a: _wave(a.wave[::-1])),
    _row("swapped", "the sentences in another order", "unintelligible", lambda a: _wave(_sentences_swapped(a))),
    _row("truncated", "texts above 400 characters are cut", "too short", lambda a: _wave(_truncated_text(a))),
    _row("half", "the second half is left out", "too fast|pace|too short", lambda a: _wave(sounds.cut(a.wave, 0.5))),
    _row("last word", "the last word is never spoken", "words are missing|pace",
         lambda a: _wave(_without_last_word(a))),
    _row("ends early", "the last tenth is left out", "words are missing|pace",
         lambda a: _wave(sounds.cut(a.wave, 0.1))),
    _row("dropped words", "each sixth word is left out", "words are missing|pace", lambda a: _wave(_without_words(a))),
    _row("dropped middle", "a fifth in the middle is left out", "pace|too short",
         lambda a: _wave(sounds.without_middle(a.wave, 0.2))),
    _row("under load", "a quarter is left out when others wait", "pace|too short",
         lambda a: _wave(sounds.cut(a.wave, 0.25) if a.at_once > 3 else a.wave)),
    _row("end again", "the end is said twice", "said twice", lambda a: _wave(sounds.with_end_again(a.wave, 0.7))),
    _row("all again", "the whole text is said twice", "said twice|too long|pace",
         lambda a: _wave(np.concatenate([a.wave, a.wave]))),
    _row("error text", "status 200 and an error in words", "bad_audio",
         lambda a: _wave(a.wave, body=b'{"error": "busy"}', headers={"Content-Type": "application/json"})),
    _row("no audio", "status 200 and a header alone", "empty",
         lambda a: _wave(a.wave[:0], body=wav_header("s16", 1, RATE_HZ, None))),
    _row("refuses long", "503 at once for all but short texts", "refusals by length", _refuse_long),
    _row("cache", "keeps answers, as /stats says", "keeps answers", lambda a: _wave(a.wave),
         {"cache": {"enabled": True}}),
    # pace and length
    _row("hurried", "speaks at speed 1.3", "pace", lambda a: _wave(a.speak(a.text, 1.3))),
    _row("slowed", "speaks at speed 0.8: more audio seconds", "pace", lambda a: _wave(a.speak(a.text, 0.8))),
    _row("stretched", "a tenth longer at the same pitch", "pace", lambda a: _wave(sounds.stretched(a.wave, 1.1))),
    _row("squeezed", "a tenth shorter at the same pitch", "pace", lambda a: _wave(sounds.stretched(a.wave, 0.9))),
    _row("tape fast", "played 1.15 times as fast", "pace|wrong sample rate",
         lambda a: _wave(sounds.resampled(a.wave, 1 / 1.15))),
    _row("padded", "three seconds of silence at the end", "silence after",
         lambda a: _wave(np.concatenate([a.wave, sounds.silence(3)]))),
    _row("padded inside", "two seconds more in each pause, and more of them", "padded|gaps|a long gap",
         lambda a: _wave(sounds.long_pauses(np.concatenate([a.wave, sounds.silence(0.3)]), 3.4))),
    _row("late speech", "silence first", "silence before",
         lambda a: _wave(np.concatenate([sounds.silence(1.2), a.wave]))),
    _row("reverb", "a hall that makes answers longer", "pace|too long|no pauses|another",
         lambda a: _wave(sounds.reverb(a.wave))),
    _row("no pauses", "the pauses are cut out", "no pauses", lambda a: _wave(sounds.without_pauses(a.wave))),
    # sound
    _row("silence", "zeros", "silence: nothing", lambda a: _wave(a.wave * 0)),
    _row("whisper", "a hundredth of the level", "silence: nothing|too quiet", lambda a: _wave(a.wave * 0.01)),
    _row("noise", "white noise", "noise in place", lambda a: _wave(sounds.noise(len(a.wave) / RATE_HZ, -25))),
    _row("speech-like noise", "noise with the loudness of the speech", "noise in place",
         lambda a: _wave(sounds.shaped_noise(a.wave))),
    _row("tone", "a sine", "a tone or a hum", lambda a: _wave(sounds.tone(len(a.wave) / RATE_HZ))),
    _row("hum", "a hum that swells like a voice", "a tone or a hum",
         lambda a: _wave(sounds.hum(len(a.wave) / RATE_HZ))),
    _row("constant", "one value", "offset|one level|tone", lambda a: _wave(a.wave * 0 + 0.2)),
    _row("clipped", "twelve times too loud", "clipped", lambda a: _wave(np.clip(a.wave * 12, -1, 1))),
    _row("offset", "the speech on a constant", "an offset", lambda a: _wave(a.wave + 0.1)),
    _row("8 in 16", "8-bit speech stated as 16-bit", "coarse", lambda a: _wave(sounds.coarse(a.wave, 127))),
    _row("8 in float", "8-bit speech stated as float", "coarse",
         lambda a: _wave(sounds.coarse(a.wave, 127), encoding="f32")),
    _row("telephone", "a voice of 8 kHz, sent as 24 kHz", "narrow", lambda a: _wave(sounds.dull(a.wave, 8000))),
    _row("16 as 24", "a voice of 16 kHz, sent as 24 kHz", "narrow", lambda a: _wave(sounds.dull(a.wave, 16000))),
    _row("held", "8 kHz, each sample three times", "upsampled", lambda a: _wave(sounds.held(a.wave, 3))),
    _row("lines", "12 kHz, with straight lines between", "upsampled", lambda a: _wave(sounds.drawn(a.wave, 2))),
    _row("holes", "10 ms of zeros twice a second", "holes", lambda a: _wave(sounds.with_holes(a.wave, 0.01, 0.5))),
    _row("seams", "10 ms are missing four times a second", "clicks|pace",
         lambda a: _wave(sounds.without_blocks(a.wave, 0.01, 0.25))),
    _row("stutter", "0.4 s are sent twice every 2 s", "said twice|pace",
         lambda a: _wave(sounds.stuttered(a.wave, 0.4, 2.0))),
    _row("one ear", "stereo with a silent side", "a channel is silent",
         lambda a: _wave(np.stack([a.wave, a.wave * 0], axis=1))),
    _row("two voices", "each fifth answer is lower and brighter", "another voice|too long|wrong",
         lambda a: _wave(sounds.resampled(a.wave, 1.25) if a.number % 5 == 2 else a.wave)),
    # what headers say
    _row("48 for 24", "24 kHz stated as 48 kHz", "too fast|too short", lambda a: _wave(a.wave, rate_hz=48_000)),
    _row("22 for 24", "24 kHz stated as 22.05 kHz", "pace|wrong sample rate", lambda a: _wave(a.wave, rate_hz=22_050)),
    _row("16 for 24", "24 kHz stated as 16 kHz", "pace|wrong sample rate|too long",
         lambda a: _wave(a.wave, rate_hz=16_000)),
    _row("more stated", "the header states more samples", "wrong_sample_count",
         lambda a: _wave(a.wave, stated_frames=len(a.wave) * 2)),
    _row("seconds", "X-Audio-Seconds states twice as many", "wrong_sample_count",
         lambda a: _wave(a.wave, headers={"X-Audio-Seconds": f"{len(a.wave) / RATE_HZ * 2:.3f}"})),
    _row("one as two", "mono stated as stereo", "pace|too fast|too short",
         lambda a: _wave(a.wave[: len(a.wave) // 2 * 2].reshape(-1, 2))),
    # the stopwatch
    _row("early byte", "one sample at once, the rest half a second later", "an early byte",
         lambda a: _wave(a.wave, first_piece_s=1 / RATE_HZ, first_pause_s=0.3)),
    _row("early silence", "10 ms of silence at once, then a wait", "an early byte",
         lambda a: _wave(np.concatenate([sounds.silence(0.01), a.wave]), first_piece_s=0.01, first_pause_s=0.3)),
    _row("comfort noise", "half a second of noise before the speech", "noise or a tone before",
         lambda a: _prefixed(a, sounds.noise(0.6, -38, a.number))),
    _row("fixed start", "the same second of speech before every answer", "a copy|too long|pace",
         lambda a: _prefixed(a, a.speak("Well, let me see what I can say.")[: RATE_HZ])),
    _row("beep", "a tone before the speech", "noise or a tone before", lambda a: _prefixed(a, sounds.tone(0.6))),
)  # fmt: skip
"""Each must be INVALID for a reason that says one of the words in `named`."""

HONEST = (
    _row("plain", "16 bits, in pieces of half a second", None, lambda a: _wave(a.wave)),
    _row("slow", "each piece after 0.1 s", None, lambda a: _wave(a.wave, pause_s=0.1, piece_s=2.0)),
    _row("8 bit", "8-bit WAV, and says so", None, lambda a: _wave(a.wave, encoding="u8")),
    _row("float", "32-bit float WAV", None, lambda a: _wave(a.wave, encoding="f32")),
    _row("24 bit", "24-bit WAV, extensible header", None, lambda a: _wave(a.wave, encoding="s24", extensible=True)),
    _row("48 kHz", "resampled to 48 kHz", None, lambda a: _wave(sounds.resampled(a.wave, 2), rate_hz=48_000)),
    _row("8 kHz", "a telephone line, and says so", None,
         lambda a: _wave(sounds.resampled(a.wave, 1 / 3), rate_hz=8_000)),
    _row("stereo", "both sides the same", None, lambda a: _wave(np.stack([a.wave, a.wave], axis=1))),
    _row("headers", "a WAV header before every piece", None, lambda a: _wave(a.wave, header_per_piece=True)),
    _row("long pauses", "0.8 s more between sentences", None, lambda a: _wave(sounds.long_pauses(a.wave, 0.8))),
    _row("trimmed", "no silence before and after", None,
         lambda a: _wave(a.wave[slice(*sounds.sounding(a.wave))])),
    _row("louder", "half as loud again", None, lambda a: _wave(a.wave * 1.5)),
)  # fmt: skip
