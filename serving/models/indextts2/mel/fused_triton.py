"""Triton kernels of the velocity estimator: what lies between its matrix products, one pass over memory each.

They compute in float32 and round once, where the plain torch expressions round after every operation. All run on
CUDA, and on the CPU under TRITON_INTERPRET=1. serving.models.indextts2.mel.fused says what each is equal to.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

NORM_ROWS = 4
ATTENTION_TILES = {2: (64, 64), 4: (32, 32)}
"""Bytes of a number to the frames of one program of the attention, and of one pass of its loop."""
SWIGLU_TILES = {2: (128, 64, 64), 4: (32, 32, 32)}
"""Bytes of a number to rows and columns of one program, and inputs of one pass of its loop. float32 has no matrix units
that keep its precision, so its tiles must leave room in the registers."""


@triton.jit  # type: ignore[untyped-decorator]
def _norm(  # type: ignore[no-untyped-def]
    x,
    y,
    scale,
    shift,
    summed,
    out,
    rows,
    frames,
    modulation_stride,
    width,
    eps,
    HAS_Y: tl.constexpr,
    CENTRED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    live = (row < rows)[:, None] & (column < width)[None, :]
    place = row[:, None] * width + column[None, :]
    value = tl.load(x + place, mask=live, other=0.0).to(tl.float32)
    if HAS_Y:
        value += tl.load(y + place, mask=live, other=0.0).to(tl.float32)
        kept = value.to(summed.dtype.element_ty)
        tl.store(summed + place, kept, mask=live)
        value = kept.to(tl.float32)
    if CENTRED:
        value = tl.where(live, value - (tl.sum(value, axis=1) / width)[:, None], 0.0)
    value = value * (1.0 / tl.sqrt(tl.sum(value * value, axis=1) / width + eps))[:, None]
    modulation = (row // frames)[:, None] * modulation_stride + column[None, :]
    gain = tl.load(scale + modulation, mask=live, other=0.0).to(tl.float32)
    offset = tl.load(shift + modulation, mask=live, other=0.0).to(tl.float32)
    tl.store(out + place, (value * gain + offset).to(out.dtype.element_ty), mask=live)


def norm_triton(
    x: Tensor, y: Tensor | None, scale: Tensor, shift: Tensor, eps: float, *, centred: bool
) -> list[Tensor]:
    """See serving.models.indextts2.mel.fused.norm; without y the normalised alone."""
    batch, frames, width = x.shape
    out = torch.empty_like(x)
    summed = x if y is None else torch.empty_like(x)
    launch: Any = _norm[(triton.cdiv(batch * frames, NORM_ROWS),)]
    launch(
        x,
        x if y is None else y,
        scale,
        shift,
        summed,
        out,
        batch * frames,
        frames,
        scale.stride(0),
        width,
        eps,
        HAS_Y=y is not None,
        CENTRED=centred,
        ROWS=NORM_ROWS,
        BLOCK=triton.next_power_of_2(width),
    )
    return [out] if y is None else [summed, out]


@triton.jit
def _rotated(first, second, cos, sin, dtype):  # type: ignore[no-untyped-def]
    """The two halves of heads, rotated in float32."""
    a, b = first.to(tl.float32), second.to(tl.float32)
    return (a * cos - b * sin).to(dtype), (b * cos + a * sin).to(dtype)


@triton.jit  # type: ignore[untyped-decorator]
def _attention(  # type: ignore[no-untyped-def]
    qkv,
    cos,
    sin,
    lengths,
    kept,
    out,
    frames,
    wanted,
    heads,
    scale,
    HAS_KEPT: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    HALF: tl.constexpr,
):
    batch = tl.program_id(1) // heads
    head = tl.program_id(1) % heads
    width = heads * 2 * HALF
    length = tl.load(lengths + batch).to(tl.int32)
    row = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    frame = row
    if HAS_KEPT:
        frame = tl.load(kept + batch * wanted + row, mask=row < wanted, other=0).to(tl.int32)
    half = tl.arange(0, HALF)
    whole = tl.arange(0, 2 * HALF)
    first_row = batch.to(tl.int64) * frames
    begin = qkv + first_row * 3 * width + head * 2 * HALF
    asked = (row < wanted)[:, None]
    place = frame[:, None] * 3 * width + half[None, :]
    turn = frame[:, None] * HALF + half[None, :]
    query_1, query_2 = _rotated(
        tl.load(begin + place, mask=asked, other=0.0),
        tl.load(begin + place + HALF, mask=asked, other=0.0),
        tl.load(cos + turn, mask=asked, other=0.0),
        tl.load(sin + turn, mask=asked, other=0.0),
        qkv.dtype.element_ty,
    )
    best = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    gathered = tl.zeros((QUERIES, 2 * HALF), tl.float32)
    last = length
    if not HAS_KEPT:
        # Queries past a row's end are padding: nothing reads what they would give.
        last = tl.where(tl.program_id(0) * QUERIES < length, length, 0)
    for start in range(0, last, KEYS):
        cell = start + tl.arange(0, KEYS)
        live = (cell < length)[:, None]
        place = cell[:, None] * 3 * width + half[None, :]
        turn = cell[:, None] * HALF + half[None, :]
        key_1, key_2 = _rotated(
            tl.load(begin + width + place, mask=live, other=0.0),
            tl.load(begin + width + place + HALF, mask=live, other=0.0),
            tl.load(cos + turn, mask=live, other=0.0),
            tl.load(sin + turn, mask=live, other=0.0),
            qkv.dtype.element_ty,
        )
        score = tl.dot(query_1, tl.trans(key_1), input_precision="ieee")
        score = tl.dot(query_2, tl.trans(key_2), score, input_precision="ieee") * scale
        score = tl.where((cell < length)[None, :], score, float("-inf"))
        new_best = tl.maximum(best, tl.max(score, axis=1))
        weight = tl.exp(score - new_best[:, None])
        shrink = tl.exp(best - new_best)
        value = tl.load(begin + 2 * width + cell[:, None] * 3 * width + whole[None, :], mask=live, other=0.0)
        gathered = gathered * shrink[:, None]
        gathered = tl.dot(weight.to(value.dtype), value, gathered, input_precision="ieee")
        total = total * shrink + tl.sum(weight, axis=1)
        best = new_best
    result = gathered / tl.where(total > 0.0, total, 1.0)[:, None]
    target = (batch.to(tl.int64) * wanted + row)[:, None] * width + head * 2 * HALF + whole[None, :]
    tl.store(out + target, result.to(out.dtype.element_ty), mask=asked)


def attention_triton(
    qkv: Tensor, cos: Tensor, sin: Tensor, lengths: Tensor, kept: Tensor | None, heads: int
) -> Tensor:
    """See serving.models.indextts2.mel.fused.attention."""
    batch, frames, three = qkv.shape
    width = three // 3
    wanted = frames if kept is None else kept.shape[1]
    out = qkv.new_empty(batch, wanted, width)
    queries, keys = ATTENTION_TILES[qkv.element_size()]
    launch: Any = _attention[(triton.cdiv(wanted, queries), batch * heads)]
    launch(
        qkv,
        cos,
        sin,
        lengths,
        lengths if kept is None else kept,
        out,
        frames,
        wanted,
        heads,
        (width // heads) ** -0.5,
        HAS_KEPT=kept is not None,
        QUERIES=queries,
        KEYS=keys,
        HALF=width // heads // 2,
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _swiglu(  # type: ignore[no-untyped-def]
    x,
    weight,
    out,
    rows,
    hidden,
    depth,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    step = tl.arange(0, DEPTH)
    in_rows, in_columns = (row < rows)[:, None], (column < hidden)[None, :]
    gate = tl.zeros((ROWS, COLUMNS), tl.float32)
    up = tl.zeros((ROWS, COLUMNS), tl.float32)
    given = x + row[:, None] * depth + step[None, :]
    of_gate = weight + column[None, :] * depth + step[:, None]
    of_up = of_gate + hidden * depth
    for begin in range(0, depth, DEPTH):
        inside = begin + step < depth
        block = tl.load(given + begin, mask=in_rows & inside[None, :], other=0.0)
        use = in_columns & inside[:, None]
        gate = tl.dot(block, tl.load(of_gate + begin, mask=use, other=0.0), gate, input_precision="ieee")
        up = tl.dot(block, tl.load(of_up + begin, mask=use, other=0.0), up, input_precision="ieee")
    result = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(
        out + row[:, None] * hidden + column[None, :],
        result.to(out.dtype.element_ty),
        mask=in_rows & in_columns,
    )


def swiglu_triton(x: Tensor, weight: Tensor) -> Tensor:
    """See serving.models.indextts2.mel.fused.swiglu."""
    *shape, depth = x.shape
    rows, hidden = x.numel() // depth, len(weight) // 2
    out = x.new_empty(*shape, hidden)
    # Neighbouring programs share their rows of x, which then stay in the second-level cache.
    tile_rows, columns, tile_depth = SWIGLU_TILES[x.element_size()]
    launch: Any = _swiglu[(triton.cdiv(hidden, columns), triton.cdiv(rows, tile_rows))]
    launch(
        x,
        weight,
        out,
        rows,
        hidden,
        depth,
        ROWS=tile_rows,
        COLUMNS=columns,
        DEPTH=tile_depth,
        num_warps=8,
    )
    return out
