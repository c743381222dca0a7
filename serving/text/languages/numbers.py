"""Readings put into a sentence, and what numbers of all languages share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from num2words import num2words

from serving.text.words import Word

MOST_DIGITS = 15
"""A longer number is read digit by digit."""
Say = Callable[[re.Match[str]], str | None]
"""What is spoken for a match; None: it is none of its kind."""


def cardinal(digits: str, language: str) -> str:
    """The words of a whole number, given as digits; a code (zeros first, too long) digit by digit."""
    if len(digits) > MOST_DIGITS or (len(digits) > 1 and digits.startswith("0")):
        return each_digit(digits, language)
    return str(num2words(int(digits), lang=language))


def each_digit(digits: str, language: str) -> str:
    """A word for each digit."""
    return " ".join(str(num2words(int(digit), lang=language)) for digit in digits)


def ascii_digits(text: str) -> str:
    """Digits of other scripts as ASCII, one character for one."""
    if text.isascii():
        return text
    return "".join(str(int(sign)) if sign.isdecimal() and not sign.isascii() else sign for sign in text)


def with_readings(
    sentence: str, readings: Iterable[tuple[re.Pattern[str], Say]], *, blanks: bool
) -> list[Word]:
    """The words of a sentence, each match of the patterns spoken as its function says; an earlier pattern wins.

    `blanks`: a reading is set apart from letters and digits that touch it. Offsets refer to the sentence.
    """
    found: list[tuple[int, int, str]] = []
    for pattern, say in readings:
        for match in pattern.finditer(sentence):
            start, end = match.span()
            if any(start < last and first < end for first, last, _ in found):
                continue
            spoken = say(match)
            if spoken is not None:
                found.append((start, end, spoken))
    words: list[Word] = []
    at, is_open = 0, False
    for start, end, spoken in [*sorted(found), (len(sentence), len(sentence), "")]:
        for chunk in re.finditer(r"\S+", sentence[at:start]):
            first = at + chunk.start()
            glued = is_open and first == at
            _add(words, chunk.group(), first, at + chunk.end(), glued=glued, blanks=blanks)
        if start > at:
            is_open = not sentence[start - 1].isspace()
        if spoken:
            _add(words, spoken, start, end, glued=is_open, blanks=blanks)
            is_open = True
        at = end
    return words


def _add(words: list[Word], spoken: str, start: int, end: int, *, glued: bool, blanks: bool) -> None:
    if not (glued and words):
        words.append(Word(spoken, start, end))
        return
    last = words[-1]
    apart = blanks and last.spoken[-1:].isalnum() and spoken[:1].isalnum()
    words[-1] = Word(last.spoken + " " * apart + spoken, last.start, end)
