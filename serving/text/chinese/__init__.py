"""Chinese text, and Chinese mixed with English, as words to speak.

A sentence is read from left to right. Where a number, a sign or a word of Latin letters stands, the recognisers are
tried in their order, and the first that knows it says how it is spoken; English phrases go to serving.text.english.
Plain prose comes through as written, in simplified characters. Every recogniser looks at a bounded stretch or takes
all that it looks at, so the time is linear in the length.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

from serving.text.chinese.amounts import (
    read_amount,
    read_fraction,
    read_leading,
    read_money,
    read_percent,
    read_range,
    read_ratio,
    read_sum,
    read_until,
)
from serving.text.chinese.characters import HAN, simplify
from serving.text.chinese.codes import read_code, read_dotted, read_name_number, read_phone, read_term
from serving.text.chinese.dates import Reading, read_date, read_time, read_year
from serving.text.chinese.mixed import english_stretches, is_mostly_pinyin
from serving.text.chinese.symbols import read_symbol
from serving.text.english import verbalise as verbalise_english
from serving.text.words import Word

logger = logging.getLogger(__name__)

Recogniser = Callable[[str, int], Reading | None]

_MARKS = "，。！？；：、“”‘’（）《》〈〉【】「」『』…—·"
_PLAIN = re.compile(f"[{HAN}{_MARKS}\\s]*[,.!?;:'\"()-]?")
"""A sentence in which nothing is to be read; ASCII punctuation elsewhere is left to the recognisers."""
_TRIGGER = re.compile(f"[^{HAN}{_MARKS}\\s]")
_HAN = re.compile(f"[{HAN}]")
_LATIN = re.compile("(?<!°)[A-Za-z]")
_CLOSING = "，。！？；：、,.!?;:）)”’》」』】"

_NUMERIC: tuple[Recogniser, ...] = (
    read_phone,
    read_code,
    read_date,
    read_money,
    read_year,
    read_time,
    read_dotted,
    read_percent,
    read_ratio,
    read_sum,
    read_fraction,
    read_range,
    read_name_number,
    read_amount,
)
"""For a digit, in the order of precedence."""
_SIGNED: tuple[Recogniser, ...] = (
    read_until,
    read_phone,
    read_money,
    read_percent,
    read_sum,
    read_range,
    read_amount,
    read_leading,
    read_term,
    read_symbol,
)
_VERBAL: tuple[Recogniser, ...] = (read_money, read_term)

_failed = False


def verbalise(sentence: str) -> list[Word]:
    """The words of one sentence of clean Unicode text, in order; a word is what stands between blanks or marks.

    A sentence without Chinese is read as English, unless it is pinyin or holds no letter. Offsets refer to the
    sentence. Never raises: what a library cannot read is spoken as it is written.
    """
    try:
        return _verbalise(sentence)
    except Exception:
        global _failed
        if not _failed:
            _failed = True
            logger.exception("a sentence could not be read and is spoken as it is written; said once")
        return [Word(match.group(), match.start(), match.end()) for match in re.finditer(r"\S+", sentence)]


def _verbalise(sentence: str) -> list[Word]:
    text = simplify(sentence)
    words = _Words()
    if _PLAIN.fullmatch(text):
        words.plain(text, 0, len(text))
        return words.found
    if not _HAN.search(text) and _LATIN.search(text) and not is_mostly_pinyin(text):
        return verbalise_english(text)
    at = 0
    for start, end in [*english_stretches(text), (len(text), len(text))]:
        for spoken, first, last in _readings(text, at, start):
            if spoken is None:
                words.plain(text, first, last)
            else:
                words.reading(spoken, first, last)
        for index, word in enumerate(verbalise_english(text[start:end])):
            if index:
                words.end()
            words.reading(word.spoken, word.start + start, word.end + start, word.phonemes)
        at = end
    return words.found


def _readings(text: str, at: int, end: int) -> Iterator[tuple[str | None, int, int]]:
    """Yield what is spoken for each part of text[at:end]; None where it is the part itself."""
    plain, text = at, text[:end]
    while (trigger := _TRIGGER.search(text, at)) is not None:
        at = trigger.start()
        reading = _read(text, at)
        if reading is None:
            at += 1
            continue
        if plain < at:
            yield None, plain, at
        yield reading[1], at, reading[0]
        plain = at = reading[0]
    if plain < end:
        yield None, plain, end


def _read(text: str, at: int) -> Reading | None:
    char = text[at]
    recognisers: tuple[Recogniser, ...]
    if "0" <= char <= "9":
        recognisers = _NUMERIC
    elif char.isascii() and char.isalpha():
        recognisers = _VERBAL
    elif char.isalpha():
        return None
    else:
        recognisers = _SIGNED
    for recogniser in recognisers:
        reading = recogniser(text, at)
        if reading is not None:
            return reading
    return None


class _Words:
    """Words in the making: a part that touches the one before it goes on with its word."""

    def __init__(self) -> None:
        self.found: list[Word] = []
        self._open = False

    def plain(self, text: str, start: int, end: int) -> None:
        """Add text[start:end] as it is written. Punctuation that a blank or a dropped sign left alone is joined."""
        for chunk in re.finditer(r"\S+", text[start:end]):
            first, last = start + chunk.start(), start + chunk.end()
            touches = self._open and first == start
            self._add(chunk.group(), first, last, joined=touches or chunk.group()[0] in _CLOSING)
            self._open = True
        self._open = self._open and not text[end - 1 : end].isspace()

    def reading(self, spoken: str, start: int, end: int, phonemes: str | None = None) -> None:
        """Add what is spoken for a part. A blank is the end of a word."""
        if not spoken.strip() or phonemes is not None:
            self.end()
        if spoken.strip():
            self._add(spoken.strip(), start, end, phonemes, joined=self._open)
            self._open = phonemes is None

    def end(self) -> None:
        """The next part begins a word."""
        self._open = False

    def _add(self, spoken: str, start: int, end: int, phonemes: str | None = None, *, joined: bool) -> None:
        last = self.found[-1] if joined and self.found else None
        if last is not None and last.phonemes is None:
            self.found[-1] = Word(last.spoken + spoken, last.start, end)
        else:
            self.found.append(Word(spoken, start, end, phonemes))
