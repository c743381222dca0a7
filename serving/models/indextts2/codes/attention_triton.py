"""Split-KV decode attention for CUDA.

One query per row and head leaves a grid of rows x heads, too small to fill a GPU at small batches. Each row's
live cells are therefore cut into parts of PART_CELLS; a program reduces one part to (maximum, sum, weighted
values), and the last program of a row and head to arrive merges its parts by their maxima. Parts past a row's live
length read nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PART_CELLS = 128
"""Cells of one program: 32 KiB of bf16 keys and values at 64 wide."""

MAX_COUNTERS = 1 << 16
"""Rows times heads of a launch, at most."""


@triton.jit  # type: ignore[untyped-decorator]
def _merge(part_out, part_max, part_sum, out, row_head, used, parts, column, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """One row and head out of its parts. They are read past the first-level cache, for others have written them."""
    best = tl.full((), float("-inf"), tl.float32)
    total = tl.zeros((), tl.float32)
    merged = tl.zeros((WIDTH,), tl.float32)
    for part in range(0, used):
        index = row_head * parts + part
        this_best = tl.load(part_max + index, cache_modifier=".cg")
        new_best = tl.maximum(best, this_best)
        shrink = tl.exp(best - new_best)
        grow = tl.exp(this_best - new_best)
        values = tl.load(part_out + index * WIDTH + column, cache_modifier=".cg")
        merged = merged * shrink + values * grow
        total = total * shrink + tl.load(part_sum + index, cache_modifier=".cg") * grow
        best = new_best
    tl.store(out + row_head * WIDTH + column, (merged / total).to(out.dtype.element_ty))


@triton.jit  # type: ignore[untyped-decorator]
def _parts(  # type: ignore[no-untyped-def]
    q,
    keys,
    values,
    slots,
    lengths,
    part_out,
    part_max,
    part_sum,
    arrived,
    out,
    scale,
    slot_stride,
    head_stride,
    heads,
    parts,
    CELLS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
    WRITES: tl.constexpr,
):
    row_head = tl.program_id(0)
    part = tl.program_id(1)
    row = row_head // heads
    length = tl.load(lengths + row)
    first = part * CELLS
    column = tl.arange(0, WIDTH)
    base = tl.load(slots + row) * slot_stride + (row_head % heads) * head_stride
    given = q + row_head * WIDTH
    newest = length
    if WRITES:
        # q is [R, 3, H, WIDTH]: the row's query, and the key and value of its newest cell.
        given = q + (row * 3 * heads + row_head % heads) * WIDTH
        newest = length - 1
        new_key = tl.load(given + heads * WIDTH + column)
        new_value = tl.load(given + 2 * heads * WIDTH + column)
        if newest // CELLS == part:
            tl.store(keys + base + newest * WIDTH + column, new_key)
            tl.store(values + base + newest * WIDTH + column, new_value)
    query = tl.load(given + column).to(tl.float32) * scale
    best = tl.full((), float("-inf"), tl.float32)
    total = tl.zeros((), tl.float32)
    sums = tl.zeros((WIDTH,), tl.float32)
    last = tl.minimum(first + CELLS, length)
    for begin in range(first, last, BLOCK):
        cell = begin + tl.arange(0, BLOCK)
        live = cell < last
        # The newest cell comes from the row itself, for its store may not have arrived.
        stored = (live & (cell < newest))[:, None]
        offset = base + cell[:, None] * WIDTH + column[None, :]
        key = tl.load(keys + offset, mask=stored, other=0.0).to(tl.float32)
        if WRITES:
            is_newest = (cell == newest)[:, None]
            key = tl.where(is_newest, new_key[None, :].to(tl.float32), key)
        score = tl.where(live, tl.sum(key * query[None, :], axis=1), float("-inf"))
        new_best = tl.maximum(best, tl.max(score, axis=0))
        weight = tl.exp(score - new_best)
        shrink = tl.exp(best - new_best)
        value = tl.load(values + offset, mask=stored, other=0.0).to(tl.float32)
        if WRITES:
            value = tl.where(is_newest, new_value[None, :].to(tl.float32), value)
        sums = sums * shrink + tl.sum(value * weight[:, None], axis=0)
        total = total * shrink + tl.sum(weight, axis=0)
        best = new_best
    index = row_head * parts + part
    tl.store(part_max + index, best)
    tl.store(part_sum + index, total)
    tl.store(part_out + index * WIDTH + column, sums)
    used = tl.cdiv(length, CELLS)
    if part < used:
        # The last part of a row and head to arrive merges them all: what the others stored is then to be seen.
        tl.debug_barrier()
        if tl.atomic_add(arrived + row_head, 1, sem="acq_rel") == used - 1:
            tl.debug_barrier()
            _merge(part_out, part_max, part_sum, out, row_head, used, parts, column, WIDTH)
            tl.store(arrived + row_head, 0)


def decode_attention_triton(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: Tensor,
    lengths: Tensor,
    span: int,
    *,
    writes: bool = False,
) -> Tensor:
    """serving.models.indextts2.codes.attention.decode_attention by the kernel above; with `writes`,
    attend_and_write: q is then [R, 3, H, D], and the last live cell of each row is written first.

    keys and values must be contiguous with a head width that is a power of two. Runs on CUDA, and on the CPU
    under TRITON_INTERPRET=1.
    """
    rows, heads, width = len(q), *q.shape[-2:]
    parts = triton.cdiv(span, PART_CELLS)
    q = q.contiguous()
    part_out = torch.empty(rows, heads, parts, width, dtype=torch.float32, device=q.device)
    part_max = torch.empty(rows, heads, parts, dtype=torch.float32, device=q.device)
    part_sum = torch.empty_like(part_max)
    out = q.new_empty(rows, heads, width)
    launch: Any = _parts[(rows * heads, parts)]
    launch(
        q,
        keys,
        values,
        slots,
        lengths,
        part_out,
        part_max,
        part_sum,
        _counters(q.device, rows * heads),
        out,
        width**-0.5,
        keys.stride(0),
        keys.stride(1),
        heads,
        parts,
        CELLS=PART_CELLS,
        BLOCK=32,
        WIDTH=width,
        WRITES=writes,
    )
    return out


_counters_by_device: dict[torch.device, Tensor] = {}


def _counters(device: torch.device, count: int) -> Tensor:
    """Zeros, int32 [>= count], which each launch leaves as zeros; kept, for a captured graph reads an address that
    stays. Launches that share them follow each other on one stream."""
    known = _counters_by_device.get(device)
    if known is None:
        known = _counters_by_device[device] = torch.zeros(MAX_COUNTERS, dtype=torch.int32, device=device)
    if count > len(known):
        raise ValueError(f"{count} rows times heads exceed the {len(known)} of a launch")
    return known
