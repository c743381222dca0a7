"""Blocks: stretches of a text that no sentence crosses, and what makes them out of markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from serving.text.source import Mark, Part, SourceText

PauseKind = Literal["none", "clause", "sentence", "paragraph"]
_RANK: dict[PauseKind, int] = {"none": 0, "clause": 1, "sentence": 2, "paragraph": 3}


class Pause(NamedTuple):
    """What follows a sentence."""

    kind: PauseKind
    seconds: float | None = None
    """Set where the text says how long, as `[pause 0.5s]` or `<break time="500ms"/>` do; else the profile says."""


class Block(NamedTuple):
    """A stretch that ends a sentence."""

    source: SourceText
    pause: Pause
    newlines: Literal["wrap", "space", "end"]
    """What a line end in it may be: a wrap of the line or its end, as evidence says; a space; a sentence's end."""
    open: bool = False
    """The next block goes on with it."""


class Builder:
    """Collects the blocks of one window. Offsets are those of the window's text."""

    def __init__(self, source: SourceText, newlines: Literal["wrap", "space"]) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.newlines: Literal["wrap", "space", "end"] = newlines
        self._parts: list[Part] = []
        self._marks: list[Mark] = []
        self._blank = True
        self._capture: list[Part] | None = None

    def copy(self, start: int, end: int) -> None:
        """The window's text as it stands."""
        if start < end:
            self._put((start, end, None))

    def put(self, text: str, start: int, end: int) -> None:
        """`text` in place of the window's."""
        if text:
            self._put((start, end, text))

    def mark(self, start: int, end: int, phonemes: str) -> None:
        """Phonemes for the window's text, which copy has put."""
        source = self.source
        self._marks.append(Mark(source.origin_start(start), source.origin_end(end), phonemes))

    def comma(self, at: int) -> None:
        """A pause between two cells of a row."""
        if not self._blank and not self._text(self._parts[-1]).rstrip().endswith(tuple(".,;:!?")):
            self._parts.append((at, at, ","))
        self.space(at)

    def space(self, at: int) -> None:
        """A word ends here."""
        if self._parts:
            self._parts.append((at, at, " "))

    def start_capture(self) -> None:
        """What is put from here on is held back until take_capture."""
        self._capture = []

    def take_capture(self) -> list[Part]:
        """What was put since start_capture; the caller puts it, or something else, again."""
        taken, self._capture = self._capture or [], None
        return taken

    def end_block(self, kind: PauseKind, seconds: float | None = None) -> None:
        """End a sentence with a pause. Where nothing was said since the last end, the longer pause counts, and
        seconds add up."""
        if not self._blank:
            self._flush(Pause(kind, seconds), open_end=False)
        elif self.blocks:
            last = self.blocks[-1]
            self.blocks[-1] = last._replace(pause=longer(last.pause, Pause(kind, seconds)))
        elif seconds is not None:
            at = self.source.origin_start(self._parts[0][0]) if self._parts else self.source.origin_start(0)
            self.blocks.append(Block(SourceText("", [0], [(at, at)]), Pause(kind, seconds), self.newlines))

    def finish(self, *, last: bool) -> list[Block]:
        """The blocks; a paragraph ends with them if `last`."""
        for part in self.take_capture():
            self._put(part)
        if last:
            self.end_block("paragraph")
        elif not self._blank:
            self._flush(Pause("none"), open_end=True)
        return self.blocks

    def _put(self, part: Part) -> None:
        if self._capture is not None:
            self._capture.append(part)
            return
        self._parts.append(part)
        self._blank = self._blank and not self._text(part).strip()

    def _text(self, part: Part) -> str:
        start, end, replacement = part
        return self.source.text[start:end] if replacement is None else replacement

    def _flush(self, pause: Pause, *, open_end: bool) -> None:
        source = self.source.parts(self._parts, tuple(self._marks))
        self.blocks.append(Block(source, pause, self.newlines, open_end))
        self._parts, self._marks, self._blank = [], [], True


BlockReader = Callable[[SourceText, bool], list[Block]]
"""From a window, and whether a paragraph ends with it, to its blocks."""


def longer(one: Pause, other: Pause) -> Pause:
    """The pause of two that stand in one place."""
    kind = max(one.kind, other.kind, key=lambda kind: _RANK[kind])
    if one.seconds is None or other.seconds is None:
        return Pause(kind, other.seconds if one.seconds is None else one.seconds)
    return Pause(kind, one.seconds + other.seconds)
