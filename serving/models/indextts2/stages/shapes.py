"""Static shapes of steps, and sizes that travel as the shape of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from serving.models.base import Bucket


def make_buckets(max_rows: int, max_units: int, lengths: Sequence[int]) -> tuple[Bucket, ...]:
    """Powers of two rows by `lengths`, ascending: those that a step within the limits may need, and one row of
    any length."""
    rows = [1]
    while rows[-1] < max_rows:
        rows.append(min(2 * rows[-1], max_rows))
    shapes = [
        Bucket(row, length)
        for fewer, row in zip([0, *rows], rows, strict=False)
        for shorter, length in zip([0, *lengths], lengths, strict=False)
        if row == 1 or (fewer + 1) * (shorter + 1) <= max_units
    ]
    return tuple(sorted(shapes, key=lambda bucket: (bucket.units, bucket.rows)))


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
