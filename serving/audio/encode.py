"""float32 samples to bytes, whole or as they are made: WAV and raw PCM here, the codecs in serving.audio.codecs.

The samples are mono floats in [-1, 1]. As PCM they are signed 16-bit little-endian integers: a value is
clipped to [-1, 1], multiplied by 32767 and rounded to the nearest integer, halves to the even one. So 0.0 is
0, 1.0 is 32767, -1.0 is -32767, and -32768 never occurs.

An answer at the model's own rate in WAV or PCM passes this file alone. libav is loaded by load_codecs, or with the
first encoder that needs it.
"""

from __future__ import annotations

import asyncio
import importlib
import struct
import sys
from collections.abc import AsyncIterator
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from serving.protocol import InputError

AudioFormat = Literal["wav", "pcm", "flac", "opus", "mp3", "aac", "mulaw", "alaw"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

OutputRate = Literal[8000, 16000, 22050, 24000, 44100, 48000]
OUTPUT_RATES_HZ: tuple[OutputRate, ...] = get_args(OutputRate)

MEDIA_TYPES: dict[AudioFormat, str] = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "mulaw": "audio/PCMU",
    "alaw": "audio/PCMA",
}
"""audio/L16 would be the registered name of raw 16-bit samples, but RFC 2586 fixes it to big endian."""

FIXED_RATES_HZ: dict[AudioFormat, int] = {"opus": 48_000, "mulaw": 8_000, "alaw": 8_000}
"""Opus decodes at 48 kHz whatever went in (RFC 7845); G.711 is telephony."""

BYTES_PER_SAMPLE = 2
WAV_HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFFFFFF
"""In both size fields of a streaming header: read to the end of the stream."""

_CODECS = "serving.audio.codecs"
_PCM = 1
_MONO = 1


class Encoder(Protocol):
    """One answer's samples to bytes, piece by piece."""

    media_type: str
    sample_rate_hz: int
    """Of the samples that a decoder gives back."""

    def begin(self, samples: int | None = None) -> bytes:
        """What goes before the samples. `samples` is how many feed() gets in all, None if nobody knows yet.

        It depends on nothing that was fed and is of the same length with and without `samples`, so that a file's
        header can be rewritten when the number is known. Raises ValueError if so many do not fit the format.
        """
        ...

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """Encode more samples, shape (n,), at the model's rate; b"" while a frame fills."""
        ...

    def end(self) -> bytes:
        """The rest, once."""
        ...


class PcmEncoder:
    """WAV and raw PCM at the model's rate."""

    def __init__(self, audio_format: AudioFormat, sample_rate_hz: int) -> None:
        self.media_type = MEDIA_TYPES[audio_format]
        self.sample_rate_hz = sample_rate_hz
        self._format = audio_format

    def begin(self, samples: int | None = None) -> bytes:
        """The WAV header; raw PCM has nothing there."""
        return header(self._format, self.sample_rate_hz, samples)

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """See pcm16."""
        return pcm16(samples)

    def end(self) -> bytes:
        """Nothing is kept back."""
        return b""


def output_rate_hz(audio_format: AudioFormat, model_rate_hz: int, asked_hz: int | None = None) -> int:
    """The rate of the samples that a decoder of the answer gives: what was asked for, else the format's or model's.

    Raises InputError (field "sample_rate_hz") if the format has another rate than the one that was asked for.
    """
    fixed_hz = FIXED_RATES_HZ.get(audio_format)
    if fixed_hz is not None and asked_hz not in (None, fixed_hz):
        raise InputError("sample_rate_hz", f"the format {audio_format} is always {fixed_hz} Hz")
    return fixed_hz or asked_hz or model_rate_hz


def output_samples(samples: int, model_rate_hz: int, rate_hz: int) -> int:
    """How many samples at rate_hz so many of the model's are: the nearest integer."""
    return (2 * samples * rate_hz + model_rate_hz) // (2 * model_rate_hz)


def make_encoder(audio_format: AudioFormat, model_rate_hz: int, output_rate: int | None = None) -> Encoder:
    """An encoder of samples at the model's rate.

    Raises InputError as output_rate_hz does. The first encoder that is not PCM at the model's rate loads libav, which
    takes about 0.2 s.
    """
    rate_hz = output_rate_hz(audio_format, model_rate_hz, output_rate)
    if is_plain(audio_format, model_rate_hz, rate_hz):
        return PcmEncoder(audio_format, model_rate_hz)
    # Imported here, so that `say` to a WAV file does not load libav.
    from serving.audio.codecs import make_coded

    return make_coded(audio_format, model_rate_hz, rate_hz)


