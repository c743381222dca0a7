"""Where sentences end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.text.abbreviations import (
    AFTER_STREET,
    AFTER_TIME,
    BEFORE_LETTER,
    BEFORE_NO,
    BEFORE_NUMBER,
    CONJUNCTIONS,
    MAY_END,
    NEVER_END,
    SHORT_BOOKS,
    SHORT_WORDS,
    STARTERS,
    STREETS,
    TITLES,
    UNITS,
)
from serving.text.blocks import PauseKind

MAX_SENTENCE_CHARS = 400
MAX_SENTENCE_WORDS = 60
"""A longer sentence is cut at clauses, else between words, else anywhere."""

WIDE_STOPS = "。！？；।॥؟۔｡"
CLOSING = "\"'”’)\\]}」』》〉）】"
STOP = re.compile(rf"([.!?…{WIDE_STOPS}]+)([{CLOSING}]*)")
_LAST_TOKEN = re.compile(r"[^\s(\[{\"'“‘—–/]*\Z")
_NEXT_WORD = re.compile(r"\s*([\"'“‘(\[{]*)([^\W_][\w'’]{0,40})?(\.?)")
_CLAUSE_END = re.compile(r"[,;:—–)][\"']?\s|[，、：；]")
_WORD = re.compile(r"\S+")
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_LETTER_BEFORE = re.compile(r"(?<![^\W\d_])[A-Za-z]\Z")
_VERSE = re.compile(r"\s*[0-9]{1,3}:[0-9]")
_CONTEXT_CHARS = 60

Span = tuple[int, int, PauseKind | None]
"""[start, end) of a sentence and its pause; None where it ends with the text."""


def split_sentences(text: str, language: str) -> Iterator[Span]:
    """Yield the sentences of a text without line ends. Time is linear in its length."""
    start = 0
    english = language == "en"
    last = len(text.rstrip())
    for stop in STOP.finditer(text):
        if stop.end() < last and is_end(text, start, stop, english):
            yield from _within_limits(text, start, stop.end(), "sentence", english)
            start = stop.end()
    yield from _within_limits(text, start, len(text), None, english)


def is_end(text: str, start: int, stop: re.Match[str], english: bool) -> bool:
    """Whether the sentence that begins at `start` ends at a match of STOP, which the text does not end with."""
    marks, closing, end = stop[1], stop[2], stop.end()
    if any(mark in WIDE_STOPS for mark in marks):
        return True
    before = text[max(start, stop.start() - _CONTEXT_CHARS) : stop.start()]
    following = _NEXT_WORD.match(text, end, end + _CONTEXT_CHARS)
    word = following[2] or "" if following else ""
    if not text[end].isspace():
        return _is_end_without_blank(
            before, marks, text[end], word, text[end + len(word) : end + len(word) + 1]
        )
    if not word:
        return not text[end : end + 3].strip().startswith(("—", "–", "-", ",", ";", "&", "="))
    lower = word[0].islower()
    if marks[0] in "!?" or marks[-1] in "!?":
        return not (lower and closing)
    if len(marks) > 1 or marks == "…":
        return not lower
    if closing:
        return not lower
    match = _LAST_TOKEN.search(before)
    token = match.group() if match else ""
    preceding = before[: len(before) - len(token)].split()
    if token.isdecimal() and not text[start : stop.start() - len(token)].strip() and len(token) <= 3:
        return False  # an enumerator: "1. Open the box."
    if not english and not (token and token.isascii() and word[0].isascii()):
        return not lower and not (len(token) == 1 and token.isupper())
    if token.lower() in UNITS and preceding and preceding[-1][-1].isdigit():
        return not lower and not word[0].isdigit()
    if lower:
        if token == "No" and word == "of":
            return False
        return not _looks_abbreviated(token, preceding)
    if word[0].isdigit():
        if token.lower() in SHORT_BOOKS and _VERSE.match(text, end):
            return False
        return _is_end_before_number(token, preceding)
    starter = word.lower() in STARTERS and not (following and following[3] and len(word) == 1)
    return _is_end_before_capital(token, preceding, word, starter)


def _is_end_without_blank(before: str, marks: str, after: str, word: str, then: str) -> bool:
    """A stop with a letter right after it: a blank was left out, or it is a name such as "Node.js"."""
    last = before[-1:]
    if marks == "." and _LETTER_BEFORE.search(before):
        return False
    if _is_ideographic(after) or (_is_ideographic(last) and not after.isdigit()):
        return True
    if not after.isupper() or not (last.isdigit() or (last.islower() and before[-2:].isalpha())):
        return False
    if marks[-1] in "!?":
        return True
    return word.lower() in STARTERS and then in (" ", ",", "'")


def _is_ideographic(char: str) -> bool:
    return "\u2e80" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af" or char >= "\U00020000"


def _looks_abbreviated(token: str, preceding: list[str]) -> bool:
    """Whether a stop before a small letter can be that of an abbreviation."""
    plain = token.lower()
    if plain in SHORT_WORDS and plain != "no":
        return token.isupper() and len(token) == 1
    known = (
        plain in TITLES or plain in BEFORE_NUMBER or plain in NEVER_END or plain in MAY_END or plain == "etc"
    )
    if known or _ACRONYM.fullmatch(token) or len(token) == 1:
        if token in ("max", "fig") and preceding and preceding[-1].lower() == "the":
            return True
        return plain not in ("no", "sun", "sat", "art", "max", "fig", "item")
    return (len(token) < 3 and token.isalpha()) or (
        token.isalpha() and not set(plain) & set("aeiouyáéíóúäöü")
    )


def _is_end_before_number(token: str, preceding: list[str]) -> bool:
    plain = token.lower()
    if plain == "no":
        return token == "no" and bool(preceding) and preceding[-1].lower().strip(",;:") in BEFORE_NO
    return not (
        plain in BEFORE_NUMBER
        or plain in NEVER_END
        or plain in TITLES
        or (len(token) == 1 and token.isalpha())
        or _ACRONYM.fullmatch(token)
    )


def _is_end_before_capital(token: str, preceding: list[str], word: str, starter: bool) -> bool:
    plain = token.lower()
    if plain in NEVER_END:
        return False
    if plain in STREETS and _is_street(preceding):
        return word.lower() not in AFTER_STREET
    if plain in TITLES:
        return not token[0].isupper()
    if len(token) == 1 and token.isalpha():
        return _is_end_after_letter(token, preceding, starter)
    if plain in ("a.m", "p.m", "am", "pm"):
        return word.lower() not in AFTER_TIME
    if (plain in MAY_END and not token.isupper()) or _ACRONYM.fullmatch(token):
        return starter
    if plain in BEFORE_NUMBER and plain not in ("no", "sun", "sat"):
        return not (len(word) <= 4 and set(word) <= set("IVXLC") and word != "I") and not (
            len(word) == 1 and word not in "AI"
        )
    return True


def _is_end_after_letter(token: str, preceding: list[str], starter: bool) -> bool:
    """After a single letter: an initial, or a letter that ends a sentence."""
    last = preceding[-1] if preceding else ""
    if token == "v" and last[:1].isupper():
        return False  # "Roe v. Wade"
    if token.islower():
        return True
    if token == "I" and last[:1].islower():
        return True
    return starter or last.lower() in BEFORE_LETTER


def _is_street(preceding: list[str]) -> bool:
    """Whether a house number and a name stand before: "12 Elm"."""
    names = preceding[-3:]
    return bool(names) and names[-1][0].isupper() and any(name[0].isdigit() for name in names[:-1])


def _within_limits(text: str, start: int, end: int, pause: PauseKind | None, english: bool) -> Iterator[Span]:
    """Yield [start, end) without the blanks around it, in pieces within the limits."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    while start < end:
        limit = _limit(text, start, end)
        if limit >= end:
            yield start, end, pause
            return
        cut, kind = _cut(text, start, limit, english)
        yield start, start + len(text[start:cut].rstrip()), kind
        start = cut
        while start < end and text[start].isspace():
            start += 1


def _limit(text: str, start: int, end: int) -> int:
    """End of the longest piece that may begin at `start`."""
    limit = min(end, start + MAX_SENTENCE_CHARS)
    if end - start > 2 * MAX_SENTENCE_WORDS:
        for words, match in enumerate(_WORD.finditer(text, start, limit), 1):
            if words == MAX_SENTENCE_WORDS:
                return end if not text[match.end() : end].strip() else match.end()
    rest = end - start
    return (start + end) // 2 + 20 if MAX_SENTENCE_CHARS < rest < 1.25 * MAX_SENTENCE_CHARS else limit


def _cut(text: str, start: int, limit: int, english: bool) -> tuple[int, PauseKind]:
    """Where to end a piece that would be too long, and the pause there."""
    early = start + (limit - start) // 3
    ends = [clause.end() for clause in _CLAUSE_END.finditer(text, early, limit + 1)]
    if ends:
        return ends[-1], "clause"
    before_conjunction = after_word = 0
    for word in _WORD.finditer(text, early, limit):
        if word.start() > early:
            after_word = word.start()
            if english and word.group().lower() in CONJUNCTIONS:
                before_conjunction = word.start()
    cut = before_conjunction or after_word or limit
    return cut, "none"
