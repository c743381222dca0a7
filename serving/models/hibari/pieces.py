"""The phonemes of a sentence in pieces, and their division into segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_PHONEMES = 400
"""Phonemes of one segment; a longer sentence is cut at clauses, then at words, then anywhere."""
STRESS_AND_LENGTH = "ˈˌː"
_CLAUSE_ENDS = (",", ";", ":", "—")


class Piece(NamedTuple):
    """Phonemes between two blanks."""

    phonemes: str
    word: int
    """Which of the sentence's words they belong to."""


def is_sound(symbol: str) -> bool:
    """Whether a symbol is a sound, and not punctuation or a mark of stress or length."""
    return symbol.isalpha() and symbol not in STRESS_AND_LENGTH


def is_speakable(pieces: Sequence[Piece]) -> bool:
    """Whether there is a sound among the phonemes."""
    return any(is_sound(symbol) for piece in pieces for symbol in piece.phonemes)


def split(pieces: Sequence[Piece], limit: int = MAX_PHONEMES) -> Iterator[list[Piece]]:
    """Divide pieces into segments of at most `limit` symbols, a blank between two pieces counted: at clauses, else at
    words, else anywhere.
    """
    segment: list[Piece] = []
    for part in _parts_within(pieces, limit):
        if segment and _length(segment) + 1 + _length(part) > limit:
            yield segment
            segment = []
        segment = [*segment, *part]
    if segment:
        yield segment


def _length(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.phonemes) + 1 for piece in pieces) - 1


def _parts_within(pieces: Sequence[Piece], limit: int) -> Iterator[Sequence[Piece]]:
    if not pieces or _length(pieces) <= limit:
        yield pieces
        return
    for clause in _clauses(pieces):
        if _length(clause) <= limit:
            yield clause
            continue
        for phonemes, word in clause:
            yield from ([Piece(phonemes[at : at + limit], word)] for at in range(0, len(phonemes), limit))


def _clauses(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    start = 0
    for stop, piece in enumerate(pieces, 1):
        if piece.phonemes.endswith(_CLAUSE_ENDS) or stop == len(pieces):
            yield pieces[start:stop]
            start = stop
