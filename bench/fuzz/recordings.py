"""Recordings that can become voices."""

from __future__ import annotations

import io
import math
import wave

RATE_HZ = 16_000
VOICE = "ann"
"""The one voice that a server with voices of its users begins with."""


def recording(seconds: float, pitch_hz: int) -> bytes:
    """A WAV that is long and loud enough, with pauses as speech has them."""
    frames = bytearray()
    for index in range(int(seconds * RATE_HZ)):
        at_s = index / RATE_HZ
        loud = 0.3 * (0.1 + math.sin(math.pi * at_s * 2) ** 2)
        frames += int(32767 * loud * math.sin(2 * math.pi * pitch_hz * at_s)).to_bytes(
            2, "little", signed=True
        )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        out.writeframes(bytes(frames))
    return file.getvalue()