def is_plain(audio_format: AudioFormat, model_rate_hz: int, rate_hz: int) -> bool:
    """Whether the answer is the model's own samples as integers."""
    return audio_format in ("wav", "pcm") and rate_hz == model_rate_hz


async def encoder_for(audio_format: AudioFormat, model_rate_hz: int, rate_hz: int) -> Encoder:
    """make_encoder for an event loop: libraries are loaded in a thread.

    The encoder itself is made in this one: a codec's megabytes, allocated in many threads, would stay with each.
    """
    if is_plain(audio_format, model_rate_hz, rate_hz):
        return PcmEncoder(audio_format, rate_hz)
    if _CODECS not in sys.modules:
        await asyncio.to_thread(importlib.import_module, _CODECS)
    return make_encoder(audio_format, model_rate_hz, rate_hz)


def load_codecs(model_rate_hz: int) -> None:
    """Load libav and use each codec once: 0.1 to 0.4 s and 25 MB that the first answer of each would wait for."""
    for audio_format in AUDIO_FORMATS:
        # WAV and PCM at another rate, for the resampler.
        rate_hz = OUTPUT_RATES_HZ[0] if audio_format in ("wav", "pcm") else None
        encoder = make_encoder(audio_format, model_rate_hz, rate_hz)
        encoder.begin()
        encoder.feed(np.zeros(model_rate_hz // 10, np.float32))
        encoder.end()


async def feed(encoder: Encoder, samples: NDArray[np.float32]) -> bytes:
    """encoder.feed for an event loop: a codec works in a thread, for it takes some milliseconds per second of audio."""
    if isinstance(encoder, PcmEncoder):
        return encoder.feed(samples)
    return await asyncio.to_thread(encoder.feed, samples)


async def encoded(encoder: Encoder, chunks: AsyncIterator[NDArray[np.float32]]) -> AsyncIterator[bytes]:
    """The bytes of an answer as its samples are made.

    The first piece comes before any samples, and is empty where the format has no header.
    """
    yield encoder.begin()
    async for samples in chunks:
        if piece := await feed(encoder, samples):
            yield piece
    if rest := encoder.end():
        yield rest


async def encoded_whole(encoder: Encoder, chunks: AsyncIterator[NDArray[np.float32]]) -> tuple[bytes, int]:
    """A whole answer with its true length in the header, and how many samples it was made of."""
    pieces: list[bytes] = []
    count = 0
    async for samples in chunks:
        count += len(samples)
        pieces.append(await feed(encoder, samples))
    return b"".join([encoder.begin(count), *pieces, encoder.end()]), count


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Encode finite float32 samples, shape (n,), as n signed 16-bit little-endian integers."""
    scaled: NDArray[np.float32] = samples * np.float32(32767.0)
    # In place: each further array of a window's size is fresh memory from the system.
    np.rint(scaled, out=scaled)
    np.minimum(scaled, np.float32(32767.0), out=scaled)
    np.maximum(scaled, np.float32(-32767.0), out=scaled)
    return scaled.astype("<i2").tobytes()


def wav_header(sample_rate_hz: int, samples: int | None = None) -> bytes:
    """The 44 bytes before the samples of a mono 16-bit WAV file.

    `samples` is their number; None writes UNKNOWN_SIZE, for a stream whose length nobody knows yet.
    Raises ValueError if the sizes do not fit their 32 bits.
    """
    if samples is None:
        riff_bytes = data_bytes = UNKNOWN_SIZE
    else:
        data_bytes = samples * BYTES_PER_SAMPLE
        riff_bytes = WAV_HEADER_BYTES - 8 + data_bytes
        if riff_bytes >= UNKNOWN_SIZE:
            raise ValueError(f"{samples} samples do not fit in one WAV file")
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        riff_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        _MONO,
        sample_rate_hz,
        sample_rate_hz * BYTES_PER_SAMPLE,
        BYTES_PER_SAMPLE,
        8 * BYTES_PER_SAMPLE,
        b"data",
        data_bytes,
    )


def header(audio_format: AudioFormat, sample_rate_hz: int, samples: int | None = None) -> bytes:
    """What goes before the samples of WAV or raw PCM; see wav_header. Raw PCM has nothing there."""
    return wav_header(sample_rate_hz, samples) if audio_format == "wav" else b""
