"""The anti-aliased snake as one Triton kernel: a read and a write of the signal, nothing between.

A program owns a stretch of one channel. It filters and activates the even and odd samples of the stretch in
registers, then filters them back down, taking shifted samples from its own registers. The three samples at
each end of a stretch only serve their neighbours, so stretches overlap by six.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from serving.models.indextts2.wave.snake import FILTER

_BLOCK = 512
_MARGIN = 3


@triton.jit  # type: ignore[untyped-decorator]
def _snake(  # type: ignore[no-untyped-def]
    x,
    y,
    frequency,
    amplitude,
    live,
    taps,
    channels,
    width,
    HAS_LIVE: tl.constexpr,
    BLOCK: tl.constexpr,
    MARGIN: tl.constexpr,
):
    signal = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    begin = tl.program_id(1) * (BLOCK - 2 * MARGIN) - MARGIN
    end = width
    if HAS_LIVE:
        end = tl.load(live + signal // channels).to(tl.int32)
    rate = tl.load(frequency + signal % channels).to(tl.float32)
    height = tl.load(amplitude + signal % channels).to(tl.float32)
    # Places before the signal repeat even[0], places after it odd[end - 1], whose inputs are those below.
    place = tl.minimum(tl.maximum(begin + lane, 0), end - 1)
    even = tl.zeros((BLOCK,), tl.float32)
    odd = tl.zeros((BLOCK,), tl.float32)
    base = x + signal * width
    for i in tl.static_range(6):
        early = tl.minimum(tl.maximum(place + 2 - i, 0), end - 1)
        late = tl.minimum(tl.maximum(place + 3 - i, 0), end - 1)
        even += 2.0 * tl.load(taps + 2 * i + 1) * tl.load(base + early).to(tl.float32)
        odd += 2.0 * tl.load(taps + 2 * i) * tl.load(base + late).to(tl.float32)
    sine = tl.sin(rate * even)
    even += height * sine * sine
    sine = tl.sin(rate * odd)
    odd += height * sine * sine
    before = begin + lane < 0
    after = begin + lane >= end
    border_even = tl.where(after, odd, even)
    border_odd = tl.where(before, even, odd)
    result = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(6):
        even_lane = tl.minimum(tl.maximum(lane + i - 2, 0), BLOCK - 1)
        odd_lane = tl.minimum(tl.maximum(lane + i - 3, 0), BLOCK - 1)
        result += tl.load(taps + 2 * i + 1) * tl.gather(border_even, even_lane, 0)
        result += tl.load(taps + 2 * i) * tl.gather(border_odd, odd_lane, 0)
    target = begin + lane
    wanted = (lane >= MARGIN) & (lane < BLOCK - MARGIN) & (target < width)
    result = tl.where(target < end, result, 0.0)
    tl.store(y + signal * width + target, result.to(y.dtype.element_ty), mask=wanted)


def anti_aliased_snake_triton(x: Tensor, frequency: Tensor, amplitude: Tensor, live: Tensor | None) -> Tensor:
    """serving.models.indextts2.wave.snake.anti_aliased_snake for contiguous x [B, C, T], in float32 inside.

    Runs on CUDA, and on the CPU under TRITON_INTERPRET=1.
    """
    batch, channels, width = x.shape
    y = torch.empty_like(x)
    launch: Any = _snake[(batch * channels, triton.cdiv(width, _BLOCK - 2 * _MARGIN))]
    launch(
        x,
        y,
        frequency,
        amplitude,
        live,
        _taps(x.device),
        channels,
        width,
        HAS_LIVE=live is not None,
        BLOCK=_BLOCK,
        MARGIN=_MARGIN,
    )
    return y


_taps_by_device: dict[torch.device, Tensor] = {}


def _taps(device: torch.device) -> Tensor:
    """The filter on a device, kept so that a captured graph reads an address that stays."""
    if device not in _taps_by_device:
        _taps_by_device[device] = torch.tensor(FILTER, dtype=torch.float32, device=device)
    return _taps_by_device[device]
