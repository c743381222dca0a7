"""A recording from an untrusted file: decoded within bounds, judged, and written as a plain WAV."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from serving.protocol import InputError

FORMATS = "wav,w64,aiff,flac,ogg,mp3,mov,mp4,m4a,matroska,webm,aac,amr,caf,asf"
"""FFmpeg's readers that may look at a file. None of them opens another file or an address that the file names."""
KNOWN = "wav, aiff, flac, ogg, opus, mp3, m4a, mp4, aac, webm, mka, caf, amr and wma"
"""The same, as people call them."""
MAX_RATE_HZ = 96_000
MAX_CHANNELS = 2
MAX_DECODE_S = 20.0
"""A file that takes longer to decode than this is given up."""
MAX_BROKEN = 0.1
"""Share of packets that may be unreadable; a cut file has one, at its end."""
CUT_OFF = 0.8
"""A file that holds less than this share of the length that it declares counts as cut off."""
CLIPPED_AT = 0.999
MAX_CLIPPED = 0.001
"""Share of samples at full scale above which a recording counts as clipped."""
MIN_PEAK = 0.02
MIN_VOICED_S = 0.5
"""Sound louder than SILENCE_DB under the peak that a recording must hold."""
MAX_HEAD_S = 1.0
"""Silence at the start that goes without mention."""
SILENCE_DB = 40.0

_DEMUXER_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
_VBR_HEADS = (b"Xing", b"Info", b"VBRI")
_WAV_FLOAT = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model can use of a recording."""

    min_s: float
    max_s: float
    used_s: float
    """From its start; what follows is not read."""
    min_rate_hz: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded file."""

    samples: NDArray[np.float32]
    """[N, channels]."""
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz

    def wav(self) -> bytes:
        """The samples as a WAV of 32-bit floats; the same samples give the same bytes."""
        frames, channels = self.samples.shape
        size = 4 * frames * channels
        form = struct.pack(
            "<HHIIHHH", _WAV_FLOAT, channels, self.rate_hz, self.rate_hz * channels * 4, channels * 4, 32, 0
        )
        head = (
            b"WAVEfmt " + struct.pack("<I", len(form)) + form
            + b"fact" + struct.pack("<II", 4, frames)
            + b"data" + struct.pack("<I", size)
        )  # fmt: skip
        data = np.ascontiguousarray(self.samples, "<f4")
        return b"".join((b"RIFF", struct.pack("<I", len(head) + size), head, data.data.cast("B")))


def decode(file: BinaryIO, field: str, max_s: float) -> Recording:
    """Decode the audio of a seekable file, whose format is found by its content.

    Raises InputError of `field` if it holds no audio of such a format, is broken, declares more than it holds, or
    is longer than `max_s`, of which no more is decoded.
    """
    import av

    try:
        with av.open(file, options=_DEMUXER_OPTIONS, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise InputError(field, "holds no audio")
            return _decode(container, field, max_s, declared=_declares_length(container, file))
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, f"is not readable audio; {KNOWN} are taken ({reason})") from None


def _declares_length(container: Any, file: BinaryIO) -> bool:
    """Whether the length that FFmpeg tells is the file's own word. Of a bare MP3 it is a guess."""
    if container.format.name != "mp3":
        return container.format.name not in ("aac", "amr")
    at = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(at)
    return any(mark in head for mark in _VBR_HEADS)


