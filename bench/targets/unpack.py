"""Audio out of what it came wrapped in: Base64 in JSON, in events or in lines; and codecs, decoded by libav.

Every function keeps the times: what it returns is (time, bytes, begins a new piece), as bench.load.http1 reads a body.
The time of a decoded sample is when the last byte that its packet needs had come (of Ogg: the last of its page), not
when the decoder asked for it, so the decoder's own read-ahead and cost are in no figure.
"""

from __future__ import annotations

import base64
import io
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from bench.targets.words import of_object

Pieces = Sequence[tuple[float, bytes, bool]]

_CONTAINERS: dict[str, tuple[str, ...]] = {
    "mp3": ("mp3",),
    "aac": ("aac",),
    "flac": ("flac",),
    "opus": ("ogg", "matroska"),
}
"""libav's names of the containers that a format may come in."""


class UnpackError(Exception):
    """There is no audio in it, or the server says in it that it failed."""


def lines(pieces: Pieces) -> Iterator[tuple[float, bytes]]:
    """(time of its end, line) of a body, without line ends; the last needs none."""
    rest = b""
    for moment, data, _ in pieces:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield moment, line.removesuffix(b"\r")
    if rest and pieces:
        yield pieces[-1][0], rest


def from_events(pieces: Pieces, field: str) -> tuple[list[tuple[float, bytes, bool]], bool]:
    """Audio from server-sent events with a JSON object each, and whether an end was announced.

    The end is an event whose type ends with "done", or the data [DONE]. Raises UnpackError.
    """
    found: list[tuple[float, bytes, bool]] = []
    typed = ended = False
    for moment, line in lines(pieces):
        name, _, data = line.partition(b":")
        data = data.strip()
        if name != b"data" or not data:
            continue
        if data == b"[DONE]":
            ended = True
            continue
        content = _decoded(data)
        kind = str(content.get("type", "")) if isinstance(content, dict) else ""
        typed = typed or bool(kind)
        ended = ended or kind.endswith("done")
        if audio := _audio(content, field):
            found.append((moment, audio, True))
    return found, ended or not typed


def from_lines(pieces: Pieces, field: str) -> list[tuple[float, bytes, bool]]:
    """Audio from JSON objects, one a line. Raises UnpackError."""
    objects = ((moment, _decoded(line)) for moment, line in lines(pieces) if line.strip())
    return [(moment, audio, True) for moment, content in objects if (audio := _audio(content, field))]


def from_object(pieces: Pieces, field: str) -> list[tuple[float, bytes, bool]]:
    """Audio from one JSON object, which can be played when its last byte has come. Raises UnpackError."""
    if not pieces:
        return []
    content = _decoded(b"".join(data for _, data, _ in pieces))
    audio = _audio(content, field)
    if not audio:
        raise UnpackError(f"no audio in the field {field!r} of the answer: {of_object(content)[:200]}")
    return [(pieces[-1][0], audio, True)]


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise UnpackError(f"not JSON ({error}): {data[:80].decode(errors='replace')}") from None


def _audio(content: Any, field: str) -> bytes:
    """The Base64 in a field; empty if there is none. Raises UnpackError for an error object."""
    if isinstance(content, dict) and (content.get("error") or content.get("type") == "error"):
        raise UnpackError(f"the server says: {of_object(content)[:200]}")
    for name in field.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    if not isinstance(content, str):
        return b""
    try:
        return base64.b64decode(content.rpartition(",")[2], validate=True)
    except ValueError as error:
        raise UnpackError(f"the field {field!r} is not Base64: {error}") from None


def format_of(head: bytes, content_type: str = "") -> str | None:
    """What the first bytes of a body say that it is; None for raw samples, or what nobody can tell.

    Samples may look like a frame of MP3 or AAC: that is believed only if the content type says it too.
    """
    if head[:4] in (b"RIFF", b"fLaC", b"OggS"):
        return {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "opus"}[head[:4]]
    if head[:3] == b"ID3":
        return "mp3"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "webm"
    if any(word in content_type for word in ("mpeg", "mp3", "aac")) and len(head) > 2 and head[0] == 0xFF:
        if head[1] & 0xF6 == 0xF0:
            return "aac"
        # The sync word, layer III, a bit rate and a sample rate that there are.
        if head[1] & 0xE6 == 0xE2 and head[2] >> 4 not in (0, 15) and head[2] >> 2 & 3 != 3:
            return "mp3"
    return None


def decode(
    pieces: Pieces, format: str, whole: bool = True
) -> tuple[list[tuple[float, bytes, bool]], int, int]:
    """16-bit samples of coded audio, each with the time when it could be played; their rate in Hz and channels.

    Of an answer that is not whole, what can be decoded. Takes milliseconds per second of audio and lets go of the
    interpreter lock: call it in a thread. Raises UnpackError.
    """
    # Imported late: who measures WAV and raw samples needs no libav.
    import av

    body = b"".join(data for _, data, _ in pieces)
    name = "matroska" if body[:4] == b"\x1aE\xdf\xa3" else _CONTAINERS[format][0]
    if name not in _CONTAINERS[format]:
        raise UnpackError(f"{name}, not {format}")
    samples: dict[int, bytearray] = {}
    arrived = list(accumulate(len(data) for _, data, _ in pieces))
    ends = _page_ends(body) if name == "ogg" else {}
    end = rate_hz = channels = 0
    try:
        with av.open(io.BytesIO(body), "r", format=name) as container:
            stream = container.streams.audio[0]
            resampler = None
            for packet in container.demux(stream):
                at = packet.pos
                end = len(body) if at is None else max(end, ends.get(at, at + packet.size))
                for frame in packet.decode():
                    if resampler is None:
                        rate_hz, channels = frame.sample_rate, frame.layout.nb_channels
                        resampler = av.AudioResampler("s16", frame.layout.name, rate_hz)
                    data = b"".join(
                        bytes(part.planes[0])[: part.samples * 2 * channels]
                        for part in resampler.resample(frame)
                    )
                    piece = min(bisect_left(arrived, end), len(pieces) - 1)
                    samples.setdefault(piece, bytearray()).extend(data)
    except (av.FFmpegError, IndexError, ValueError) as error:
        if not (samples and not whole):
            what = f"{format} with a fault in it" if samples else f"not {format}"
            raise UnpackError(f"{what}: {error}") from None
    if not any(samples.values()):
        raise UnpackError(f"not {format}: no sample in it")
    found = [(pieces[piece][0], bytes(data), True) for piece, data in sorted(samples.items())]
    return found, rate_hz, channels


def _page_ends(body: bytes) -> dict[int, int]:
    """Offset of each Ogg page to the offset of its end."""
    ends: dict[int, int] = {}
    at = 0
    while (at := body.find(b"OggS", at)) >= 0 and at + 27 <= len(body):
        (segments,) = struct.unpack_from("B", body, at + 26)
        end = at + 27 + segments + sum(body[at + 27 : at + 27 + segments])
        ends[at] = end
        at = end
    return ends
