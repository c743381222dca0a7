"""From an HTTP answer to a Sample: the container comes off, the audio is counted, faults are named."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from bench.load.http1 import MAX_BODY_BYTES, Response
from bench.records import Encoding, Sample

_UNKNOWN_SIZE = MAX_BODY_BYTES
MOST_CHANNELS, MOST_HEADER_BYTES = 32, 256 << 10
LONGEST_S = 60.0
"""And a second for each character: nobody speaks so slowly, and what is heard afterwards takes its time with a wave."""
"""Writers that do not know the length yet state 0 or a size that no answer has: 0xFFFFFFFF, espeak-ng 0x7FFFF000."""


RATES_HZ = (1000, 1_000_000)
"""Of sound; a header that states less, more or no number states none."""
STATED_TOLERANCE_S = 0.001
"""A header states seconds with three digits; one with fewer is believed to be rounded to them."""
_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (1, 8): "u8",
    (1, 16): "s16",
    (1, 24): "s24",
    (1, 32): "s32",
    (3, 32): "f32",
    (3, 64): "f64",
    (6, 8): "alaw",
    (7, 8): "ulaw",
}
"""(format tag, bits of a sample) to how it lies in the file."""
_EXTENSIBLE = 0xFFFE
"""The format tag that says: the real one is the first two bytes of the sub-format."""


class WaveError(Exception):
    """The body is not a WAV file of integer or float samples."""


@dataclass(slots=True)
class WaveReader:
    """Takes the container off a WAV stream, piece by piece.

    A length of 0 or of more than an answer may have means: until the end. After a stated length may come what else the
    file holds by its own size (a byte that makes the length even, texts), which is no sound, and then another whole WAV
    (servers that put a header before every sentence); other bytes count as samples.
    """

    sample_rate_hz: int = 0
    frame_bytes: int = 2
    channels: int = 1
    encoding: Encoding = "s16"
    stated_frames: int | None = None
    """Frames that the headers promise together; None if one of them promises none."""
    _head: bytes = b""
    _left: int = -1
    """Bytes of samples to come; -1 before the first header, 0 after the last stated sample."""
    _rest: int = 0
    """Bytes of the file behind those samples."""

    def feed(self, data: bytes) -> bytes:
        """The samples' bytes in `data`. Raises WaveError."""
        payload = b""
        while data:
            if self._left > 0:
                payload += data[: self._left]
                self._left, data = max(self._left - len(data), 0), data[self._left :]
                continue
            if self._left == 0 and self._rest:
                data = self._skip(data)
                continue
            if self._left == 0 and not b"RIFF".startswith((self._head + data)[:4]):
                payload, data, self._head = payload + self._head + data, b"", b""
                continue
            self._head += data
            data = self._read_header()
        return payload

    def _skip(self, data: bytes) -> bytes:
        """Take what is left of the file off; a size that is some bytes too large does not swallow the next header."""
        data, self._head = self._head + data, b""
        if data.startswith(b"RIFF"):
            self._rest = 0
            return data
        if b"RIFF".startswith(data):
            self._head = data
            return b""
        self._rest, data = max(self._rest - len(data), 0), data[self._rest :]
        return data

    def _read_header(self) -> bytes:
        """Parse the header in _head if it is whole; the bytes after it."""
        head = self._head
        if not b"RIFF".startswith(head[:4]) or (len(head) >= 12 and head[8:12] != b"WAVE"):
            raise WaveError(f"no WAV header: {head[:12]!r}")
        at = 12
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            at += 8
            if name == b"data":
                self._begin(size)
                (whole,) = struct.unpack_from("<I", head, 4)
                self._rest = max(whole + 8 - at - size, 0) if whole < _UNKNOWN_SIZE else 0
                self._head = b""
                return head[at:]
            if name == b"fmt " and len(head) >= at + size:
                self._read_format(head[at : at + size])
            at += size + size % 2
        if len(head) > MOST_HEADER_BYTES:
            raise WaveError(f"a WAV header of more than {MOST_HEADER_BYTES >> 10} KB")
        return b""

    def _read_format(self, fields: bytes) -> None:
        if len(fields) < 16:
            raise WaveError(f"a WAV fmt of {len(fields)} bytes")
        kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", fields)
        if kind == _EXTENSIBLE and len(fields) >= 26:
            kind = struct.unpack_from("<H", fields, 24)[0]
        encoding = _ENCODINGS.get((kind, bits))
        if encoding is None or not 1 <= channels <= MOST_CHANNELS or not RATES_HZ[0] <= rate <= RATES_HZ[1]:
            raise WaveError(f"WAV format {kind} of {bits} bits with {channels} channels at {rate} Hz")
        if frame != channels * bits // 8:
            raise WaveError(f"a WAV of {channels} channels of {bits} bits that states {frame} bytes a frame")
        found = (rate, frame, channels, encoding)
        if self._left != -1 and found != (
            self.sample_rate_hz,
            self.frame_bytes,
            self.channels,
            self.encoding,
        ):
            raise WaveError("a later WAV header of the answer states another format")
        self.sample_rate_hz, self.frame_bytes, self.channels, self.encoding = found

    def _begin(self, size: int) -> None:
        if not self.sample_rate_hz:
            raise WaveError("a WAV without fmt before its data")
        first = self._left == -1
        if size == 0 or size >= _UNKNOWN_SIZE:
            self.stated_frames = None
            self._left = 1 << 62
        else:
            if first:
                self.stated_frames = 0
            if self.stated_frames is not None:
                self.stated_frames += size // self.frame_bytes
            self._left = size


