"""The static shapes that a model offers for its stages."""

from __future__ import annotations

from collections.abc import Sequence

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
