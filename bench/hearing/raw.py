"""Raw audio as it came from a server, as numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.records import Encoding

LOUDEST = 8.0
"""Nothing plays more. Bytes of integers under a header of floats may say 1e38, of which no sum is a number."""
_INTEGERS: dict[Encoding, tuple[str, float]] = {"s16": ("<i2", 2.0**15), "s32": ("<i4", 2.0**31)}


def samples_of(audio: bytes, encoding: Encoding, channels: int) -> NDArray[np.float32]:
    """Samples [n, channels] in [-1, 1], floats as they are, of interleaved raw audio without a broken last frame."""
    if encoding == "f32":
        flat = np.frombuffer(audio, "<f4", len(audio) // 4)
    elif encoding == "f64":
        flat = np.frombuffer(audio, "<f8", len(audio) // 8).astype(np.float32)
    elif encoding in ("ulaw", "alaw"):
        flat = telephone_levels(encoding)[np.frombuffer(audio, np.uint8)]
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


def played(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples as a player takes them: what is no number is nought, and nothing is louder than LOUDEST."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -LOUDEST, LOUDEST)


@cache
def telephone_levels(encoding: Encoding) -> NDArray[np.float32]:
    """What each byte of G.711 stands for, [256] in [-1, 1]: a sign, an exponent and four bits of mantissa."""
    byte = np.arange(256)
    byte = ~byte & 255 if encoding == "ulaw" else byte ^ 0x55
    exponent, mantissa = byte >> 4 & 7, byte & 15
    if encoding == "ulaw":
        size, sign = ((mantissa * 8 + 132) << exponent) - 132, np.where(byte & 128, -1, 1)
    else:
        shifted = (mantissa * 16 + 264) << np.maximum(exponent - 1, 0)
        size, sign = np.where(exponent == 0, mantissa * 16 + 8, shifted), np.where(byte & 128, 1, -1)
    levels: NDArray[np.float32] = (sign * size / 32768).astype(np.float32)
    return levels