def _decode(container: Any, field: str, max_s: float, *, declared: bool) -> Recording:
    import av

    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise InputError(field, f"its audio is in a format that nobody here reads; {KNOWN} are taken")
    rate_hz, channels = stream.rate, stream.codec_context.channels
    if not 1 <= rate_hz <= MAX_RATE_HZ:
        raise InputError(field, f"{rate_hz} samples a second; at most {MAX_RATE_HZ} are taken")
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(field, f"{channels} channels; at most {MAX_CHANNELS} are taken")
    planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate_hz)
    parts: list[NDArray[Any]] = []
    samples = packets = broken = 0
    until_s = time.monotonic() + MAX_DECODE_S
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            broken += 1
            continue
        for frame in frames:
            parts += [part.to_ndarray().T for part in planar.resample(frame)]
            samples += frame.samples
        if samples > max_s * rate_hz:
            raise InputError(field, f"longer than {max_s:g} s, the most that is taken")
        if time.monotonic() > until_s:
            raise InputError(field, f"took longer than {MAX_DECODE_S:g} s to decode")
    if samples:
        parts += [part.to_ndarray().T for part in planar.resample(None)]
    if broken > max(1, packets * MAX_BROKEN):
        raise InputError(field, f"is broken: {broken} of its {packets} pieces cannot be read")
    data = (
        np.concatenate(parts).astype(np.float32, copy=False) if parts else np.zeros((0, channels), np.float32)
    )
    if not len(data) or not np.isfinite(data).all():
        raise InputError(field, "holds no samples, or some that are no numbers")
    told_s = container.duration / av.time_base if declared and container.duration else 0.0
    if len(data) / rate_hz < CUT_OFF * told_s:
        raise InputError(
            field, f"is cut off: it declares {told_s:.1f} s and holds {len(data) / rate_hz:.1f} s of them"
        )
    return Recording(data, rate_hz)


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What is found in a recording. Loudness is that of its first Limits.used_s, which the model reads."""

    limits: Limits
    seconds: float
    """Of the whole file."""
    sample_rate_hz: int
    channels: int
    peak: float
    clipped: float
    """Share of samples at full scale."""
    voiced_s: float
    head_s: float
    """Silence before the first sound."""

    def problems(self) -> list[str]:
        """Why it makes no good voice; empty if it does."""
        limits, found = self.limits, []
        if not limits.min_s <= self.seconds <= limits.max_s:
            taken = f"{limits.min_s:g} to {limits.max_s:g} s are taken, 5 to {limits.used_s:g} are best"
            found.append(f"{self.seconds:.1f} s long; {taken}")
        if self.sample_rate_hz < limits.min_rate_hz:
            found.append(f"{self.sample_rate_hz} samples a second; at least {limits.min_rate_hz} are needed")
        if self.clipped > MAX_CLIPPED:
            found.append(
                f"clipped: {100 * self.clipped:.1f} % of the samples{self._read()} are at full scale"
            )
        if self.peak < MIN_PEAK:
            found.append(f"silent: the loudest sample{self._read()} is {self.peak:.3f} of full scale")
        elif self.voiced_s < MIN_VOICED_S:
            found.append(f"nearly silent: {self.voiced_s:.1f} s of sound{self._read() or ' in it'}")
        return found

    def warnings(self) -> list[str]:
        """What is worth knowing of a recording that is taken."""
        found = []
        if self.seconds > self.limits.used_s:
            found.append(f"only the first {self.limits.used_s:g} s are used")
        if self.head_s > MAX_HEAD_S:
            found.append(f"the first {self.head_s:.1f} s are silent: cut them for a better voice")
        return found

    def _read(self) -> str:
        longer = self.seconds > self.limits.used_s
        return f" in the first {self.limits.used_s:g} s, which alone are used," if longer else ""


def examine(recording: Recording, limits: Limits) -> RecordingReport:
    """Judge a recording for a model with these limits."""
    rate_hz = recording.rate_hz
    loud = np.abs(recording.samples[: int(limits.used_s * rate_hz)])
    peak = float(loud.max())
    frame = max(1, rate_hz // 50)
    frames = loud.max(axis=1)[: len(loud) // frame * frame].reshape(-1, frame).max(axis=1)
    voiced = np.flatnonzero(frames > peak * 10 ** (-SILENCE_DB / 20))
    return RecordingReport(
        limits=limits,
        seconds=recording.seconds,
        sample_rate_hz=rate_hz,
        channels=recording.samples.shape[1],
        peak=peak,
        clipped=float((loud >= CLIPPED_AT).mean()),
        voiced_s=len(voiced) / 50,
        head_s=voiced[0] / 50 if len(voiced) else 0.0,
    )