def read_answer(sample: Sample, response: Response, started: float) -> bytes:
    """Fill a sample from an answer, name its fault if it has one, and return its audio."""
    sample.status = response.status or None
    if response.header_at:
        sample.header_s = response.header_at - started
    headers = response.headers
    sample.ignored = [name.strip() for name in headers.get("x-ignored-fields", "").split(",") if name.strip()]
    if response.status != 200:
        _blame(sample, response)
        return b""
    reader = WaveReader()
    if sample.format == "pcm":
        sample.sample_rate_hz = stated_rate_hz(headers.get("x-sample-rate"))
    audio = bytearray()
    chunked = "transfer-encoding" in headers
    fresh = False
    for moment, data, begins in response.pieces:
        try:
            payload = data if sample.format == "pcm" else reader.feed(data)
        except WaveError as error:
            sample.error, sample.detail = "bad_audio", str(error)
            return b""
        fresh = fresh or begins
        if not payload:
            continue
        audio += payload
        sample.events.append((moment - started, len(payload)))
        sample.chunks += chunked and fresh
        fresh = False
    if sample.format == "wav":
        sample.sample_rate_hz, sample.frame_bytes = reader.sample_rate_hz, reader.frame_bytes
        sample.channels, sample.encoding = reader.channels, reader.encoding
        sample.stated_samples = reader.stated_frames
    _check(sample, response, len(audio))
    return bytes(audio)


def _blame(sample: Sample, response: Response) -> None:
    if not response.status:
        sample.error, sample.detail = "truncated", "the connection closed before an answer"
    elif response.status in (429, 503):
        sample.error, sample.detail = "refused", f"status {response.status}"
    else:
        words = b"".join(data for _, data, _ in response.pieces)[:200].decode(errors="replace")
        sample.error, sample.detail = "http_error", f"status {response.status}: {words}"


def _check(sample: Sample, response: Response, size: int) -> None:
    """Is the audio whole, and as long as the answer says?"""
    frames, rest = divmod(size, sample.frame_bytes)
    stated = response.headers.get("x-audio-seconds")
    stated_s = _number(stated)
    if not response.complete:
        sample.error, sample.detail = "truncated", f"the stream broke off after {size} bytes of audio"
    elif not size:
        sample.error, sample.detail = "empty", "status 200 without a sample"
    elif not sample.sample_rate_hz:
        sample.error, sample.detail = "bad_audio", "pcm without X-Sample-Rate"
    elif frames / sample.sample_rate_hz > LONGEST_S + sample.characters:
        sample.error = "bad_audio"
        sample.detail = f"{frames / sample.sample_rate_hz:.0f} s of audio for {sample.characters} characters"
    elif rest or (sample.stated_samples is not None and frames != sample.stated_samples):
        sample.error = "wrong_sample_count"
        sample.detail = f"{frames} samples and {rest} bytes, the header states {sample.stated_samples}"
    elif stated is not None and (
        stated_s is None
        or abs(frames / sample.sample_rate_hz - stated_s)
        > max(STATED_TOLERANCE_S, 0.51 * 10.0 ** -len(stated.partition(".")[2]))
    ):
        sample.error = "wrong_sample_count"
        sample.detail = f"{frames / sample.sample_rate_hz:.3f} s of audio, X-Audio-Seconds states {stated}"


def stated_rate_hz(text: str | None) -> int:
    """The sample rate that a header states; 0 without one that sound can have."""
    value = _number(text)
    return int(value) if value is not None and RATES_HZ[0] <= value <= RATES_HZ[1] else 0


def _number(text: str | None) -> float | None:
    """The finite number that a header states; None without one."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
