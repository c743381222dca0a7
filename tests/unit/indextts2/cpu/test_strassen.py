"""Matrices in seven products: their levels are 16-bit, and the products of their quarters make the whole product."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.mel.cpu.strassen import MOST_PARTS, WEIGHT_LEVELS, StrassenMatrix
from serving.native.matrix import COLUMNS
from serving.native.pages import Pages

INPUT_LEVELS = 8191
"""STRASSEN_LEVEL of strassen.h."""


def unpacked(matrix: StrassenMatrix, outputs: int, parts: int, inputs: int) -> Tensor:
    """int64 [outputs / 2, parts, 7, inputs / 2]."""
    panels = matrix.levels.view(outputs // 2 // COLUMNS, parts, 7, inputs // 4, COLUMNS, 2)
    return panels.permute(0, 4, 1, 2, 3, 5).reshape(outputs // 2, parts, 7, inputs // 2).long()


def wrapped(sums: Tensor) -> Tensor:
    """Modulo 2^32, between -2^31 and 2^31."""
    return (sums + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize(("outputs", "parts", "inputs"), [(32, 1, 16), (96, 2, 48), (64, 3, 512)])
def test_seven_products_are_the_product(outputs: int, parts: int, inputs: int) -> None:
    torch.manual_seed(1)
    weight = torch.randn(outputs, parts * inputs)
    matrix = StrassenMatrix(weight, None, Pages(), parts=parts)
    half = outputs // 2
    levels = (weight.view(2, half, -1) / matrix.scale.view(2, half, 1)).round().long()
    assert int(levels.abs().max()) == WEIGHT_LEVELS
    b = unpacked(matrix, outputs, parts, inputs)
    # As long as the longest rows that fit: their products reach 2^31, and what lies between goes beyond.
    longest = levels.view(2, half, parts, inputs)[:, :, 0].double().square().sum(2).argmax()
    rows = levels.view(outputs, parts, inputs)[int(longest), 0].repeat(2, 1).double()
    rows *= matrix.as_struct.norm / rows.norm(dim=1, keepdim=True)
    rows[1] *= -0.5
    a = rows.round().clamp(-INPUT_LEVELS, INPUT_LEVELS).long()
    (a11, a12), (a21, a22) = (row.view(2, inputs // 2) for row in a)
    s1, s3 = a21 + a22, a11 - a21
    s2 = s1 - a11
    sums = torch.stack((a11, a12, s2, s3, a22, s1, a12 - s2))
    assert int(sums.abs().max()) < 2**15
    p = wrapped((b[:, 0] * sums).sum(2)).T
    u2 = p[0] + p[2]
    u3 = u2 + p[3]
    c = torch.stack((p[0] + p[1], u2 + p[5] + p[6], u3 + p[4], u3 + p[5]))
    whole = levels.view(2, half, parts, inputs)[:, :, 0] @ a.T  # [2, half, 2]
    assert torch.equal(wrapped(c), whole.permute(2, 0, 1).reshape(4, half))


@pytest.mark.parametrize(
    ("outputs", "inputs", "parts"), [(48, 32, 1), (32, 24, 1), (32, 48, 2), (32, 64, MOST_PARTS + 1)]
)
def test_sizes_that_have_no_quarters_are_refused(outputs: int, inputs: int, parts: int) -> None:
    with pytest.raises(ValueError, match=f"{outputs} by {inputs} in {parts} parts"):
        StrassenMatrix(torch.ones(outputs, inputs), None, Pages(), parts=parts)
