"""Triton kernels of the vocoder: what lies between its convolutions, channels last, one pass over memory each.

A lane of the activation owns one channel of a stretch of time and walks along it. It keeps the last seven samples and
the last six pairs of the upsampled signal in registers, so a sample is read once, each pair is filtered and activated
once, and nothing is exchanged between lanes. All is computed in float32; what is stored is rounded once. Both run on
CUDA, and on the CPU under TRITON_INTERPRET=1. serving.models.indextts2.wave.fused says what each is equal to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from serving.models.indextts2.wave.snake import FILTER

STEPS = 48
"""Samples of a stretch; eleven more samples are read, and five more pairs computed, than it gives."""
UNROLLED = 6
LANES = 256
BRANCHES = 3
"""Residual blocks that share a launch, at most."""
JOINED = 1024
"""Numbers of one program of the sum."""


def _squared_sine() -> list[float]:
    """Q of degree 5: sin^2(d) = z Q(z), z = d^2 <= (pi / 2)^2, off by 3e-8. By interpolation at Chebyshev points."""
    fitted = Chebyshev.interpolate(lambda z: np.sin(np.sqrt(z)) ** 2 / z, 5, domain=[0.0, (math.pi / 2) ** 2])
    coefficients: list[float] = fitted.convert(kind=Polynomial).coef.tolist()
    return coefficients


_Q = tuple(map(tl.constexpr, _squared_sine()))
_Q0, _Q1, _Q2, _Q3, _Q4, _Q5 = _Q
# pi in three parts: the products of the first two with whole numbers below 2^13 are exact in float32.
_FIRST = round(math.pi * 2**6) / 2**6
_SECOND = round((math.pi - _FIRST) * 2**20) / 2**20
_PI_1, _PI_2, _PI_3 = tl.constexpr(_FIRST), tl.constexpr(_SECOND), tl.constexpr(math.pi - _FIRST - _SECOND)
_ONE_BY_PI = tl.constexpr(1 / math.pi)
_ROUNDER = tl.constexpr(1.5 * 2**23)
"""Added and taken away again it rounds a float32 to the nearest whole number."""
# The filter is symmetric: taps 6 .. 11 are taps 5 .. 0.
_F0, _F1, _F2, _F3, _F4, _F5 = map(tl.constexpr, FILTER[:6])


@triton.jit
def _snake(x, rate, height):  # type: ignore[no-untyped-def]
    """x + height * sin^2(rate * x), by the distance of rate * x from the nearest multiple of pi."""
    angle = rate * x
    turns = (angle * _ONE_BY_PI + _ROUNDER) - _ROUNDER
    rest = ((angle - turns * _PI_1) - turns * _PI_2) - turns * _PI_3
    z = rest * rest
    q = ((((_Q5 * z + _Q4) * z + _Q3) * z + _Q2) * z + _Q1) * z + _Q0
    return x + height * (z * q)


@triton.jit  # type: ignore[untyped-decorator]
def _sample(a, b, bias, place, end, channels, column, inside, HAS_B: tl.constexpr, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """a + b + bias at `place` of each stretch, or at the row's nearest live sample, rounded as it is stored."""
    index = tl.minimum(tl.maximum(place, 0), end - 1)[:, None] * channels + column
    value = tl.load(a + index, mask=inside, other=0.0).to(tl.float32) + bias
    if HAS_B:
        value += tl.load(b + index, mask=inside, other=0.0).to(tl.float32)
    return value.to(dtype).to(tl.float32)


@triton.jit
def _pair(x0, x1, x2, x3, x4, x5, x6, last, past, rate, height):  # type: ignore[no-untyped-def]
    """The upsampled pair at the middle of seven samples, activated; past the row's end its last odd one, twice."""
    even = 2.0 * (_F0 * x0 + _F2 * x1 + _F4 * x2 + _F5 * x3 + _F3 * x4 + _F1 * x5)
    odd = 2.0 * (_F1 * x1 + _F3 * x2 + _F5 * x3 + _F4 * x4 + _F2 * x5 + _F0 * x6)
    even = tl.where(past, last, _snake(even, rate, height))
    odd = tl.where(past, last, _snake(odd, rate, height))
    return even, odd


@triton.jit
def _of_branch(branch, first, second, third):  # type: ignore[no-untyped-def]
    return tl.where(branch == 0, first, tl.where(branch == 1, second, third))


