"""Convolutions with fewer products: minimal filtering after Toom and Cook.

`outputs` neighbouring results of a filter of `taps` taps need outputs * taps products directly, and with

    y = A (G g * B d)        d: the outputs + taps - 1 inputs, g: the filter, * element by element

one product per input: two polynomials are multiplied by their values at outputs + taps - 2 points and at infinity,
and the transpose of that is a filter (S. Winograd, Arithmetic Complexity of Computations, 1980, chapter 5). G g is
computed once; where inputs and outputs are rows of channels, * becomes a product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
"""Small numbers and their inverses keep the rounding errors of A and B small."""


def minimal_filter(outputs: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A [outputs, n], G [n, taps] and B [n, n], float64, for n = outputs + taps - 1 <= 8."""
    count = outputs + taps - 1
    points = [Fraction(point) for point in POINTS[: count - 1]]

    def values(terms: int) -> list[list[Fraction]]:
        """Of x^0 .. x^(terms - 1) at each point; at infinity only the highest counts."""
        return [[point**power for power in range(terms)] for point in points] + [
            [Fraction(power == terms - 1) for power in range(terms)]
        ]

    a, g, interpolate = values(outputs), values(taps), _inverse(values(count))
    return _tensor(a).T.contiguous(), _tensor(g), _tensor(interpolate).T.contiguous()


def _inverse(matrix: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """By Gauss and Jordan, exactly."""
    size = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column and rows[i][column]:
                rows[i] = [x - rows[i][column] * y for x, y in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]


def _tensor(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
