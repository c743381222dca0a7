"""A decode step's ends as one Triton kernel each: the vectors it begins with, and the codes it draws.

The draw is that of sampling.py: the same order of filters, the same hash, the same record. It takes the best candidates
one by one, as many as the row's top_k, where torch sorts 128 of every row.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from serving.models.indextts2.noise import GOLDEN, MIX_1, MIX_2

CANDIDATES = 128
"""Most candidates of a row: sampling.MAX_TOP_K."""


@triton.jit  # type: ignore[untyped-decorator]
def _embed(  # type: ignore[no-untyped-def]
    slots,
    counts,
    codes,
    code_table,
    position_table,
    out,
    codes_stride,
    width,
    positions,
    AHEAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    slot = tl.load(slots + row)
    count = tl.load(counts + slot)
    code = tl.load(codes + slot * codes_stride + tl.maximum(count - 1, 0))
    position = tl.minimum(count + AHEAD, positions - 1)
    column = tl.arange(0, BLOCK)
    live = column < width
    vector = tl.load(code_table + code * width + column, mask=live, other=0.0).to(tl.float32)
    vector += tl.load(position_table + position * width + column, mask=live, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, vector.to(out.dtype.element_ty), mask=live)


def embed_triton(
    slots: Tensor,
    counts: Tensor,
    codes: Tensor,
    code_table: Tensor,
    position_table: Tensor,
    ahead: int,
) -> Tensor:
    """See serving.models.indextts2.codes.fused.embed."""
    width = code_table.shape[1]
    out = code_table.new_empty(len(slots), width)
    launch: Any = _embed[(len(slots),)]
    launch(
        slots,
        counts,
        codes,
        code_table,
        position_table,
        out,
        codes.stride(0),
        width,
        len(position_table),
        AHEAD=ahead,
        BLOCK=triton.next_power_of_2(width),
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _mix(value, FIRST: tl.constexpr, SECOND: tl.constexpr):  # type: ignore[no-untyped-def]
    """The rounds of splitmix64 on unsigned 64-bit integers."""
    value = (value ^ (value >> 30)) * FIRST
    value = (value ^ (value >> 27)) * SECOND
    return value ^ (value >> 31)


@triton.jit  # type: ignore[untyped-decorator]
def _draw(  # type: ignore[no-untyped-def]
    logits,
    slots,
    seen,
    codes,
    counts,
    seeds,
    top_ks,
    min_codes,
    code_limits,
    temperatures,
    top_ps,
    penalties,
    out,
    codes_stride,
    vocabulary,
    max_codes,
    stop,
    GOLDEN: tl.constexpr,
    MIX_1: tl.constexpr,
    MIX_2: tl.constexpr,
    BLOCK: tl.constexpr,
    CANDIDATES: tl.constexpr,
):
    row = tl.program_id(0)
    slot = tl.load(slots + row)
    count = tl.load(counts + slot)
    code = tl.arange(0, BLOCK)
    real = code < vocabulary
    score = tl.load(logits + row * vocabulary + code, mask=real, other=float("-inf")).to(tl.float32)
    used = tl.load(seen + slot * vocabulary + code, mask=real, other=0)
    penalty = tl.load(penalties + slot)
    score = tl.where(used != 0, tl.where(score > 0, score / penalty, score * penalty), score)
    score = tl.where((code == stop) & (count < tl.load(min_codes + slot)), float("-inf"), score)
    score = score / tl.load(temperatures + slot)
    rank = tl.arange(0, CANDIDATES)
    best = tl.full((CANDIDATES,), float("-inf"), tl.float32)
    chosen = tl.zeros((CANDIDATES,), tl.int32)
    wanted = tl.minimum(tl.minimum(tl.load(top_ks + slot), CANDIDATES), vocabulary).to(tl.int32)
    for place in range(0, wanted):
        top, index = tl.max(score, axis=0, return_indices=True)
        best = tl.where(rank == place, top, best)
        chosen = tl.where(rank == place, index, chosen)
        score = tl.where(code == index, float("-inf"), score)
    weight = tl.exp(best - tl.max(best, axis=0))
    probability = weight / tl.sum(weight, axis=0)
    above = tl.cumsum(probability, axis=0) - probability
    best = tl.where((above >= tl.load(top_ps + slot)) & (rank > 0), float("-inf"), best)
    value = _mix(tl.load(seeds + slot).to(tl.uint64) * GOLDEN + GOLDEN, MIX_1, MIX_2)
    value = _mix(value + (count + 1).to(tl.uint64) * GOLDEN, MIX_1, MIX_2)
    bits = _mix(value + (chosen + 1).to(tl.uint64) * GOLDEN, MIX_1, MIX_2)
    uniform = ((bits >> 41).to(tl.float32) + 0.5) * 1.1920928955078125e-07
    race = best - tl.log(-tl.log(uniform))
    winner = tl.argmax(race, axis=0)
    drawn = tl.sum(tl.where(rank == winner, chosen, 0), axis=0).to(tl.int64)
    place = tl.minimum(count, max_codes)
    last = tl.load(codes + slot * codes_stride + tl.maximum(place - 1, 0))
    ended = ((count > 0) & (last == stop)) | (count >= tl.load(code_limits + slot))
    drawn = tl.where(ended, stop, drawn)
    # Every thread has read what the record below changes.
    tl.debug_barrier()
    tl.store(codes + slot * codes_stride + place, drawn)
    tl.store(seen + slot * vocabulary + drawn, 1)
    tl.store(counts + slot, tl.minimum(count + 1, max_codes + 1))
    tl.store(out + row, drawn)


def draw_triton(
    logits: Tensor,
    slots: Tensor,
    seen: Tensor,
    codes: Tensor,
    counts: Tensor,
    settings: list[Tensor],
    stop: int,
) -> Tensor:
    """See serving.models.indextts2.codes.fused.draw."""
    rows, vocabulary = logits.shape
    out = slots.new_empty(rows)
    launch: Any = _draw[(rows,)]
    launch(
        logits,
        slots,
        seen.view(torch.uint8),
        codes,
        counts,
        *settings,
        out,
        codes.stride(0),
        vocabulary,
        codes.shape[1] - 1,
        stop,
        GOLDEN=GOLDEN % 2**64,
        MIX_1=MIX_1 % 2**64,
        MIX_2=MIX_2 % 2**64,
        BLOCK=triton.next_power_of_2(vocabulary),
        CANDIDATES=CANDIDATES,
        num_warps=8,
    )
    return out
