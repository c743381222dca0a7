"""Products of 16-bit integers are the same bits in every form that they are compiled to or choose from."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from torch import Tensor

from serving import native
from serving.native.matrix import INPUT_LEVELS, Matrix

pytestmark = pytest.mark.slow

FORMS = ("", "-DMATRIX_NO_VNNI", "-DMATRIX_NO_VNNI -mno-avx2")
"""The best that this processor has, the assembly of AVX2, and plain C."""
PRODUCT = """
#include "matrix.h"
void product(const Matrix *matrix, const int16_t *levels, const float *scale, int32_t rows, float *y) {
  multiply(matrix, levels, scale, rows, y, 0);
}
"""


@pytest.mark.parametrize("rows", [1, 6, 13])
def test_a_product_has_the_same_bits_whatever_the_instructions(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "product.c"
    source.write_text(PRODUCT)
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(48, 200, generator=generator)
    matrix = Matrix(weight, torch.randn(48, generator=generator))
    limit = int(matrix.as_struct.limit)
    assert limit < INPUT_LEVELS  # the sums come near to what 32 bits hold
    levels = torch.randint(-limit, limit + 1, (rows, 200), generator=generator).to(torch.int16)
    levels[0] = torch.where(weight[0] > 0, limit, -limit)
    scale = torch.rand(rows, generator=generator)
    outputs: list[Tensor] = []
    for flags in FORMS:
        monkeypatch.setenv("TTS_NATIVE_FLAGS", flags)
        y = torch.full((rows, 48), torch.nan)
        native.load_library(source).product(
            ctypes.c_void_p(matrix.address), *(ctypes.c_void_p(x.data_ptr()) for x in (levels, scale)),
            ctypes.c_int32(rows), ctypes.c_void_p(y.data_ptr()),
        )  # fmt: skip
        outputs.append(y)
    exact = levels.double() * scale[:, None].double() @ _stored(matrix).T
    assert torch.allclose(outputs[0], (exact + matrix._bias.double()).float(), rtol=1e-5, atol=1e-3)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def _stored(matrix: Matrix) -> Tensor:
    """The weight [N, K] that the levels stand for."""
    panels = matrix._levels.double().transpose(1, 2).reshape(matrix.as_struct.outputs, -1)
    return panels * matrix._scale.double()[:, None]
