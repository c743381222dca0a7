"""Products of integers are the same bits in every tier, and right where sums come near to what 32 bits hold."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from torch import Tensor

from serving.native import load_library
from serving.native.matrix import INPUT_LEVELS, Matrix
from serving.native.tiers import TIERS, machine_tier

pytestmark = pytest.mark.slow

PRODUCT = """
#include "matrix.h"
void product(const Matrix *matrix, void *levels, float *scale, int32_t *zero, int32_t rows, float *y) {
  const Quantised x = {levels, scale, zero};
  if (matrix->tiled && !matrix->level_sums)
    for (int32_t row = 0; row < rows; ++row) split_row((int16_t *)levels + row * matrix->inputs, matrix->inputs);
  multiply(matrix, &x, rows, y, 0);
}
"""
OUTPUTS = 48
ROOM = 64
"""Rows that levels have room for: a multiple of TILE_ROWS."""


def product(source: Path, matrix: Matrix, levels: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    y = torch.full((len(levels), OUTPUTS), torch.nan)
    room = torch.zeros(ROOM, levels.shape[1], dtype=levels.dtype)
    room[: len(levels)] = levels
    load_library(source).product(
        ctypes.c_void_p(matrix.address), *(ctypes.c_void_p(x.data_ptr()) for x in (room, scale, zero)),
        ctypes.c_int32(len(levels)), ctypes.c_void_p(y.data_ptr()),
    )  # fmt: skip
    return y


@pytest.mark.parametrize("rows", [1, 6, 13, 33, 50])
@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("inputs", [200, 192])
def test_a_product_has_the_same_bits_in_every_tier(
    inputs: int, in_bytes: bool, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bias, which a tier may add before or after it rounds. 192 inputs fill tiles, 200 do not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "product.c"
    source.write_text(PRODUCT)
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(OUTPUTS, inputs, generator=generator)
    matrix = Matrix(weight, in_bytes=in_bytes)
    scale = torch.rand(rows, generator=generator)
    zero = torch.randint(0, 256, (rows,), generator=generator).to(torch.int32)
    if in_bytes:
        least, most, dtype = 0, 255, torch.uint8
    else:
        most, dtype = int(matrix.as_struct.limit), torch.int16
        assert most < INPUT_LEVELS
        least, zero = -most, torch.zeros_like(zero)
    levels = torch.randint(least, most + 1, (rows, inputs), generator=generator).to(dtype)
    levels[0] = torch.where(weight[0] > 0, most, least)
    outputs = []
    for tier in TIERS[: TIERS.index(machine_tier()) + 1]:
        monkeypatch.setenv("TTS_NATIVE_TIER", tier)
        laid_out = Matrix(weight, in_bytes=in_bytes, tiles=True)
        assert laid_out.as_struct.tiled == (tier == "amx" and inputs == 192)
        outputs.append(product(source, laid_out, levels, scale, zero))
    exact = (levels.double() - zero[:, None]) * scale[:, None].double() @ _stored(matrix).T
    assert torch.allclose(outputs[0], exact.float(), rtol=1e-5, atol=1e-3)
    for other in outputs[1:]:
        assert torch.equal(outputs[0], other)


def _stored(matrix: Matrix) -> Tensor:
    """The weight [N, K] that the levels stand for."""
    panels = matrix._levels.double().transpose(1, 2).reshape(matrix.as_struct.outputs, -1)
    return panels * matrix._scale.double()[:, None]
