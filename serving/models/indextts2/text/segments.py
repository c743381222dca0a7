"""Pieces of a text to segments that the model takes at once. The cutting rules are upstream's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_CLAUSE_ENDS = frozenset({",", "▁,", "-"})
_SENTENCE_ENDS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})
_APOSTROPHES = frozenset({"'", "▁'"})
_MIN_SENTENCE_PIECES = 3


def cut(pieces: Sequence[str], limit: int, quick: int = 0) -> list[list[str]]:
    """Cut `pieces` into segments of at most `limit`, merged again while they fit.

    A segment ends after a comma or a hyphen, and after a sentence's end once it holds three pieces; without
    either it is cut hard. Neighbours are merged up to `limit`, or up to half of it within the first `quick`
    pieces.
    """
    segments: list[list[str]] = []
    seen = 0
    for part in _parts(pieces, limit):
        seen += len(part)
        room = limit if seen > quick else limit / 2
        if segments and len(segments[-1]) + len(part) <= room:
            segments[-1] += part
        else:
            segments.append(part)
    return segments


def _parts(pieces: Sequence[str], limit: int) -> Iterator[list[str]]:
    part: list[str] = []
    for index, piece in enumerate(pieces):
        part.append(piece)
        if piece in _CLAUSE_ENDS or len(part) > limit:
            for start in range(0, len(part), limit):
                yield part[start : start + limit]
            part = []
        elif piece in _SENTENCE_ENDS and len(part) >= _MIN_SENTENCE_PIECES:
            # Upstream keeps a closing apostrophe with its sentence, then reads it again as the next piece.
            if index + 1 < len(pieces) and pieces[index + 1] in _APOSTROPHES:
                part.append(pieces[index + 1])
            yield part
            part = []
    if part:
        yield part
