"""Random numbers that are a hash of a seed and of counters: no state, so who shares a batch changes no draw."""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = -7046029254386353131
MIX_1 = -4658895280553007687
MIX_2 = -7723592293110705685
"""The constants of splitmix64 (Steele, Lea, Flood, 2014) as signed 64-bit integers."""


def hash_bits(seed: Tensor, *counters: Tensor) -> Tensor:
    """Hash int64 seeds and counters (broadcast together) to int64, every bit of which looks random."""
    value = _mix(seed * GOLDEN + GOLDEN)
    for counter in counters:
        value = _mix(value + (counter + 1) * GOLDEN)
    return value


def uniform(seed: Tensor, *counters: Tensor) -> Tensor:
    """float32 in the open interval (0, 1), a function of the seeds and counters alone."""
    top = (hash_bits(seed, *counters) >> 41) & 0x7FFFFF
    return (top.float() + 0.5) * 2.0**-23


def gaussian(seed: Tensor, *counters: Tensor) -> Tensor:
    """Standard normal float32 by Box and Muller's transform, a function of the seeds and counters alone."""
    bits = hash_bits(seed, *counters)
    first = (((bits >> 41) & 0x7FFFFF).float() + 0.5) * 2.0**-23
    second = ((bits & 0x7FFFFF).float() + 0.5) * 2.0**-23
    return torch.sqrt(-2.0 * torch.log(first)) * torch.cos(2.0 * torch.pi * second)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * MIX_1
    value = (value ^ _shift(value, 27)) * MIX_2
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift: int64 shifts keep the sign, so the copied bits are cleared."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
