"""Recordings of the operator's as arrays: by libsndfile where it reads them, else by FFmpeg. No torch.

What users add is decoded elsewhere, serving/voices/recording.py, before it is stored as a WAV.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.protocol import InputError
from serving.voices.plain import open_plain

SNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus"})
FFMPEG_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".webm", ".mka", ".wma", ".amr", ".3gp", ".caf"})
SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES
MOST_S = 120.0
"""Of a longer file the rest is not decoded."""
MOST_BYTES = 500_000_000
"""Of a file; a larger one is refused unread."""


def read_audio(path: Path, field: str) -> tuple[NDArray[np.float32], int]:
    """Samples float32 [N, channels] of a file and their rate. Raises InputError of `field` if it is no audio."""
    read = _by_ffmpeg if path.suffix.lower() in FFMPEG_SUFFIXES else _by_sndfile
    data, rate_hz = read(path, field)
    if not len(data) or not np.isfinite(data).all():
        raise InputError(field, f"{path.name} holds no samples, or some that are no numbers")
    return data, rate_hz


def _by_sndfile(path: Path, field: str) -> tuple[NDArray[np.float32], int]:
    import soundfile

    try:
        with open_plain(path, MOST_BYTES) as plain, soundfile.SoundFile(plain) as file:
            rate_hz = file.samplerate
            data = file.read(int(MOST_S * rate_hz), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, field, error) from None
    return data, rate_hz


def _by_ffmpeg(path: Path, field: str) -> tuple[NDArray[np.float32], int]:
    import av

    parts: list[NDArray[np.float32]] = []
    samples = 0
    try:
        with open_plain(path, MOST_BYTES) as plain, av.open(plain, "r") as container:
            if not container.streams.audio:
                raise InputError(field, f"{path.name} holds no audio")
            stream = container.streams.audio[0]
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            for frame in container.decode(stream):
                parts += [np.asarray(part.to_ndarray().T, np.float32) for part in planar.resample(frame)]
                samples += frame.samples
                if samples > MOST_S * stream.rate:
                    break
            parts += [np.asarray(part.to_ndarray().T, np.float32) for part in planar.resample(None)]
            rate_hz = stream.rate
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, field, error) from None
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32), rate_hz


def _unreadable(path: Path, field: str, error: Exception) -> InputError:
    # str(error) would hold the path.
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or type(error).__name__
    return InputError(field, f"{path.name} is not readable audio: {reason}")
