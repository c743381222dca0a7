"""Static shapes of steps, and sizes that travel as the shape of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def make_lengths(first: int, last: int) -> list[int]:
    """From `first` up to `last`, which ends the list: powers of two and the middles between them."""
    lengths: list[int] = []
    length = first
    while length < last:
        lengths.append(length)
        if length * 3 // 2 < last:
            lengths.append(length * 3 // 2)
        length *= 2
    return [*lengths, last]


def extent(size: int, device: torch.device) -> Tensor:
    """A size that a forward may take from its input's shape, for a forward gets tensors alone."""
    return torch.empty(size, dtype=torch.bool, device=device)


def padded_slots(slots: Sequence[int], rows: int, spare: int) -> Tensor:
    """int64 [rows]: the slots, then the spare one for inert rows."""
    return torch.tensor([*slots, *[spare] * (rows - len(slots))], dtype=torch.int64)
