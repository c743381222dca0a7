"""Which instructions the kernels are compiled to: a tier, chosen once, for all of them.

A tier is a set of compiler flags; a source asks the compiler what it may use (sums.h holds what differs). The products
are integers and the same in every tier; sums of floats differ in their last bits.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from serving.native.build import load

Tier = Literal["scalar", "avx2", "avx512", "amx"]
TIERS: tuple[Tier, ...] = get_args(Tier)
"""From the one that any machine runs upwards: plain C, the reference of the others; x86-64-v3; x86-64-v4 with VNNI;
the same with tile registers for bytes."""
_V4 = ("-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=256")
X86 = platform.machine() in ("x86_64", "AMD64")
TIER_FLAGS: Mapping[Tier, tuple[str, ...]] = {
    "scalar": ("-march=x86-64",) if X86 else (),
    "avx2": ("-march=x86-64-v3",),
    # Twice as wide registers make loops of floats no quicker where they are two halves, as on Zen 4.
    "avx512": _V4,
    "amx": (*_V4, "-mamx-tile", "-mamx-int8"),
}
VARIABLE = "TTS_NATIVE_TIER"
"""Environment variable that asks for a lower tier than the machine's."""


@functools.cache
def machine_tier() -> Tier:
    """The best tier of this processor and its operating system. Raises NativeError if nothing can be compiled."""
    if not X86:
        return "scalar"
    best: int = load(Path(__file__).with_name("cpu.c"), TIER_FLAGS["scalar"]).tier()
    return TIERS[best]


def asked_tier() -> str | None:
    """What TTS_NATIVE_TIER says."""
    return os.environ.get(VARIABLE) or None


def chosen_tier() -> Tier:
    """The machine's tier, or the lower one that TTS_NATIVE_TIER names.

    Raises NativeError as machine_tier does, and ValueError if the variable names none or one that the machine lacks.
    """
    best = machine_tier()
    allowed = TIERS[: TIERS.index(best) + 1]
    wanted = asked_tier() or best
    for tier in allowed:
        if tier == wanted:
            return tier
    raise ValueError(f"{VARIABLE} is {wanted!r}; this machine has {', '.join(allowed)}")
