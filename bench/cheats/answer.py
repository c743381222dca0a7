"""An answer of a server that may cheat, and the bytes that it is sent as."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.hearing.raw import telephone_levels
from bench.records import Encoding

Floats = NDArray[np.float32]
RATE_HZ = 24_000
UNKNOWN = 0xFFFFFFFF
_FORMATS: dict[Encoding, tuple[int, int]] = {
    "u8": (1, 8), "s16": (1, 16), "s24": (1, 24), "s32": (1, 32), "f32": (3, 32), "f64": (3, 64),
    "ulaw": (7, 8), "alaw": (6, 8),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent for one request."""

    wave: Floats
    """[n] or [n, channels]."""
    rate_hz: int = RATE_HZ
    encoding: Encoding = "s16"
    status: int = 200
    body: bytes | None = None
    """In place of the wave."""
    headers: dict[str, str] = field(default_factory=dict)
    stated_frames: int | None = None
    """What the WAV header promises; None: unknown."""
    extensible: bool = False
    header_per_piece: bool = False
    breaks_off: bool = False
    """The connection is closed behind the last piece, without the end mark."""
    until_close: bool = False
    """No chunks and no length: the end of the connection is the end of the answer, as in HTTP/1.0."""
    one_chunk: bool = False
    """All pieces are one HTTP chunk, which drips."""
    first_piece_s: float | None = None
    """Length of the first piece, sent before a pause of first_pause_s."""
    first_pause_s: float = 0.0
    piece_s: float = 0.5
    pause_s: float = 0.0
    """Before each piece but the first."""

    def pieces(self) -> Iterator[tuple[float, bytes]]:
        """(seconds to wait, bytes to send) of each HTTP chunk."""
        if self.body is not None:
            yield 0.0, self.body
            return
        channels = 1 if self.wave.ndim == 1 else self.wave.shape[1]
        starts = [0]
        if self.first_piece_s is not None:
            starts.append(round(self.first_piece_s * self.rate_hz))
        while starts[-1] < len(self.wave):
            starts.append(min(starts[-1] + round(self.piece_s * self.rate_hz), len(self.wave)))
        for number, (start, end) in enumerate(pairwise(starts)):
            data = encode(self.wave[start:end], self.encoding)
            if number == 0 or self.header_per_piece:
                frames = end - start if self.header_per_piece else self.stated_frames
                data = wav_header(self.encoding, channels, self.rate_hz, frames, self.extensible) + data
            early = number == 1 and self.first_piece_s is not None
            yield (self.first_pause_s if early else self.pause_s if number else 0.0), data


def encode(wave: Floats, encoding: Encoding) -> bytes:
    """Samples [n] or [n, channels] in [-1, 1] as raw audio."""
    clipped = np.clip(wave, -1.0, 1.0)
    if encoding == "u8":
        return (np.round(clipped * 127) + 128).astype(np.uint8).tobytes()
    if encoding in ("ulaw", "alaw"):
        levels = telephone_levels(encoding)
        order = np.argsort(levels, kind="stable")
        between = (levels[order][1:] + levels[order][:-1]) / 2
        return order[np.searchsorted(between, clipped)].astype(np.uint8).tobytes()
    if encoding == "s24":
        return (clipped * (2**31 - 256)).astype("<i4").reshape(-1, 1).view(np.uint8)[:, 1:].tobytes()
    if encoding == "s32":
        return (clipped.astype(np.float64) * (2**31 - 1)).astype("<i4").tobytes()
    if encoding in ("f32", "f64"):
        return clipped.astype("<f4" if encoding == "f32" else "<f8").tobytes()
    return (clipped * 32767).astype("<i2").tobytes()


def wav_header(
    encoding: Encoding, channels: int, rate_hz: int, frames: int | None, extensible: bool = False
) -> bytes:
    """A WAV header; `frames` None: of unknown length."""
    tag, bits = _FORMATS[encoding]
    frame = channels * bits // 8
    size = UNKNOWN if frames is None else frames * frame
    form = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, rate_hz, rate_hz * frame, frame, bits
    )
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        form += struct.pack("<HHI", 22, bits, 0) + guid
    riff = UNKNOWN if frames is None else 20 + len(form) + size
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", size)
    )


def wav_file(wave: Floats, encoding: Encoding, *, behind: bytes = b"", size: int | None = None) -> bytes:
    """A whole WAV file as libraries write it: an even length, and `behind` the samples what it is tagged with.

    `size`: what its header states, in place of the bytes of the samples.
    """
    data = encode(wave, encoding)
    head = bytearray(wav_header(encoding, 1, RATE_HZ, len(wave)))
    whole = bytes(head) + data + bytes(len(data) % 2) + behind
    head[4:8] = struct.pack("<I", len(whole) - 8)
    if size is not None:
        head[40:44] = struct.pack("<I", size)
    return bytes(head) + whole[len(head) :]
