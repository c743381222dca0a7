"""How long a text should sound."""

from __future__ import annotations

import math
import re

from bench.hearing.words import normalise
from bench.records import Sample

LETTER_S, WORD_S = 0.0666, -0.0271
"""Seconds of sound per letter and per word of the normalised text, pauses apart: least squares over 185 waves of the
embedded voice. A voice that is slower or faster is so for all texts, which the judgement takes out."""
YEAR, READING_S = re.compile(r"(?<![\d,.])[12]\d{3}(?![\d,.]\d)"), 0.9
"""What may be a year, and how much longer it takes as a number: 14 letters and 3 words more."""
LEAST_LETTERS = 15
"""Below it (another script, a single word) a text has no expected length."""
MARKS = re.compile(r"[.,;:?!…\n\u2013\u2014()\[\]\"“”«»]|\s-\s")
INNER_MARKS = re.compile(
    r"""[.,;:?!…\u2013\u2014]+["'”’)\]}»]*\s+["'“‘(\[{«]*(?=\S)"""  # before a space
    r"""|(?<=\S)["”)\]}»]+\s+(?=\S)|\s["“‘(\[{«„]+(?=\S)"""  # brackets and quotes
    r"|\s[-/|*]+\s+(?=\S)|\s*\n\s*(?=\S)"  # dashes that are typed as hyphens, and lines
    r"|(?<=\w)(?:[\u2013\u2014…]|--+|\.\.+)(?=\w)"  # dashes without spaces
    r"|(?<=\d)[-/ ](?=\d)"  # groups of digits
    r"|[。、，；：？！](?=.)"
)
"""Those that words follow: where a speaker may pause."""


def letters(text: str) -> int:
    """Letters of the text as it is spoken: numbers in words."""
    return len(normalise(text).replace(" ", ""))


def expected_s(text: str) -> float | None:
    """Seconds of sound of the text, pauses apart; None if its letters do not tell."""
    words = normalise(text).split()
    count = sum(map(len, words))
    return count * LETTER_S + len(words) * WORD_S if count >= LEAST_LETTERS else None


def slowness(sample: Sample) -> float | None:
    """log(seconds of sound / expected): 0 for the pace of the embedded voice, 0.1 for a tenth slower."""
    if sample.heard is None or sample.heard.voiced_s <= 0:
        return None
    seconds = expected_s(sample.text)
    return None if seconds is None else math.log(sample.heard.voiced_s / seconds)


def tolerance(text: str) -> float:
    """How far the slowness of one wave may lie from its voice's median: the shorter the text, the farther.

    Twice the farthest of the honest waves (docs/hearing.md).
    """
    return 0.06 + 9 / max(letters(text), LEAST_LETTERS)


def slack(text: str) -> float:
    """How much slower still a wave may be where years are read as numbers: "one thousand nine hundred forty seven"."""
    seconds = expected_s(text)
    return math.log1p(READING_S * len(YEAR.findall(text)) / seconds) if seconds else 0.0


def pauses_expected(text: str) -> int:
    """Sentences that another one follows."""
    return max(0, len(re.findall(r"[.?!](?:\s+)(?=\S)", text)))
