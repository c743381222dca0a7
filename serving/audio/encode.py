"""float32 samples to bytes: WAV and raw PCM, whole or as they are made.

The samples are mono floats in [-1, 1]. On the wire they are signed 16-bit little-endian integers: a value is
clipped to [-1, 1], multiplied by 32767 and rounded to the nearest integer, halves to the even one. So 0.0 is
0, 1.0 is 32767, -1.0 is -32767, and -32768 never occurs.
"""

from __future__ import annotations

import struct
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

AudioFormat = Literal["wav", "pcm"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

MEDIA_TYPES: dict[AudioFormat, str] = {"wav": "audio/wav", "pcm": "audio/pcm"}
"""audio/L16 would be the registered name of raw 16-bit samples, but RFC 2586 fixes it to big endian."""

BYTES_PER_SAMPLE = 2
WAV_HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFFFFFF
"""In both size fields of a streaming header: read to the end of the stream."""

_PCM = 1
_MONO = 1


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Encode finite float32 samples, shape (n,), as n signed 16-bit little-endian integers."""
    scaled: NDArray[np.float32] = np.clip(samples, -1.0, 1.0) * 32767.0
    return np.rint(scaled).astype("<i2").tobytes()


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
    """What goes before the samples in this format; see wav_header. Raw PCM has nothing there."""
    return wav_header(sample_rate_hz, samples) if audio_format == "wav" else b""
