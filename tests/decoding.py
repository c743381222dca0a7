"""What a player hears: answers decoded by libav."""

from __future__ import annotations

import io

import av
import numpy as np
from numpy.typing import NDArray

from serving.audio.encode import AudioFormat

Floats = NDArray[np.float64]

_BARE = {"pcm": "s16le", "mulaw": "mulaw", "alaw": "alaw"}
"""Formats without a header, by libav's names."""


def decoded(
    content: bytes, audio_format: AudioFormat, rate_hz: int, *, cut: bool = False
) -> tuple[Floats, int]:
    """Samples in [-1, 1] and their rate. `rate_hz` is told to the decoder only where the bytes do not say it.

    With `cut` the last frame may be broken off; players leave it out.
    """
    bare = _BARE.get(audio_format)
    options = {"sample_rate": str(rate_hz)} if bare else {}
    pieces: list[Floats] = []
    broken = 0
    with av.open(io.BytesIO(content), "r", format=bare, options=options) as container:
        stream = container.streams.audio[0]
        assert stream.layout.nb_channels == 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                broken += 1
                continue
            assert not broken or not frames, "a frame after a broken one"
            for frame in frames:
                assert isinstance(frame, av.AudioFrame)
                samples = frame.to_ndarray()[0]
                scale = 32767.0 if samples.dtype == np.int16 else 1.0
                pieces.append(samples.astype(np.float64) / scale)
        rate = stream.rate
    assert broken <= cut
    return (np.concatenate(pieces) if pieces else np.zeros(0)), rate


def snr_db(samples: Floats, reference: Floats) -> float:
    """Signal-to-noise ratio against a reference of the same length, after the best gain."""
    gain = float(np.dot(samples, reference) / np.dot(reference, reference))
    error = samples - gain * reference
    return float(10 * np.log10(np.sum((gain * reference) ** 2) / np.sum(error**2)))
