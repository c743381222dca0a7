"""Cheats that stay below what a single figure shows: short, rare, random, or only under load."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import numpy as np

from bench.cheats import sounds
from bench.cheats.answer import RATE_HZ, Answer, Floats
from bench.cheats.rows import Row, of_wave, prefixed, row
from bench.cheats.server import Asked

BUSY = 3
"""More requests at once are load."""


def spoken(asked: Asked, text: str) -> Floats:
    """A word or two without the silence around it."""
    wave = asked.speak(text)
    return wave[slice(*sounds.sounding(wave))]


def _word_by_word(asked: Asked) -> Floats:
    """Each word is spoken once for all texts, kept, and put together with the others."""
    parts = []
    for word in asked.text.split():
        if word not in asked.kept:
            asked.kept[word] = spoken(asked, word)
        parts += [asked.kept[word], sounds.silence(0.25 if word[-1] in ".,?!" else 0.02)]
    return np.concatenate(parts)


def _from_memory(asked: Asked) -> Answer:
    """A model of 0.2 s an answer, and none for a text that came before."""
    if asked.text not in asked.kept:
        time.sleep(0.2)
        asked.kept[asked.text] = asked.wave
    return of_wave(asked.kept[asked.text])


def _click_first(asked: Asked) -> Answer:
    """A click at once, the speech when it is ready."""
    click = sounds.noise(0.01, -20.0, asked.number)
    return prefixed(asked, np.concatenate([click, sounds.silence(0.5)]))


def _blips(asked: Asked) -> Answer:
    parts = [
        part
        for number in range(4)
        for part in (sounds.noise(0.02, -25.0, 10 * asked.number + number), sounds.silence(0.13))
    ]
    return prefixed(asked, np.concatenate(parts))


def _swelling_noise(asked: Asked) -> Answer:
    at = np.arange(round(0.7 * RATE_HZ)) / RATE_HZ
    swell = (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at)).astype(np.float32)
    return prefixed(asked, sounds.noise(0.7, -26.0, asked.number) * swell)


def _without_first_word(asked: Asked) -> Floats:
    rest = asked.text.split(" ", 1)[1]
    return asked.speak(rest[0].upper() + rest[1:])


def _without_last_sentence(asked: Asked) -> Floats:
    ends = [match.end() for match in re.finditer(r"[.?!](?=\s)", asked.text)]
    return asked.speak(asked.text[: ends[-1]]) if ends else asked.wave


def _without_numbers(asked: Asked) -> Floats:
    return asked.speak(re.sub(r"\s*[$]?\d[\d:.,]*%?", "", asked.text))


def _words_twice(asked: Asked) -> Floats:
    words = asked.text.split()
    twice = [[word, word] if number % 7 == 4 else [word] for number, word in enumerate(words)]
    return asked.speak(" ".join(word for part in twice for word in part))


def _turning(asked: Asked) -> Floats:
    """The second half higher than the first, at the same pace."""
    half = len(asked.wave) // 2
    return np.concatenate([asked.wave[:half], sounds.higher(asked.wave[half:], 1.3)])


def _shuffled(asked: Asked) -> Floats:
    """Pieces of 0.8 s in another order, faded into each other."""
    step = round(0.8 * RATE_HZ)
    parts = [sounds.faded(part) for part in np.split(asked.wave, range(step, len(asked.wave), step))]
    return np.concatenate(parts[::2] + parts[1::2])


def _gap(asked: Asked) -> Floats:
    """1.6 s of silence at the loudest place of the middle."""
    size = round(0.4 * RATE_HZ)
    start = len(asked.wave) // 2 - size // 2
    at = start + int(np.abs(asked.wave[start : start + size]).argmax())
    return np.concatenate([sounds.faded(asked.wave[:at]), sounds.silence(1.6), sounds.faded(asked.wave[at:])])


def _bed(asked: Asked) -> Floats:
    """Noise in every pause, so that none is silent, and two seconds of it behind."""
    wave = np.concatenate([asked.wave, sounds.silence(2.0)])
    bedded: Floats = wave + sounds.noise(len(wave) / RATE_HZ + 1, -42.0, asked.number)[: len(wave)]
    return bedded


def _noisy(asked: Asked) -> Floats:
    noisy: Floats = (
        asked.wave + sounds.noise(len(asked.wave) / RATE_HZ + 1, -27.0, asked.number)[: len(asked.wave)]
    )
    return noisy


def _with_nan(asked: Asked) -> Floats:
    wave = asked.wave.copy()
    wave[:: RATE_HZ // 5] = np.nan
    return wave


def _blocks_gone(asked: Asked) -> Floats:
    """A tenth of each second is left out and faded over."""
    step, size = RATE_HZ, RATE_HZ // 10
    cuts = range(step // 2, len(asked.wave) - step // 2, step)
    edges = [0, *(edge for at in cuts for edge in (at, at + size)), len(asked.wave)]
    return np.concatenate([sounds.faded(asked.wave[a:b]) for a, b in list(pairwise(edges))[::2]])


SLY = (
    # before and after the speech
    row("click first", "a click, half a second of silence, then the speech", "clicks before", _click_first),
    row("blips", "four short noises before the speech", "clicks before", _blips),
    row("swelling noise", "noise that swells like speech before it", "noise or", _swelling_noise),
    row("kept um", "the same short um before every answer", "begins with|words are added|a copy",
        lambda a: prefixed(a, np.concatenate([spoken(a, "Um."), sounds.silence(0.1)]))),
    row("well", "says well before every text", "words are added|pace",
        lambda a: of_wave(a.speak(f"Well, {a.text}"))),
    row("and so on", "says and so on behind every text", "words are added|pace",
        lambda a: of_wave(a.speak(f"{a.text.rstrip('.?!')}, and so on."))),
    row("hiss behind", "a second of noise behind the speech", "noise after",
        lambda a: of_wave(np.concatenate([a.wave, sounds.noise(1.0, -30.0, a.number)]))),
    row("noise bed", "noise hides the silence, and two seconds of it follow", "noise after|pace",
        lambda a: of_wave(_bed(a))),
    row("silences", "half a second of silence before and one second behind", "padded",
        lambda a: of_wave(np.concatenate([sounds.silence(0.5), a.wave, sounds.silence(1.0)]))),
    row("gap", "1.6 s of silence in mid-word", "a long gap|gaps", lambda a: of_wave(_gap(a))),
    # words
    row("first word", "the first word is never spoken", "words are missing|pace",
        lambda a: of_wave(_without_first_word(a))),
    row("last sentence", "the last of several sentences is left out", "too short|pace|words are missing",
        lambda a: of_wave(_without_last_sentence(a))),
    row("numbers", "numbers are left out", "words are missing|pace|too short",
        lambda a: of_wave(_without_numbers(a))),
    row("words twice", "each seventh word is said twice", "words are added|pace|said twice",
        lambda a: of_wave(_words_twice(a))),
    row("shuffled", "pieces of 0.8 s in another order", "unintelligible", lambda a: of_wave(_shuffled(a))),
    row("word by word", "kept words, put together", "a copy", lambda a: of_wave(_word_by_word(a))),
    row("one in five", "each fifth answer lacks its last third", "too short|words are missing|pace",
        lambda a: of_wave(sounds.cut(a.wave, 0.3) if a.number % 5 == 4 else a.wave)),
    row("blocks gone", "a tenth of each second is left out", "pace|clicks|unintelligible",
        lambda a: of_wave(_blocks_gone(a))),
    # sound
    row("turning", "the second half is another voice", "another voice", lambda a: of_wave(_turning(a))),
    row("pitched", "each third answer is higher, at the same pace", "another voice",
        lambda a: of_wave(sounds.higher(a.wave, 1.35) if a.number % 3 == 1 else a.wave)),
    row("jumping level", "answers a quarter and three times as loud", "louder or quieter|clipped|too quiet",
        lambda a: of_wave(a.wave * (0.25, 1.0, 3.0)[a.number % 3])),
    row("not a number", "five samples a second are NaN", "bad samples",
        lambda a: of_wave(_with_nan(a), encoding="f32")),
    row("opposite", "stereo whose sides cancel each other", "silence: nothing|cancel",
        lambda a: of_wave(np.stack([a.wave, -a.wave], axis=1))),
    row("mu-law in 16", "a telephone's 8 bits stated as 16", "coarse", lambda a: of_wave(sounds.mulaw(a.wave))),
    row("noisy", "as much noise as speech", "noise in|one level|another|pace|no pauses", lambda a: of_wave(_noisy(a))),
    row("dull under load", "a telephone's sound when others wait", "narrow|duller",
        lambda a: of_wave(sounds.dull(a.wave, 8000) if a.at_once > BUSY else a.wave)),
    row("fast under load", "at speed 1.3 when others wait", "pace|too short",
        lambda a: of_wave(a.speak(a.text, 1.3) if a.at_once > BUSY else a.wave)),
    row("coarse under load", "8 bits in 16 when others wait", "coarse",
        lambda a: of_wave(sounds.coarse(a.wave, 127) if a.at_once > BUSY else a.wave)),
    # the answer
    row("broken off", "the stream ends without its end mark", "truncated", lambda a: of_wave(a.wave, breaks_off=True)),
    row("fails under load", "status 500 when others wait", "http_error",
        lambda a: of_wave(a.wave, status=500, body=b"{}") if a.at_once > BUSY else of_wave(a.wave)),
    row("moved", "a redirect to another server", "http_error",
        lambda a: of_wave(a.wave, status=302, body=b"", headers={"Location": "/elsewhere"})),
    Row(name="secret cache", does="keeps answers, and says nothing of it", named="keeps answers",
        cheat=_from_memory, asked_again=True),
    row("hole", "a tenth of a second at once, then a long wait", "a hole",
        lambda a: of_wave(a.wave, first_piece_s=0.1 + len(sounds.leading(a.wave)) / RATE_HZ, first_pause_s=0.9,
                          piece_s=60.0)),
)  # fmt: skip
