"""A piece of text that knows which offsets of the original text its characters come from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

Part = tuple[int, int, str | None]
"""[start, end) of a text, kept (None) or replaced by a string."""


class Mark(NamedTuple):
    """Phonemes that the text gives for a stretch of the original, [start, end)."""

    start: int
    end: int
    phonemes: str


class SourceText:
    """A text and a map of its offsets to those of the original.

    The map is a list of runs, one per stretch that was kept or replaced: its size grows with the number of
    edits, not with the number of characters.
    """

    __slots__ = ("_at", "_origin", "marks", "text")

    def __init__(
        self, text: str, at: list[int], origin: list[tuple[int, int]], marks: tuple[Mark, ...] = ()
    ) -> None:
        """Run k covers text[at[k]:at[k + 1]] and stands for origin[k] = [start, end) of the original. Where
        both are of one length the run is a copy, character by character."""
        self.text = text
        self._at = at
        self._origin = origin
        self.marks = marks

    @classmethod
    def of(cls, original: str, start: int, end: int) -> SourceText:
        """original[start:end]."""
        return cls(original[start:end], [0], [(start, end)])

    @property
    def shift(self) -> int | None:
        """What all offsets differ by from those of the original, where nothing was replaced."""
        return self._origin[0][0] if len(self._at) == 1 and self._is_copy(0) else None

    def origin_start(self, index: int) -> int:
        """Offset in the original of the character at `index`; at the end of the text, of its end."""
        if index >= len(self.text):
            return self.origin_end(index)
        run = bisect_right(self._at, index) - 1
        start = self._origin[run][0]
        return start + index - self._at[run] if self._is_copy(run) else start

    def origin_end(self, index: int) -> int:
        """Offset in the original of the end of the character before `index`."""
        run = bisect_right(self._at, max(0, index - 1)) - 1
        start, end = self._origin[run]
        return start + index - self._at[run] if self._is_copy(run) else end

    def index_of(self, origin: int) -> int:
        """Offset in the text of the first character that comes from `origin` or from after it."""
        run = max(0, bisect_right(self._origin, origin, key=lambda span: span[0]) - 1)
        start, end = self._origin[run]
        if origin <= start:
            return self._at[run]
        if origin >= end or not self._is_copy(run):
            return self._at[run + 1] if run + 1 < len(self._at) else len(self.text)
        return self._at[run] + origin - start

    def _is_copy(self, run: int) -> bool:
        start, end = self._origin[run]
        stop = self._at[run + 1] if run + 1 < len(self._at) else len(self.text)
        return end - start == stop - self._at[run]

    def slice(self, start: int, end: int) -> SourceText:
        """text[start:end], with the marks of its stretch of the original."""
        if start == 0 and end == len(self.text):
            return self
        return self.parts([(start, end, None)])

    def edit(self, edits: Sequence[tuple[int, int, str]]) -> SourceText:
        """The text with stretches replaced; `edits` are in order and do not overlap."""
        if not edits:
            return self
        parts: list[Part] = []
        done = 0
        for start, end, replacement in edits:
            if start > done:
                parts.append((done, start, None))
            parts.append((start, end, replacement))
            done = end
        if done < len(self.text):
            parts.append((done, len(self.text), None))
        return self.parts(parts)

    def parts(self, parts: Sequence[Part], marks: tuple[Mark, ...] | None = None) -> SourceText:
        """A text of parts of this one, in order. `marks` replace those of this text."""
        pieces: list[str] = []
        at: list[int] = []
        origin: list[tuple[int, int]] = []
        length = 0
        for start, end, replacement in parts:
            if replacement is None:
                self._copy_runs(start, end, length, at, origin)
                pieces.append(self.text[start:end])
            elif replacement:
                at.append(length)
                first = self.origin_start(start)
                origin.append((first, max(first, self.origin_end(end))))
                pieces.append(replacement)
            length += len(pieces[-1]) if replacement != "" else 0
        if not at:
            first = self.origin_start(parts[0][0]) if parts else self.origin_start(0)
            at, origin = [0], [(first, first)]
        kept = self.marks if marks is None else marks
        if kept:
            kept = tuple(mark for mark in kept if mark.end > origin[0][0] and mark.start < origin[-1][1])
        return SourceText("".join(pieces), at, origin, kept)

    def _copy_runs(
        self, start: int, end: int, length: int, at: list[int], origin: list[tuple[int, int]]
    ) -> None:
        run = bisect_right(self._at, start) - 1
        while start < end:
            stop = min(end, self._at[run + 1] if run + 1 < len(self._at) else len(self.text))
            first, last = self._origin[run]
            if self._is_copy(run):
                first += start - self._at[run]
                last = first + stop - start
            at.append(length)
            origin.append((first, last))
            length += stop - start
            start = stop
            run += 1

    def __add__(self, other: SourceText) -> SourceText:
        """This text followed by a later one."""
        if not self.text:
            return other
        return SourceText(
            self.text + other.text,
            self._at + [len(self.text) + at for at in other._at],
            self._origin + other._origin,
            self.marks + other.marks,
        )
