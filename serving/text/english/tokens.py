"""Tokens of a sentence, and what a recogniser says about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

LETTER = r"[^\W\d_²³¹⁰-ₜ¼-¾⅐-↏]"
"""A letter; the classes of `re` count powers and fractions among them."""
_CHUNK = re.compile(r"\S+")
_OPENING = "([{\"'“”‘’«„‚*_`¿¡‹›"
_CLOSING = ")]}—\"'“”‘’»*_`.,;:!?…›"
_DIGIT = re.compile("[0-9½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")
_JOIN = re.compile(
    rf"—+|-{{2,}}|…+|\.{{2,}}|(?<={LETTER}{{2}})[.,;:!?]+(?=[\"'“‘(]?[A-Z][a-z])|(?<={LETTER}{{2}})[,;!?](?={LETTER})"
)
_TIGHT = re.compile(r"[(\"'“]?(?:nos?|figs?|vols?|ch|sec|pp?|eqs?|ep|tab|ref|rs)\.(?=[0-9])", re.IGNORECASE)
"""An abbreviation whose number follows without a blank: "No.1"."""
_ORNAMENT = str.maketrans({"*": None, "_": None, "`": None, "[": "(", "{": "(", "]": ")", "}": ")"})


class Token:
    """A run of characters without white space, apart from the punctuation around it."""

    __slots__ = ("core", "digit", "glued", "lead", "lower", "start", "text", "trail")

    def __init__(self, text: str, start: int, glued: bool = False) -> None:
        bare = text.lstrip(_OPENING)
        self.text, self.start, self.glued = text, start, glued
        self.lead = text[: len(text) - len(bare)]
        self.core = bare.rstrip(_CLOSING)
        self.trail = bare[len(self.core) :]
        if self.core.endswith("--"):
            self.core, self.trail = self.core.rstrip("-"), "—"
        self.lower = self.core.lower()
        self.digit = _DIGIT.search(self.core) is not None

    @property
    def end(self) -> int:
        """Offset behind the token."""
        return self.start + len(self.text)

    @property
    def capitalised(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.core[:1].isupper()

    @property
    def ends_clause(self) -> bool:
        """Whether punctuation follows it."""
        return any(symbol in ".,;:!?…—" for symbol in self.trail)


class Reading(NamedTuple):
    """How one or more tokens are spoken."""

    spoken: str
    used: int = 1
    """Tokens that it stands for."""
    trail: str | None = None
    """The punctuation behind it; None keeps that of the last token."""
    phonemes: str | None = None
    lead: str | None = None
    """The punctuation before it; None keeps that of the first token."""


Tokens = Sequence[Token]
Recogniser = Callable[[Tokens, int], Reading | None]

_NOTHING = Token("", 0)


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def table(text: str) -> dict[str, str]:
    """ "km kilometer, m/s meter per second" as a dictionary: each key ends at the first space."""
    items = (item.split(None, 1) for item in text.split(","))
    return {item[0]: " ".join(item[1].split()) if len(item) > 1 else "" for item in items}


def tokenise(text: str) -> list[Token]:
    """Split at white space, and at dashes, ellipses and missing spaces within a run."""
    tokens = []
    for match in _CHUNK.finditer(text):
        start = match.start()
        chunk = match.group()
        begin = 0
        if not (len(chunk) < 3 or chunk.isalnum() or "://" in chunk or "@" in chunk or "\\" in chunk):
            tight = _TIGHT.match(chunk)
            if tight:
                begin = tight.end()
                tokens.append(Token(chunk[:begin], start))
            for join in _JOIN.finditer(chunk, begin):
                cut = join.end()
                if join.start() == begin or cut == len(chunk):
                    continue
                if chunk[join.start() - 1].isdigit() and chunk[cut].isdigit():
                    continue  # a range of numbers
                tokens.append(Token(chunk[begin:cut], start + begin, glued=begin > 0))
                begin = cut
        tokens.append(Token(chunk[begin:], start + begin, glued=begin > 0))
    return tokens


def at(tokens: Tokens, index: int) -> Token:
    """The token at an index, or an empty one outside of the sentence."""
    return tokens[index] if 0 <= index < len(tokens) else _NOTHING


def before(tokens: Tokens, index: int, count: int = 1) -> str:
    """The word `count` tokens before, in lower case; empty where punctuation ends a clause between."""
    token = at(tokens, index - count)
    between = any(at(tokens, index - back).ends_clause for back in range(1, count + 1))
    return "" if between else token.lower


def after(tokens: Tokens, index: int, count: int = 1) -> str:
    """The word `count` tokens after, in lower case; empty where punctuation ends a clause between."""
    between = any(at(tokens, index + ahead).ends_clause for ahead in range(count))
    return "" if between else at(tokens, index + count).lower


def said_nearby(tokens: Tokens, index: int, words: frozenset[str], reach: int = 3) -> bool:
    """Whether one of the words stands among the `reach` tokens before, in whichever clause."""
    return any(at(tokens, index - back).lower in words for back in range(1, reach + 1))


def punctuation(marks: str) -> str:
    """Marks around a word as a model should see them: no ornament, round brackets, one of each kind."""
    marks = marks.translate(_ORNAMENT)
    if len(marks) < 2:
        return marks
    kept = ""
    for mark in marks:
        if mark != kept[-1:] or (mark == "." and kept[-3:] != "..."):
            kept += mark
        if len(kept) > 6:
            break
    return kept


_STARTERS = word_set(
    """
    the a an it he she they we i you this that these those there here his her their our my your its what
    when where why how who if but and so then please after before in on at no yes for as do does did is are
    was were let can will could would should have has had not now just also however thank thanks all some
    many most each every one
    """
)


def starts_sentence(token: Token) -> bool:
    """Whether a token looks like the first of a sentence: a capital on a word that seldom has one."""
    return token.capitalised and token.lower in _STARTERS


def is_sum(tokens: Tokens, index: int) -> bool:
    """Whether "=" stands near."""
    return any("=" in at(tokens, index + ahead).text for ahead in range(-3, 6))
