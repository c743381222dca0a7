"""Cheats that a single look at the figures of an answer gives away."""

from __future__ import annotations

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Answer, Floats, wav_header
from bench.cheats.rows import of_wave, prefixed, row
from bench.cheats.server import Asked

LONG = 400
"""Characters of a long text."""


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
    return of_wave(moved + sounds.noise(1.0, -62.0)[np.arange(len(moved)) % RATE_HZ])


def _patchwork(asked: Asked) -> Floats:
    """The first half of an earlier answer before the second half of the right one."""
    first = _one_wave(asked)
    if asked.number == 0:
        return asked.wave
    return np.concatenate(
        [first[: min(len(first), len(asked.wave)) // 2], asked.wave[len(asked.wave) // 2 :]]
    )


def other_text(asked: Asked) -> Floats:
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
    return of_wave(asked.wave, status=503, body=b"{}") if long else of_wave(asked.wave)


BOLD = (
    # words
    row("one wave", "one wave for every text", "a copy", lambda a: of_wave(_one_wave(a))),
    row("wave per length", "one wave for each length of text", "a copy", lambda a: of_wave(_by_length(a))),
    row("every third", "each third answer is an earlier one", "a copy", lambda a: of_wave(_every_third(a))),
    row("disguised", "one wave, with gain, shift and noise", "a copy", _disguised),
    row("patchwork", "the first half from an earlier answer", "a copy", lambda a: of_wave(_patchwork(a))),
    row("other text", "other words of the same length", "unintelligible", lambda a: of_wave(other_text(a))),
    row("reversed", "the speech backwards", "unintelligible", lambda a: of_wave(a.wave[::-1])),
    row("swapped", "the sentences in another order", "unintelligible", lambda a: of_wave(_sentences_swapped(a))),
    row("truncated", "texts above 400 characters are cut", "too short", lambda a: of_wave(_truncated_text(a))),
    row("half", "the second half is left out", "too fast|pace|too short", lambda a: of_wave(sounds.cut(a.wave, 0.5))),
    row("last word", "the last word is never spoken", "words are missing|pace",
         lambda a: of_wave(_without_last_word(a))),
    row("ends early", "the last tenth is left out", "words are missing|pace",
         lambda a: of_wave(sounds.cut(a.wave, 0.1))),
    row("dropped words", "each sixth word is left out", "words are missing|pace", lambda a: of_wave(_without_words(a))),
    row("dropped middle", "a fifth in the middle is left out", "pace|too short",
         lambda a: of_wave(sounds.without_middle(a.wave, 0.2))),
    row("under load", "a quarter is left out when others wait", "pace|too short",
         lambda a: of_wave(sounds.cut(a.wave, 0.25) if a.at_once > 3 else a.wave)),
    row("end again", "the end is said twice", "said twice", lambda a: of_wave(sounds.with_end_again(a.wave, 0.7))),
    row("all again", "the whole text is said twice", "said twice|too long|pace",
         lambda a: of_wave(np.concatenate([a.wave, a.wave]))),
    row("error text", "status 200 and an error in words", "bad_audio",
         lambda a: of_wave(a.wave, body=b'{"error": "busy"}', headers={"Content-Type": "application/json"})),
    row("no audio", "status 200 and a header alone", "empty",
         lambda a: of_wave(a.wave[:0], body=wav_header("s16", 1, RATE_HZ, None))),
    row("refuses long", "503 at once for all but short texts", "refusals by length", _refuse_long),
    row("cache", "keeps answers, as /stats says", "keeps answers", lambda a: of_wave(a.wave),
         {"cache": {"enabled": True}}),
    # pace and length
    row("hurried", "speaks at speed 1.3", "pace", lambda a: of_wave(a.speak(a.text, 1.3))),
    row("slowed", "speaks at speed 0.8: more audio seconds", "pace", lambda a: of_wave(a.speak(a.text, 0.8))),
    row("stretched", "a tenth longer at the same pitch", "pace", lambda a: of_wave(sounds.stretched(a.wave, 1.1))),
    row("squeezed", "a tenth shorter at the same pitch", "pace", lambda a: of_wave(sounds.stretched(a.wave, 0.9))),
    row("tape fast", "played 1.15 times as fast", "pace|wrong sample rate",
         lambda a: of_wave(sounds.resampled(a.wave, 1 / 1.15))),
    row("padded", "three seconds of silence at the end", "silence after",
         lambda a: of_wave(np.concatenate([a.wave, sounds.silence(3)]))),
    row("padded inside", "two seconds more in each pause, and more of them", "padded|gaps|a long gap",
         lambda a: of_wave(sounds.long_pauses(np.concatenate([a.wave, sounds.silence(0.3)]), 3.4))),
    row("late speech", "silence first", "silence before",
         lambda a: of_wave(np.concatenate([sounds.silence(1.2), a.wave]))),
    row("reverb", "a hall that makes answers longer", "pace|too long|no pauses|another",
         lambda a: of_wave(sounds.reverb(a.wave))),
    row("no pauses", "the pauses are cut out", "no pauses", lambda a: of_wave(sounds.without_pauses(a.wave))),
    # sound
    row("silence", "zeros", "silence: nothing", lambda a: of_wave(a.wave * 0)),
    row("whisper", "a hundredth of the level", "silence: nothing|too quiet", lambda a: of_wave(a.wave * 0.01)),
    row("noise", "white noise", "noise in place", lambda a: of_wave(sounds.noise(len(a.wave) / RATE_HZ, -25))),
    row("speech-like noise", "noise with the loudness of the speech", "noise in place",
         lambda a: of_wave(sounds.shaped_noise(a.wave))),
    row("tone", "a sine", "a tone or a hum", lambda a: of_wave(sounds.tone(len(a.wave) / RATE_HZ))),
    row("hum", "a hum that swells like a voice", "a tone or a hum",
         lambda a: of_wave(sounds.hum(len(a.wave) / RATE_HZ))),
    row("constant", "one value", "silence: nothing", lambda a: of_wave(a.wave * 0 + 0.2)),
    row("clipped", "twelve times too loud", "clipped", lambda a: of_wave(np.clip(a.wave * 12, -1, 1))),
    row("offset", "the speech on a constant", "an offset", lambda a: of_wave(a.wave + 0.1)),
    row("8 in 16", "8-bit speech stated as 16-bit", "coarse", lambda a: of_wave(sounds.coarse(a.wave, 127))),
    row("8 in float", "8-bit speech stated as float", "coarse",
         lambda a: of_wave(sounds.coarse(a.wave, 127), encoding="f32")),
    row("telephone", "a voice of 8 kHz, sent as 24 kHz", "narrow", lambda a: of_wave(sounds.dull(a.wave, 8000))),
    row("16 as 24", "a voice of 16 kHz, sent as 24 kHz", "narrow", lambda a: of_wave(sounds.dull(a.wave, 16000))),
    row("held", "8 kHz, each sample three times", "upsampled", lambda a: of_wave(sounds.held(a.wave, 3))),
    row("lines", "12 kHz, with straight lines between", "upsampled", lambda a: of_wave(sounds.drawn(a.wave, 2))),
    row("holes", "10 ms of zeros twice a second", "holes", lambda a: of_wave(sounds.with_holes(a.wave, 0.01, 0.5))),
    row("seams", "10 ms are missing four times a second", "clicks|pace",
         lambda a: of_wave(sounds.without_blocks(a.wave, 0.01, 0.25))),
    row("stutter", "0.4 s are sent twice every 2 s", "said twice|pace",
         lambda a: of_wave(sounds.stuttered(a.wave, 0.4, 2.0))),
    row("one ear", "stereo with a silent side", "a channel is silent",
         lambda a: of_wave(np.stack([a.wave, a.wave * 0], axis=1))),
    row("two voices", "each fifth answer is lower and brighter", "another voice|too long|wrong",
         lambda a: of_wave(sounds.resampled(a.wave, 1.25) if a.number % 5 == 2 else a.wave)),
    # what headers say
    row("48 for 24", "24 kHz stated as 48 kHz", "too fast|too short", lambda a: of_wave(a.wave, rate_hz=48_000)),
    row("22 for 24", "24 kHz stated as 22.05 kHz", "pace|wrong sample rate", lambda a: of_wave(a.wave, rate_hz=22_050)),
    row("16 for 24", "24 kHz stated as 16 kHz", "pace|wrong sample rate|too long",
         lambda a: of_wave(a.wave, rate_hz=16_000)),
    row("more stated", "the header states more samples", "wrong_sample_count",
         lambda a: of_wave(a.wave, stated_frames=len(a.wave) * 2)),
    row("seconds", "X-Audio-Seconds states twice as many", "wrong_sample_count",
         lambda a: of_wave(a.wave, headers={"X-Audio-Seconds": f"{len(a.wave) / RATE_HZ * 2:.3f}"})),
    row("one as two", "mono stated as stereo", "pace|too fast|too short",
         lambda a: of_wave(a.wave[: len(a.wave) // 2 * 2].reshape(-1, 2))),
    # the stopwatch
    row("early byte", "one sample at once, the rest half a second later", "an early byte",
         lambda a: of_wave(a.wave, first_piece_s=1 / RATE_HZ, first_pause_s=0.3)),
    row("early silence", "10 ms of silence at once, then a wait", "an early byte",
         lambda a: of_wave(np.concatenate([sounds.silence(0.01), a.wave]), first_piece_s=0.01, first_pause_s=0.3)),
    row("comfort noise", "half a second of noise before the speech", "noise or a tone before",
         lambda a: prefixed(a, sounds.noise(0.6, -38, a.number))),
    row("fixed start", "the same second of speech before every answer", "a copy|too long|pace",
         lambda a: prefixed(a, a.speak("Well, let me see what I can say.")[: RATE_HZ])),
    row("beep", "a tone before the speech", "noise or a tone before", lambda a: prefixed(a, sounds.tone(0.6))),
)  # fmt: skip
