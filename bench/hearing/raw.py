"""Raw audio as it came from a server, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.records import Encoding

_INTEGERS: dict[Encoding, tuple[str, float]] = {"s16": ("<i2", 2.0**15), "s32": ("<i4", 2.0**31)}


def samples_of(audio: bytes, encoding: Encoding, channels: int) -> NDArray[np.float32]:
    """Samples [n, channels] in [-1, 1], floats as they are, of interleaved raw audio without a broken last frame."""
    if encoding == "f32":
        flat = np.frombuffer(audio, "<f4", len(audio) // 4)
    elif encoding == "u8":
        flat = (np.frombuffer(audio, np.uint8).astype(np.float32) - 128) / 128
    elif encoding == "s24":
        parts = np.frombuffer(audio, np.uint8, len(audio) // 3 * 3).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts
        flat = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    else:
        kind, full = _INTEGERS[encoding]
        flat = (np.frombuffer(audio, kind, len(audio) // np.dtype(kind).itemsize) / full).astype(np.float32)
    whole = len(flat) // channels * channels
    return flat[:whole].reshape(-1, channels).astype(np.float32, copy=False)
