"""Matrices of the flow's layers: the same products in seven of quarters, in tiles of bytes, and in plain numbers."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.mel import cpu
from serving.models.indextts2.mel.cpu.wide import MOST_PARTS, WEIGHT_LEVELS, WideMatrix, quarters, tiles
from serving.native import load_library
from serving.native.matrix import COLUMNS
from serving.native.pages import Pages
from serving.native.tiers import TIERS, machine_tier

INPUT_LEVELS = 8191
"""WIDE_LEVEL of levels.h."""
PRODUCT = """
#include "wide.h"
static int16_t memory[1 << 18] __attribute__((aligned(64)));
/* y [rows][outputs] = matrix x + bias, x [parts][rows][inputs of a part] */
void product(const Wide *matrix, const float *x, int32_t rows, float *y) {
  WideRows levels = {.levels = memory};
  if (matrix->parts * row_levels(matrix->inputs) > (int64_t)(sizeof memory / sizeof *memory)) return;
  begin_products();
  for (int32_t part = 0; part < matrix->parts; ++part)
    for (int32_t row = 0; row < rows; row += 2) {
      const float *at = x + (int64_t)(part * rows + row) * matrix->inputs;
      quantise_pair(matrix, at, at + (row + 1 < rows ? matrix->inputs : 0), part, row / 2, &levels);
    }
  multiply_wide(matrix, &levels, rows, 0, y);
  end_products();
}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outputs", "parts", "inputs", "rows"),
    [(32, 1, 16, 1), (96, 2, 48, 47), (64, 3, 512, 33), (160, 1, 320, 12)],
)
def test_a_product_is_the_same_in_every_tier(
    outputs: int, parts: int, inputs: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row is as long as a row may be, so that sums come near to what 32 bits hold."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(outputs, parts * inputs, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    x = torch.randn(rows, parts * inputs, generator=generator)
    x[-1] = 1e3 * weight[weight.square().sum(1).argmax()]
    in_parts = x.view(rows, parts, inputs).transpose(0, 1).contiguous()
    source = tmp_path / "product.c"
    source.write_text(PRODUCT.replace("wide.h", str(Path(cpu.__file__).with_name("wide.h"))))
    exact = (x.double() @ weight.double().T + bias).float()
    results = []
    for tier in TIERS[: TIERS.index(machine_tier()) + 1]:
        monkeypatch.setenv("TTS_NATIVE_TIER", tier)
        matrix = WideMatrix(weight, bias, Pages(), parts=parts)
        y = torch.full((rows, outputs), torch.nan)
        load_library(source).product(
            ctypes.byref(matrix.as_struct), ctypes.c_void_p(in_parts.data_ptr()), ctypes.c_int32(rows),
            ctypes.c_void_p(y.data_ptr()),
        )  # fmt: skip
        results.append(y)
    largest = exact.abs().amax(1, keepdim=True)
    assert float(((results[0] - exact) / largest).abs().max()) < 1e-3
    for other in results[1:]:
        assert float(((other - results[0]) / largest).abs().max()) < 5e-5  # a level may be rounded otherwise


def test_bytes_in_tiles_make_the_levels() -> None:
    generator = torch.Generator().manual_seed(3)
    levels = torch.randint(-8191, 8192, (2, 32, 3, 2, 48), generator=generator).float()
    packed = tiles(levels)
    assert packed.shape == (2, 3, 2, 2, 2, 16, COLUMNS, 4)
    high, low = packed[..., 0, :, :, :].to(torch.int8).int(), packed[..., 1, :, :, :].int()
    made = (256 * high + low).permute(2, 0, 5, 1, 3, 4, 6).reshape(2, 32, 3, 128)
    assert torch.equal(made[..., :96], levels.flatten(3).int())
    assert not made[..., 96:].any()


def unpacked(panels: Tensor, outputs: int, parts: int, inputs: int) -> Tensor:
    """int64 [outputs / 2, parts, 7, inputs / 2]."""
    return panels.permute(0, 4, 1, 2, 3, 5).reshape(outputs // 2, parts, 7, inputs // 2).long()


def wrapped(sums: Tensor) -> Tensor:
    """Modulo 2^32, between -2^31 and 2^31."""
    return (sums + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize(("outputs", "parts", "inputs"), [(32, 1, 16), (96, 2, 48), (64, 3, 512)])
def test_seven_products_are_the_product(outputs: int, parts: int, inputs: int) -> None:
    torch.manual_seed(1)
    weight = torch.randn(outputs, parts * inputs)
    matrix = WideMatrix(weight, None, Pages(), parts=parts)
    half = outputs // 2
    levels = (weight.view(2, half, -1) / matrix.scale.view(2, half, 1)).round().long()
    assert int(levels.abs().max()) == WEIGHT_LEVELS
    b = unpacked(quarters(levels.view(2, half, parts, 2, -1).float()), outputs, parts, inputs)
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
        WideMatrix(torch.ones(outputs, inputs), None, Pages(), parts=parts)
