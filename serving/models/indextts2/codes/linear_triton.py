"""A product of a decode step with what surrounds it, as one Triton kernel: few rows, so the weights are what is read.

    out = residual + gelu(layer_norm(x) weight^T + bias)

each of the three around the product if asked for. A program owns some columns of the output and all rows.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

DEPTH = 128
"""Inputs of one pass of the loop."""


@triton.jit  # type: ignore[untyped-decorator]
def _linear(  # type: ignore[no-untyped-def]
    x,
    weight,
    bias,
    gain,
    offset,
    residual,
    out,
    rows,
    width,
    depth,
    eps,
    NORM: tl.constexpr,
    GELU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    row = tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    step = tl.arange(0, DEPTH)
    in_rows = (row < rows)[:, None]
    in_columns = column < width
    given = x + row[:, None] * depth + step[None, :]
    mean = tl.zeros((ROWS,), tl.float32)
    scale = tl.zeros((ROWS,), tl.float32)
    if NORM:
        for begin in range(0, depth, DEPTH):
            live = in_rows & (begin + step < depth)[None, :]
            mean += tl.sum(tl.load(given + begin, mask=live, other=0.0).to(tl.float32), axis=1)
        mean = mean / depth
        for begin in range(0, depth, DEPTH):
            live = in_rows & (begin + step < depth)[None, :]
            block = tl.load(given + begin, mask=live, other=0.0).to(tl.float32) - mean[:, None]
            scale += tl.sum(tl.where(live, block * block, 0.0), axis=1)
        scale = 1.0 / tl.sqrt(scale / depth + eps)
    result = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, depth, DEPTH):
        inside = begin + step < depth
        block = tl.load(given + begin, mask=in_rows & inside[None, :], other=0.0)
        if NORM:
            normal = (block.to(tl.float32) - mean[:, None]) * scale[:, None]
            normal *= tl.load(gain + begin + step, mask=inside, other=0.0).to(tl.float32)[None, :]
            normal += tl.load(offset + begin + step, mask=inside, other=0.0).to(tl.float32)[None, :]
            block = normal.to(block.dtype)
        factors = tl.load(
            weight + column[None, :] * depth + begin + step[:, None],
            mask=in_columns[None, :] & inside[:, None],
            other=0.0,
        )
        result = tl.dot(block, factors, result, input_precision="ieee")
    result += tl.load(bias + column, mask=in_columns, other=0.0).to(tl.float32)[None, :]
    if GELU:
        # The approximation by tanh, written by an exponential of what is never positive.
        inner = 0.7978845608028654 * (result + 0.044715 * result * result * result)
        shrunk = tl.exp(-2.0 * tl.abs(inner))
        tanh = tl.where(inner < 0, -1.0, 1.0) * (1.0 - shrunk) / (1.0 + shrunk)
        result = 0.5 * result * (1.0 + tanh)
    place = row[:, None] * width + column[None, :]
    wanted = in_rows & in_columns[None, :]
    if RESIDUAL:
        result += tl.load(residual + place, mask=wanted, other=0.0).to(tl.float32)
    tl.store(out + place, result.to(out.dtype.element_ty), mask=wanted)


def linear_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    norm: tuple[Tensor, Tensor] | None,
    residual: Tensor | None,
    eps: float,
    *,
    gelu: bool,
) -> Tensor:
    """See serving.models.indextts2.codes.fused.linear."""
    rows, depth = x.shape
    width = len(weight)
    # Narrow outputs in narrower stripes, so that there is a program for most of the processors.
    columns = 32 if width >= 2560 else 16
    out = x.new_empty(rows, width)
    gain, offset = (bias, bias) if norm is None else norm
    launch: Any = _linear[(triton.cdiv(width, columns),)]
    launch(
        x,
        weight,
        bias,
        gain,
        offset,
        x if residual is None else residual,
        out,
        rows,
        width,
        depth,
        eps,
        NORM=norm is not None,
        GELU=gelu,
        RESIDUAL=residual is not None,
        ROWS=max(16, triton.next_power_of_2(rows)),
        COLUMNS=columns,
        DEPTH=DEPTH,
    )
    return out
