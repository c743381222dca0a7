"""When the words of a known text are spoken, by forced alignment: an opinion that is not the server's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pocketsphinx import Decoder

from bench.hearing.speech_check import RECOGNISER_RATE_HZ, resampled

FRAME_S = 0.01
EDGE_S = 0.25
"""Silence put around a wave: the aligner wants some."""


class Spoken(NamedTuple):
    """A word in small letters, and its first and last moment in seconds."""

    word: str
    start_s: float
    end_s: float


def align(samples: NDArray[np.float32], sample_rate_hz: int, spoken: str) -> list[Spoken] | None:
    """The words of `spoken` in a mono wave; None if one of them is not in the aligner's dictionary, or none fits."""
    words = [bare(word) for word in spoken.split()]
    decoder = _decoder()
    if any(decoder.lookup_word(word) is None for word in words):
        return None
    edge = np.zeros(round(EDGE_S * sample_rate_hz), np.float32)
    wave = resampled(np.concatenate([edge, samples, edge]), sample_rate_hz)
    decoder.set_align_text(" ".join(words))
    decoder.start_utt()
    decoder.process_raw((wave.clip(-1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = [
        Spoken(
            re.sub(r"\(\d\)", "", part.word),
            part.start_frame * FRAME_S - EDGE_S,
            (part.end_frame + 1) * FRAME_S - EDGE_S,
        )
        for part in decoder.seg()
        if part.word[0].isalpha()
    ]
    return found if [part.word for part in found] == words else None


def distances_ms(told: Sequence[Spoken], aligned: Sequence[Spoken]) -> list[tuple[float, float]]:
    """(start, end) of the aligner less those of the server, for the words that both spell alike, in order."""
    apart, at = [], 0
    for number, word in enumerate(told):
        following = told[number + 1].word if number + 1 < len(told) else None
        if at < len(aligned) and aligned[at].word == word.word:
            found = aligned[at]
            apart.append(((found.start_s - word.start_s) * 1000, (found.end_s - word.end_s) * 1000))
            at += 1
        else:  # written otherwise than it is spoken, as $5 is
            while at < len(aligned) and aligned[at].word != following:
                at += 1
    return apart


def bare(word: str) -> str:
    """Small letters and apostrophes."""
    return re.sub(r"[^a-z']", "", word.lower())


@lru_cache(maxsize=1)
def _decoder() -> Decoder:
    return Decoder(lm=None, samprate=float(RECOGNISER_RATE_HZ), loglevel="FATAL")
