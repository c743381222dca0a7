"""The static shapes that a model offers for its stages."""

from __future__ import annotations

from collections.abc import Sequence

from serving.models.base import Bucket


def make_buckets(
    max_rows: int, max_units: int, lengths: Sequence[int], *, fine: bool = False
) -> tuple[Bucket, ...]:
    """Powers of two rows by `lengths`, ascending: those that a step within the limits may need, and one row of
    any length. `fine` has the middles between the powers of two as well."""
    powers = [2**power for power in range(max_rows.bit_length()) if 2**power < max_rows]
    middles = [3 * power // 2 for power in powers if power > 1 and 3 * power // 2 < max_rows] if fine else []
    rows = sorted([*powers, *middles, max_rows])
    shapes = [
        Bucket(row, length)
        for fewer, row in zip([0, *rows], rows, strict=False)
        for shorter, length in zip([0, *lengths], lengths, strict=False)
        if row == 1 or (fewer + 1) * (shorter + 1) <= max_units
    ]
    return tuple(sorted(shapes, key=lambda bucket: (bucket.units, bucket.rows)))