@triton.jit(do_not_specialize=["branches"])  # type: ignore[untyped-decorator]
def _activate(  # type: ignore[no-untyped-def]
    a_0,
    a_1,
    a_2,
    b_0,
    b_1,
    b_2,
    sum_0,
    sum_1,
    sum_2,
    y_0,
    y_1,
    y_2,
    biases,
    frequency,
    amplitude,
    lengths,
    frames,
    channels,
    branches,
    scale,
    HAS_B: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    STEPS: tl.constexpr,
    UNROLLED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    branch = tl.program_id(0) % branches
    tile = tl.program_id(0) // branches
    batch = tl.program_id(2)
    begin = batch.to(tl.int64) * frames * channels
    a = _of_branch(branch, a_0, a_1, a_2) + begin
    b = _of_branch(branch, b_0, b_1, b_2) + begin
    summed = _of_branch(branch, sum_0, sum_1, sum_2) + begin
    y = _of_branch(branch, y_0, y_1, y_2) + begin
    dtype: tl.constexpr = b_0.dtype.element_ty
    end = frames
    if HAS_LENGTHS:
        end = tl.load(lengths + batch).to(tl.int32) * scale
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    column = channel[None, :]
    inside = column < channels
    of_branch = branch * channels + column
    bias = tl.load(biases + of_branch, mask=inside, other=0.0)
    rate = tl.load(frequency + of_branch, mask=inside, other=0.0)
    height = tl.load(amplitude + of_branch, mask=inside, other=0.0)
    start = (tile * ROWS + tl.arange(0, ROWS)) * STEPS

    # Seven samples about the pair before the first one that the stretch needs.
    x0 = tl.zeros((ROWS, COLUMNS), tl.float32)
    x1 = _sample(a, b, bias, start - 6, end, channels, column, inside, HAS_B, dtype)
    x2 = _sample(a, b, bias, start - 5, end, channels, column, inside, HAS_B, dtype)
    x3 = _sample(a, b, bias, start - 4, end, channels, column, inside, HAS_B, dtype)
    x4 = _sample(a, b, bias, start - 3, end, channels, column, inside, HAS_B, dtype)
    x5 = _sample(a, b, bias, start - 2, end, channels, column, inside, HAS_B, dtype)
    x6 = _sample(a, b, bias, start - 1, end, channels, column, inside, HAS_B, dtype)
    e0, e1, e2, e3, e4, e5 = x0, x0, x0, x0, x0, x0
    o0, o1, o2, o3, o4, o5 = x0, x0, x0, x0, x0, x0
    for warm in tl.static_range(6):
        pair = start - 3 + warm
        x0, x1, x2, x3, x4, x5 = x1, x2, x3, x4, x5, x6
        x6 = _sample(a, b, bias, pair + 3, end, channels, column, inside, HAS_B, dtype)
        e0, e1, e2, e3, e4 = e1, e2, e3, e4, e5
        o0, o1, o2, o3, o4 = o1, o2, o3, o4, o5
        past = (pair >= end)[:, None]
        e5, o5 = _pair(x0, x1, x2, x3, x4, x5, x6, o5, past, rate, height)
    # Before the signal lies its first even sample, three times.
    first = (start == 0)[:, None]
    e0, e1, e2 = tl.where(first, e3, e0), tl.where(first, e3, e1), tl.where(first, e3, e2)
    o0, o1, o2 = tl.where(first, e3, o0), tl.where(first, e3, o1), tl.where(first, e3, o2)
    for done in range(0, STEPS, UNROLLED):
        for step in tl.static_range(UNROLLED):
            target = start + done + step
            pair = target + 3
            x0, x1, x2, x3, x4, x5 = x1, x2, x3, x4, x5, x6
            x6 = _sample(a, b, bias, pair + 3, end, channels, column, inside, HAS_B, dtype)
            past = (pair >= end)[:, None]
            even, odd = _pair(x0, x1, x2, x3, x4, x5, x6, o5, past, rate, height)
            # Evens of target - 2 .. target + 3 and odds of target - 3 .. target + 2.
            result = _F1 * e1 + _F3 * e2 + _F5 * e3 + _F4 * e4 + _F2 * e5 + _F0 * even
            result += _F0 * o0 + _F2 * o1 + _F4 * o2 + _F5 * o3 + _F3 * o4 + _F1 * o5
            e0, e1, e2, e3, e4, e5 = e1, e2, e3, e4, e5, even
            o0, o1, o2, o3, o4, o5 = o1, o2, o3, o4, o5, odd
            live = (target < end)[:, None]
            place = target[:, None] * channels + column
            kept = inside & (target < frames)[:, None]
            tl.store(y + place, tl.where(live, result, 0.0).to(y.dtype.element_ty), mask=kept)
            if HAS_B:
                tl.store(summed + place, tl.where(live, x0, 0.0).to(dtype), mask=kept)


def activate_triton(
    bases: Sequence[Tensor],
    added: Sequence[Tensor],
    biases: Tensor,
    frequency: Tensor,
    amplitude: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """See serving.models.indextts2.wave.fused.activate."""
    batch, frames, channels = bases[0].shape
    sums = [torch.empty_like(base) for base in bases] if added else []
    made = [base.new_empty(base.shape, dtype=dtype) for base in bases]
    columns = _columns(channels)
    rows = LANES // columns
    grid = (triton.cdiv(frames, rows * STEPS) * len(bases), triton.cdiv(channels, columns), batch)
    launch: Any = _activate[grid]
    launch(
        *_three(bases),
        *_three(added or bases),
        *_three(sums or made),
        *_three(made),
        biases,
        frequency,
        amplitude,
        biases if lengths is None else lengths,
        frames,
        channels,
        len(bases),
        scale,
        HAS_B=bool(added),
        HAS_LENGTHS=lengths is not None,
        STEPS=STEPS,
        UNROLLED=UNROLLED,
        ROWS=rows,
        COLUMNS=columns,
    )
    return [*sums, *made]


@triton.jit  # type: ignore[untyped-decorator]
def _join(  # type: ignore[no-untyped-def]
    a_0,
    a_1,
    a_2,
    b_0,
    b_1,
    b_2,
    biases,
    lengths,
    out,
    frames,
    channels,
    scale,
    COUNT: tl.constexpr,
    HAS_B: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    batch = tl.program_id(1)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    begin = batch.to(tl.int64) * frames * channels
    size = frames * channels
    end = size
    if HAS_LENGTHS:
        end = tl.load(lengths + batch).to(tl.int32) * scale * channels
    live = place < tl.minimum(end, size)
    value = tl.load(a_0 + begin + place, mask=live, other=0.0).to(tl.float32)
    if HAS_B:
        value += tl.load(b_0 + begin + place, mask=live, other=0.0).to(tl.float32)
        if COUNT > 1:
            value += tl.load(a_1 + begin + place, mask=live, other=0.0).to(tl.float32)
            value += tl.load(b_1 + begin + place, mask=live, other=0.0).to(tl.float32)
        if COUNT > 2:
            value += tl.load(a_2 + begin + place, mask=live, other=0.0).to(tl.float32)
            value += tl.load(b_2 + begin + place, mask=live, other=0.0).to(tl.float32)
    value = (value + tl.load(biases + place % channels)) * (1.0 / COUNT)
    tl.store(out + begin + place, tl.where(live, value, 0.0).to(out.dtype.element_ty), mask=place < size)


def join_triton(
    bases: Sequence[Tensor],
    added: Sequence[Tensor],
    bias: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> Tensor:
    """See serving.models.indextts2.wave.fused.join."""
    batch, frames, channels = bases[0].shape
    out = bases[0].new_empty(bases[0].shape, dtype=dtype)
    launch: Any = _join[(triton.cdiv(frames * channels, JOINED), batch)]
    launch(
        *_three(bases),
        *_three(added or bases),
        bias,
        bias if lengths is None else lengths,
        out,
        frames,
        channels,
        scale,
        COUNT=len(bases),
        HAS_B=bool(added),
        HAS_LENGTHS=lengths is not None,
        BLOCK=JOINED,
    )
    return out


def _columns(channels: int) -> int:
    """Channels of one program: a power of two that divides them, 16 to 128 of it, else the next power of two."""
    divisor = channels & -channels
    return min(divisor, 128) if divisor >= 16 else min(triton.next_power_of_2(channels), 128)


def _three(tensors: Sequence[Tensor]) -> list[Tensor]:
    """As many as a launch takes; those that no branch uses are the first again."""
    return [*tensors, *[tensors[0]] * (BRANCHES - len(tensors))]
