"""The Triton kernels under Triton's interpreter, and the CPU forms, against the plain torch expressions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from serving.models.indextts2.codes.attention import decode_attention, extend_attention
from serving.models.indextts2.wave.snake import snake_by_convolution, snake_by_shifts
from tests.unit.indextts2.support import plain_attention

ROOT = Path(__file__).parents[3]

ATTENTION = """
import torch
from serving.models.indextts2.codes.attention_triton import PART_CELLS, decode_attention_triton
from tests.unit.indextts2.support import plain_attention

torch.manual_seed(0)
for width, span in ((16, 3 * PART_CELLS + 5), (64, 70)):
    keys, values = torch.randn(2, 5, 3, span, width).unbind(0)
    slots = torch.tensor([4, 0, 2, 2])
    lengths = torch.tensor([span, 1, 33, min(span, PART_CELLS)])
    # What lies past a row's length must not be read, not even as nan times zero.
    for slot, length in zip(slots.tolist(), lengths.tolist()):
        if slot != 2:
            keys[slot, :, length:] = float("nan")
            values[slot, :, length:] = float("nan")
    q = torch.randn(4, 3, width)
    ours = decode_attention_triton(q, keys, values, slots, lengths, span)
    clean = plain_attention(q, keys.nan_to_num(), values.nan_to_num(), slots, lengths, span)
    torch.testing.assert_close(ours, clean, atol=2e-6, rtol=1e-5)
print("same")
"""

SNAKE = """
import torch
from serving.models.indextts2.wave import snake_triton
from serving.models.indextts2.wave.snake import snake_by_convolution

torch.manual_seed(0)
for width in (1, 2, 5, 40, 506, 507, 1030):
    x = 2 * torch.randn(2, 3, width)
    frequency, amplitude = torch.rand(3) + 0.5, torch.rand(3) + 0.5
    for live in (None, torch.tensor([width, max(1, width - 4)])):
        ours = snake_triton.anti_aliased_snake_triton(x, frequency, amplitude, live)
        plain = snake_by_convolution(x, frequency, amplitude, live)
        torch.testing.assert_close(ours, plain, atol=2e-6, rtol=1e-5)
print("same")
"""


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("script", [ATTENTION, SNAKE], ids=["decode attention", "anti-aliased snake"])
def test_triton_kernel_equals_the_plain_expression(script: str) -> None:
    """In a process of its own: the interpreter is chosen when the kernel is defined."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr


def test_decode_attention_reads_live_cells_only() -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 4, 2, 30, 8).unbind(0)
    slots, lengths = torch.tensor([3, 1]), torch.tensor([7, 30])
    keys[3, :, 7:] = float("nan")
    values[3, :, 7:] = float("nan")
    q = torch.randn(2, 2, 8)
    ours = decode_attention(q, keys, values, slots, lengths, 30)
    clean = plain_attention(q, keys.nan_to_num(), values.nan_to_num(), slots, lengths, 30)
    torch.testing.assert_close(ours, clean)


def test_extend_attention_sees_the_past_and_itself_but_not_the_future() -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 3, 2, 20, 8).unbind(0)
    slots, starts = torch.tensor([2, 0]), torch.tensor([0, 9])
    q = torch.randn(2, 2, 5, 8)
    together = extend_attention(q, keys, values, slots, starts, 20)
    for place in range(5):
        alone = plain_attention(q[:, :, place], keys, values, slots, starts + place + 1, 20)
        torch.testing.assert_close(together[:, :, place], alone)


@pytest.mark.parametrize("width", [1, 3, 64])
def test_snake_forms_agree_on_ragged_rows(width: int) -> None:
    torch.manual_seed(0)
    x = 2 * torch.randn(3, 4, width)
    frequency, amplitude = torch.rand(4) + 0.5, torch.rand(4) + 0.5
    live = torch.tensor([width, max(1, width // 2), 1])
    plain = snake_by_convolution(x, frequency, amplitude, live)
    torch.testing.assert_close(snake_by_shifts(x, frequency, amplitude, live), plain, atol=2e-6, rtol=1e-5)
    for row, length in enumerate(live.tolist()):
        alone = snake_by_convolution(x[row : row + 1, :, :length], frequency, amplitude, None)
        torch.testing.assert_close(plain[row : row + 1, :, :length], alone, atol=2e-6, rtol=1e-5)
        assert not plain[row, :, length:].any()
