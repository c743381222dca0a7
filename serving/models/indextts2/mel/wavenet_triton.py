"""Triton kernels of the WaveNet tail: its gate, and its sums together with the reflected borders of the next layer."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

FRAMES = 4
"""Of one program."""


@triton.jit  # type: ignore[untyped-decorator]
def _gate(  # type: ignore[no-untyped-def]
    x,
    condition,
    bias,
    out,
    rows,
    frames,
    width,
    condition_stride,
    HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    live = (row < rows)[:, None] & (column < width)[None, :]
    place = row[:, None] * 2 * width + column[None, :]
    given = (row // frames)[:, None] * condition_stride + column[None, :]
    signal = tl.load(x + place, mask=live, other=0.0).to(tl.float32)
    signal += tl.load(condition + given, mask=live, other=0.0).to(tl.float32)
    gate = tl.load(x + place + width, mask=live, other=0.0).to(tl.float32)
    gate += tl.load(condition + given + width, mask=live, other=0.0).to(tl.float32)
    if HAS_BIAS:
        # For each row anew, so that it arrives where it is wanted: no exchange between threads.
        known = bias + (row * 0)[:, None] + column[None, :]
        signal += tl.load(known, mask=live, other=0.0).to(tl.float32)
        gate += tl.load(known + width, mask=live, other=0.0).to(tl.float32)
    # tanh by exponentials of what is never positive, so that none overflows.
    shrunk = tl.exp(-2.0 * tl.abs(signal))
    tanh = tl.where(signal < 0, -1.0, 1.0) * (1.0 - shrunk) / (1.0 + shrunk)
    result = tanh / (1.0 + tl.exp(-gate))
    tl.store(out + row[:, None] * width + column[None, :], result.to(out.dtype.element_ty), mask=live)


def gate_triton(x: Tensor, condition: Tensor, bias: Tensor | None) -> Tensor:
    """See serving.models.indextts2.mel.fused.gate."""
    batch, frames, double = x.shape
    width = double // 2
    out = x.new_empty(batch, frames, width)
    launch: Any = _gate[(triton.cdiv(batch * frames, FRAMES),)]
    launch(
        x,
        condition,
        condition if bias is None else bias,
        out,
        batch * frames,
        frames,
        width,
        condition.stride(0),
        HAS_BIAS=bias is not None,
        ROWS=FRAMES,
        BLOCK=triton.next_power_of_2(width),
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _step(  # type: ignore[no-untyped-def]
    x,
    outputs,
    total,
    lengths,
    padded,
    summed,
    frames,
    width,
    PAD: tl.constexpr,
    HAS_OUTPUTS: tl.constexpr,
    HAS_TOTAL: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    batch = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    last = tl.load(lengths + batch).to(tl.int32) - 1
    # The frame that each place repeats: itself, or its mirror image at the row's own ends.
    source = tl.maximum(last - tl.abs(last - tl.abs(place - PAD)), 0)
    inside = (place < frames + 2 * PAD)[:, None] & (column < width)[None, :]
    of_source = (batch * frames + source)[:, None]
    # x is padded already but for the first layer's, so its frame lies PAD places on.
    value = tl.load(
        x
        + ((batch * (frames + 2 * PAD) + PAD + source)[:, None] if HAS_OUTPUTS else of_source) * width
        + column[None, :],
        mask=inside,
        other=0.0,
    ).to(tl.float32)
    if HAS_OUTPUTS:
        value += tl.load(outputs + of_source * 2 * width + column[None, :], mask=inside, other=0.0).to(
            tl.float32
        )
    target = (batch * (frames + 2 * PAD) + place)[:, None] * width + column[None, :]
    tl.store(padded + target, value.to(padded.dtype.element_ty), mask=inside)
    if HAS_OUTPUTS:
        frame = place - PAD
        live = inside & ((frame >= 0) & (frame < frames))[:, None]
        here = (batch * frames + frame)[:, None]
        skip = tl.load(outputs + here * 2 * width + width + column[None, :], mask=live, other=0.0).to(
            tl.float32
        )
        if HAS_TOTAL:
            skip += tl.load(total + here * width + column[None, :], mask=live, other=0.0).to(tl.float32)
        tl.store(summed + here * width + column[None, :], skip.to(summed.dtype.element_ty), mask=live)


def step_triton(
    x: Tensor, outputs: Tensor | None, total: Tensor | None, lengths: Tensor, pad: int
) -> tuple[Tensor, Tensor]:
    """See serving.models.indextts2.mel.fused.wavenet_step."""
    batch, frames, width = x.shape
    if outputs is not None:
        frames -= 2 * pad
    padded = x.new_empty(batch, frames + 2 * pad, width)
    summed = x.new_empty(batch, 0 if outputs is None else frames, width)
    launch: Any = _step[(triton.cdiv(frames + 2 * pad, FRAMES), batch)]
    launch(
        x,
        x if outputs is None else outputs,
        x if total is None else total,
        lengths,
        padded,
        summed,
        frames,
        width,
        PAD=pad,
        HAS_OUTPUTS=outputs is not None,
        HAS_TOTAL=total is not None,
        ROWS=FRAMES,
        BLOCK=triton.next_power_of_2(width),
    )
    return padded, summed
