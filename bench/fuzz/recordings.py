"""Recordings that can become voices, and a server that takes them."""

from __future__ import annotations

import io
import math
import wave
from pathlib import Path

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


def cloning(folder: Path) -> tuple[str, ...]:
    """Arguments of a server that clones, with small random weights, whose one voice lies in `folder`/voices."""
    folder.chmod(0o700)  # voices are refused where anybody may replace what lies in it
    voices = folder / "voices"
    voices.mkdir(mode=0o700)
    (voices / f"{VOICE}.wav").write_bytes(recording(6.0, 180))
    # Random weights seldom draw a stop: 12 codes are a quarter of a second, for what matters here is what is asked.
    short = ("max_codes=12", "flow_iterations=2", "prompt_s=0.4")
    random = ("weights=random", "size=tiny", f"voices={voices}", *short)
    options = [word for option in random for word in ("--set", f"model.options.{option}")]
    return ("--set", "model.name=indextts2", "--set", "engine.device=cpu", *options)
