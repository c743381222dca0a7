"""Line ends: wraps are joined, hyphenation is undone, and what is a line of its own ends a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving.text.abbreviations import (
    AMBIGUOUS_STARTS,
    COMPOUND_ENDS,
    COMPOUND_MIDDLES,
    COMPOUND_STARTS,
    COMPOUND_WORDS,
    JOINERS,
    STARTERS,
    WORD_ENDS,
)
from serving.text.blocks import Block, Pause
from serving.text.source import SourceText

UNWRAPPED_CHARS = 100
"""A block with longer lines has not been wrapped by hand or by a mail program: its line ends are meant."""

_BULLET = re.compile(r"[•◦▪▸►‣●○■□◆✓✔➤➢·*+–—-]\s+(?=\S)")
_DASH_BULLETS = "–—-+*"
_CHINESE_NUMBER = r"[\d一二三四五六七八九十]{1,3}"
_ENUMERATOR = re.compile(
    r"(?:\d{1,3}[.)]|[A-Za-z]\)|[ivxIVX]{1,4}\)|\([A-Za-z\d]{1,3}\))\s+\S"
    rf"|(?:[（(]{_CHINESE_NUMBER}[）)]|{_CHINESE_NUMBER}、)\s*\S"
)
_SPEAKER = re.compile(r"[A-Z][\w.' -]{0,24}:\s")
_CLOCK = re.compile(r"[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?[\])](?=\s)")
"""At the begin of a line of a chat."""
_SEPARATOR = re.compile(r"[\W_]{3,}")
_WORD_HYPHEN = re.compile(r"([^\W\d_]{1,40})[-‐]\Z")
_LINKS = frozenset(("in", "of", "the", "to", "and", "a", "up", "by", "at", "on", "for", "off"))
_STOP = re.compile(r"[.!?…。！？]['\")\]]*\Z")
_PUNCTUATION = tuple(",;:—–(/&，、；：")
_TITLE_MIN_CHARS = 4
_COMPOUND_MIN_CHARS = 4
_FIRST_IDEOGRAPH = "\u2e80"
_MAX_VERSE_CHARS = 10
"""Longest line of a list or a verse in Chinese."""


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    text: str
    bullet: bool
    enumerator: bool

    @property
    def first_word(self) -> str:
        return self.text.split(" ", 1)[0]

    @property
    def opens_lower(self) -> bool:
        return self.text[:1].islower()


def join_lines(block: Block) -> Iterator[tuple[SourceText, Pause]]:
    """Yield the stretches of a block between the line ends that end a sentence; none holds a line end."""
    source = block.source
    if "\n" not in source.text:
        match = _BULLET.match(source.text) if block.newlines == "wrap" else None
        if match and source.text[0] not in "–—-+":
            source = source.slice(match.end(), len(source.text))
        yield source, block.pause
        return
    lines = list(_lines(source.text))
    shape = _Shape(lines)
    edits: list[tuple[int, int, str]] = []
    begin = 0
    for index, line in enumerate(lines):
        if line.bullet and shape.is_bullet(line):
            match = _BULLET.match(line.text)
            edits.append((line.start, line.start + (match.end() if match else 0), ""))
        if index + 1 == len(lines):
            break
        after = lines[index + 1]
        blank = source.text.count("\n", line.end, after.start) > 1
        joint = shape.joint(line, after, blank=blank) if block.newlines == "wrap" else " "
        if joint in ("", " ", "-"):
            end = line.end - (joint == "")
            edits.append((end, after.start, joint.replace("-", "")))
        else:
            yield _stretch(source, begin, line.end, edits), Pause("paragraph" if joint == "P" else "sentence")
            edits = []
            begin = after.start
    yield _stretch(source, begin, len(source.text), edits), block.pause


def _stretch(source: SourceText, begin: int, end: int, edits: list[tuple[int, int, str]]) -> SourceText:
    return source.slice(begin, end).edit([(first - begin, last - begin, new) for first, last, new in edits])


def _lines(text: str) -> Iterator[_Line]:
    """The lines that hold anything, without the blanks around them."""
    at = 0
    for written in text.split("\n"):
        stripped = written.strip()
        if stripped:
            start = at + len(written) - len(written.lstrip())
            yield _Line(
                start,
                start + len(stripped),
                stripped,
                bool(_BULLET.match(stripped)),
                bool(_ENUMERATOR.match(stripped)),
            )
        at += len(written) + 1


class _Shape:
    """What the lines of a block have in common, as evidence for each of its line ends."""

    def __init__(self, lines: list[_Line]) -> None:
        self.width = max((len(line.text) for line in lines), default=0)
        self.enumerated = sum(line.enumerator for line in lines) >= 2
        self.dashes = sum(line.bullet for line in lines)
        self.none_lower = not any(line.opens_lower for line in lines)
        self.count = len(lines)
        self.ideographic = any(line.text[-1] >= _FIRST_IDEOGRAPH for line in lines)
        self.phrases = not any(line.text.split()[-1].lower() in JOINERS for line in lines[:-1])
        self.short_items = (
            self.count >= 3
            and self.width <= (_MAX_VERSE_CHARS if self.ideographic else 24)
            and all(len(line.text.split()) <= 3 for line in lines)
            and not any(
                line.text.endswith((".", "!", "?", "-", "。", "！", "？", *_PUNCTUATION)) for line in lines
            )
            and self.phrases
            and not self.enumerated
        )

    def is_bullet(self, line: _Line) -> bool:
        return line.bullet and (line.text[0] not in _DASH_BULLETS or self.dashes >= 2)

    def joint(self, line: _Line, after: _Line, *, blank: bool) -> str:
        """What takes the place of a line end: "" joins a hyphenated word, "-" keeps its hyphen, " " joins words;
        "S" ends a sentence, "P" a paragraph."""
        if self._begins_item(line, after):
            return "S"
        if blank:
            return "P"
        if _SEPARATOR.fullmatch(line.text) or _SEPARATOR.fullmatch(after.text):
            return "P"
        if (hyphen := _WORD_HYPHEN.search(line.text)) and after.text[0].isalnum():
            inner = line.text[: hyphen.start()].endswith("-") and hyphen[1].lower() in _LINKS
            own = inner or _is_compound(line.text[: hyphen.end(1)], hyphen[1], after.first_word)
            return "" if after.opens_lower and not own else "-"
        if line.text.endswith("-") and line.text[-2:-1].isdigit() and after.text[0].isdigit():
            return "-"
        fits = len(line.text) + 1 + len(after.first_word) <= self.width
        if _STOP.search(line.text):
            if not fits or after.opens_lower:
                return " "
            return "P" if self.width > UNWRAPPED_CHARS else "S"
        if line.text.endswith(_PUNCTUATION):
            return " "
        return "S" if self._is_own_line(line, after, fits) else " "

    def _begins_item(self, line: _Line, after: _Line) -> bool:
        if self.is_bullet(after):
            return True
        if after.enumerator and (self.enumerated or line.text.endswith(":")):
            return True
        if _CLOCK.match(after.text) or (after.text[0] in "—―" and _STOP.search(line.text)):
            return True
        return bool(_SPEAKER.match(after.text)) and not after.opens_lower

    def _is_own_line(self, line: _Line, after: _Line, fits: bool) -> bool:
        """Whether a line without a stop was meant to end where it does."""
        if self.short_items:
            return True
        if after.opens_lower or line.text.split()[-1].lower() in JOINERS:
            return False
        if line.text[-1] >= _FIRST_IDEOGRAPH and after.text[0] >= _FIRST_IDEOGRAPH:
            return len(line.text) + 2 <= self.width
        starter = after.first_word.strip("\"'(").lower() in STARTERS
        if self.none_lower and (
            (self.count >= 3 and self.phrases) or (_is_title(line) and (fits or _is_title(after)))
        ):
            return True
        if not fits:
            return False
        return (
            starter or _is_title(line) or (self.width > UNWRAPPED_CHARS and len(line.text) < 0.6 * self.width)
        )


def _is_title(line: _Line) -> bool:
    words = [word for word in line.text.split() if len(word) >= _TITLE_MIN_CHARS or not word.isalpha()]
    return not any(word[0].islower() for word in words)


def _is_compound(line: str, before: str, after: str) -> bool:
    """Whether the hyphen at a line end is one of the word's own. `before` is what `line` ends with."""
    first = before.lower()
    second = "".join(char for char in after if char.isalpha())
    if second in WORD_ENDS:
        return False
    if first in COMPOUND_MIDDLES and line[: -len(before)].endswith(("-", "‐")):
        return True  # mother-in-law
    if second in COMPOUND_WORDS and len(first) >= _COMPOUND_MIN_CHARS:
        return True
    return first in COMPOUND_STARTS or (first in AMBIGUOUS_STARTS and second in COMPOUND_ENDS)
