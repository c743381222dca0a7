"""A kept answer as a file: MAGIC, its bytes, a JSON Meta, the length of that, and the SHA-256 of all before it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

MAGIC = b"ttsansw1"
BLOCK_BYTES = 4096
"""A file takes whole blocks of the disk."""
PIECE_BYTES = 1 << 16
SUM_BYTES = 32
LENGTH_BYTES = 4
"""Of the number that says how long Meta is."""


class NoAnswerError(ValueError):
    """A file is no whole answer of the key that is asked for."""

    is_plain = True


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside the bytes of an answer."""

    key: str
    media_type: str
    headers: dict[str, str]
    """Those that belong to the bytes and not to the request."""
    made_at_s: float
    """Unix time."""


@dataclass(slots=True)
class Hit:
    """A kept answer, verified. Close it."""

    meta: Meta
    size_bytes: int
    file: BinaryIO

    def pieces(self) -> Iterator[bytes]:
        """The bytes. Ends early only if the file is closed meanwhile."""
        left = self.size_bytes
        while left and not self.file.closed:
            piece = self.file.read(min(left, PIECE_BYTES))
            if not piece:
                raise OSError("a kept answer was cut while it was read")
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Idempotent."""
        self.file.close()


def on_disk(size_bytes: int) -> int:
    """Bytes of the blocks that a file of this size takes."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def read_answer(file: BinaryIO, key: str) -> Hit:
    """A file as an answer, read once to its end. Raises NoAnswerError if it is none, OSError."""
    status = os.fstat(file.fileno())
    tail_bytes = LENGTH_BYTES + SUM_BYTES
    left = status.st_size - SUM_BYTES
    if left < len(MAGIC) + LENGTH_BYTES:
        raise NoAnswerError("cut")
    found = hashlib.sha256()
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            raise NoAnswerError("cut")
        found.update(piece)
        left -= len(piece)
    if file.read(SUM_BYTES) != found.digest():
        raise NoAnswerError("its checksum is wrong")
    file.seek(status.st_size - tail_bytes)
    meta_bytes = int.from_bytes(file.read(LENGTH_BYTES), "big")
    size_bytes = status.st_size - tail_bytes - meta_bytes - len(MAGIC)
    file.seek(0)
    if size_bytes < 0 or file.read(len(MAGIC)) != MAGIC:
        raise NoAnswerError("of another layout")
    file.seek(len(MAGIC) + size_bytes)
    try:
        meta = msgspec.json.decode(file.read(meta_bytes), type=Meta)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswerError(f"of another layout: {error}") from None
    if meta.key != key:
        raise NoAnswerError("of another key")
    file.seek(len(MAGIC))
    return Hit(meta, size_bytes, file)
