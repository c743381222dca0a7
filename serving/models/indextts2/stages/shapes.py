"""Static shapes of steps, and sizes that travel as the shape of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FINE_TO = 512
"""Frames up to which fine shapes are fine; longer ones than a listener's window are seldom."""


def make_lengths(first: int, last: int, *, fine: bool = False) -> list[int]:
    """From `first` up to `last`, which ends the list: doubled each time, and the middles between; quarters if fine."""
    lengths: list[int] = []
    octave = first
    while octave < last:
        parts = 4 if fine and octave < FINE_TO else 2
        lengths += [octave * (parts + part) // parts for part in range(parts)]
        octave *= 2
    return [*(length for length in lengths if length < last), last]


def extent(size: int, device: torch.device) -> Tensor:
    """A size that a forward may take from its input's shape, for a forward gets tensors alone."""
    return torch.empty(size, dtype=torch.bool, device=device)


def padded_slots(slots: Sequence[int], rows: int, spare: int) -> Tensor:
    """int64 [rows]: the slots, then the spare one for inert rows."""
    return torch.tensor([*slots, *[spare] * (rows - len(slots))], dtype=torch.int64)
