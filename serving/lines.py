"""A text a line to a file each, in one folder: many spoken at once, and those kept that an earlier run has made.

A file is written beside its place and moved there when it is whole, so that no run leaves half of one. `index.jsonl`
gets a line for each: what the file was made of, and its size. A file that the index knows with the same text, voice and
settings is not spoken again; one that has another size, or is not there, is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from serving.audio.encode import AudioFormat
from serving.audio.files import suffix_of
from serving.request import Order

INDEX = "index.jsonl"
MIN_DIGITS = 3
_PART = re.compile(r"\.\d+\.[a-z0-9]+\.part")
"""Name of a file that is being written."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of index.jsonl."""

    line: int
    """In the text file, from 1."""
    file: str
    made_of: str
    """Digest of the text, the voice and everything else that the samples depend on."""
    size_bytes: int
    audio_seconds: float
    voice: str
    seed: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line that has a text."""

    number: int
    """In the text file, from 1."""
    text: str


def lines_of(text: str) -> list[Line]:
    """The lines that are not blank."""
    return [Line(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


class Folder:
    """The files of the lines. Leave its `with` block to close the index."""

    def __init__(self, path: Path, audio_format: AudioFormat, last_line: int, settings: str) -> None:
        """`settings` is whatever else the samples depend on. Makes the folder. Raises OSError."""
        self.path = path
        self._suffix = suffix_of(audio_format)
        self._digits = max(MIN_DIGITS, len(str(last_line)))
        self._settings = settings
        path.mkdir(parents=True, exist_ok=True)
        for left in path.iterdir():
            if _PART.fullmatch(left.name):
                left.unlink()
        self._known = {entry.file: entry for entry in _entries(path / INDEX)}
        self._index: TextIO = (path / INDEX).open("a", encoding="utf-8")
        if self._index.tell() and not _ends_a_line(path / INDEX):
            self._index.write("\n")

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    def has(self, line: Line, order: Order) -> bool:
        """Whether an earlier run has made this line's file, of the same things."""
        entry = self._known.get(self._name(line))
        if entry is None or entry.made_of != self._made_of(order):
            return False
        try:
            status = (self.path / entry.file).lstat()
        except FileNotFoundError:
            return False
        return status.st_size == entry.size_bytes

    def add(self, line: Line, order: Order, audio: bytes, audio_s: float) -> None:
        """Put a whole file in its place, and note it. Raises OSError, and then the file is as it was."""
        name = self._name(line)
        part = self.path / f".{name}.part"
        try:
            with part.open("wb") as file:
                file.write(audio)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        entry = Entry(
            line=line.number,
            file=name,
            made_of=self._made_of(order),
            size_bytes=len(audio),
            audio_seconds=round(audio_s, 3),
            voice=order.params.voice,
            seed=order.params.seed,
        )
        self._index.write(msgspec.json.encode(entry).decode() + "\n")
        self._index.flush()

    def _name(self, line: Line) -> str:
        return f"{line.number:0{self._digits}}{self._suffix}"

    def _made_of(self, order: Order) -> str:
        content = msgspec.json.encode([order, self._settings], order="sorted")
        return hashlib.sha256(content).hexdigest()


def _entries(index: Path) -> Iterator[Entry]:
    """What the index says; a line that a killed run wrote in half is passed over."""
    if not index.is_file():
        return
    for line in index.read_bytes().split(b"\n"):
        try:
            yield msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _ends_a_line(index: Path) -> bool:
    with index.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"
