"""The anti-aliased snake of BigVGAN: up by 2, x + sin^2(alpha x) / beta, down by 2, in one pass.

Both resamplers share a 12-tap Kaiser-windowed sinc with replicated borders. Written out, the upsampled
signal's even and odd samples are two 6-tap filters of the input,

    even[t] = 2 sum_i f[2i + 1] x[t + 2 - i]        odd[t] = 2 sum_i f[2i] x[t + 3 - i]        (i = 0 .. 5)

and the result is two 6-tap filters of their snakes,

    y[t] = sum_i f[2i + 1] s(even[t + i - 2]) + f[2i] s(odd[t + i - 3])

so nothing is ever interleaved or filled with zeros. Indices outside the signal take its first or last sample;
outside the upsampled signal, the first even or the last odd one.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 12
_CUTOFF = 0.25
_HALF_WIDTH = 0.3
_BETA_FLOOR = 1e-9


def sinc_filter() -> tuple[float, ...]:
    """The 12 taps: a sinc of cutoff 0.25 under a Kaiser window for a transition half-width of 0.3, sum one.

    The window's beta follows Kaiser's formulas from the attenuation 2.285 (N / 2 - 1) pi 4 h + 7.95 dB.
    """
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * _HALF_WIDTH + 7.95
    if attenuation > 50.0:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * (attenuation - 21.0) ** 0.4 + 0.07886 * (attenuation - 21.0)
    window = torch.kaiser_window(TAPS, beta=beta, periodic=False, dtype=torch.float64)
    time = torch.arange(-TAPS // 2, TAPS // 2, dtype=torch.float64) + 0.5
    taps = window * torch.sinc(2 * _CUTOFF * time)
    return tuple((taps / taps.sum()).tolist())


FILTER = sinc_filter()
"""Computed where a compiler does not look: it cannot trace the window."""


class AntiAliasedSnake(nn.Module):
    """The activation over [B, C, T]. Frequencies and inverse amplitudes are stored ready to use."""

    up: Tensor
    down: Tensor
    REACH = 6
    """Samples to each side that an output depends on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(channels))
        self.amplitude = nn.Parameter(torch.ones(channels))
        # Here, so that they lie where the signal does: no capture may hold a copy from the host.
        up, down = resampling_filters()
        self.register_buffer("up", up, persistent=False)
        self.register_buffer("down", down, persistent=False)

    def forward(self, x: Tensor, live: Tensor | None = None) -> Tensor:
        """Activate; with live int64 [B] each row is replicated at its own end, and zero past it."""
        if torch.compiler.is_compiling():
            return snake_by_shifts(x, self.frequency, self.amplitude, live)
        return snake_by_convolution(x, self.frequency, self.amplitude, live, (self.up, self.down))


def stored_parameters(alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """frequency and amplitude from the checkpoint's logarithms: e^alpha and 1 / (e^beta + 1e-9)."""
    return torch.exp(alpha), 1.0 / (torch.exp(beta) + _BETA_FLOOR)


def resampling_filters() -> tuple[Tensor, Tensor]:
    """Filters of 7 taps, float32: [2, 1, 7] of the signal to (even, odd), and [1, 2, 7] of these back."""
    taps = torch.tensor(FILTER)
    even_taps, odd_taps = taps[1::2], taps[0::2]
    up = 2.0 * torch.stack([F.pad(even_taps.flip(0), (0, 1)), F.pad(odd_taps.flip(0), (1, 0))])[:, None]
    return up, torch.stack([F.pad(even_taps, (1, 0)), F.pad(odd_taps, (0, 1))])[None]


def snake_by_convolution(
    x: Tensor,
    frequency: Tensor,
    amplitude: Tensor,
    live: Tensor | None,
    filters: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The definition with two grouped convolutions of 7 taps: [B C, 1, T] to (even, odd) and back.

    `filters` are resampling_filters(), on the signal's device; made if not given.
    """
    batch, channels, width = x.shape
    up, down = (each.to(x.device, x.dtype) for each in filters or resampling_filters())
    padded = F.pad(_hold(x, live), (3, 3), mode="replicate")
    pair = F.conv1d(padded.view(batch * channels, 1, -1), up).view(batch, channels, 2, width)
    pair = _snake(pair, frequency[:, None, None], amplitude[:, None, None])
    even, odd = _borders(pair[:, :, 0], pair[:, :, 1], live)
    joined = torch.stack([even, odd], dim=2).view(batch * channels, 2, -1)
    return _cut(F.conv1d(joined, down).view(batch, channels, width), live)


def snake_by_shifts(x: Tensor, frequency: Tensor, amplitude: Tensor, live: Tensor | None) -> Tensor:
    """The definition as sums of shifted slices, which a compiler fuses into two loops."""
    width = x.shape[2]
    taps = FILTER
    padded = F.pad(_hold(x, live), (3, 3), mode="replicate")

    def shifted(signal: Tensor, offset: int) -> Tensor:
        return signal[:, :, 3 + offset : 3 + offset + width]

    even = 2.0 * _total([taps[2 * i + 1] * shifted(padded, 2 - i) for i in range(6)])
    odd = 2.0 * _total([taps[2 * i] * shifted(padded, 3 - i) for i in range(6)])
    frequency, amplitude = frequency[:, None], amplitude[:, None]
    even, odd = _borders(_snake(even, frequency, amplitude), _snake(odd, frequency, amplitude), live)
    parts = [taps[2 * i + 1] * shifted(even, i - 2) + taps[2 * i] * shifted(odd, i - 3) for i in range(6)]
    return _cut(_total(parts), live)


def _total(parts: list[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)


def _snake(x: Tensor, frequency: Tensor, amplitude: Tensor) -> Tensor:
    return x + amplitude * torch.sin(frequency * x).square()


def _borders(even: Tensor, odd: Tensor, live: Tensor | None) -> tuple[Tensor, Tensor]:
    """Three more samples on each side: the first even one before the signal, the last odd one after it."""
    first, batch = even[:, :, :1], len(even)
    if live is None:
        last = odd[:, :, -1:]
    else:
        place = torch.arange(even.shape[2], device=even.device)
        last = odd.gather(2, (live - 1)[:, None, None].expand(batch, even.shape[1], 1))
        past = place >= live[:, None, None]
        even, odd = torch.where(past, last, even), torch.where(past, last, odd)
    before, after = first.expand(-1, -1, 3), last.expand(-1, -1, 3)
    return torch.cat([before, even, after], dim=2), torch.cat([before, odd, after], dim=2)


def _hold(x: Tensor, live: Tensor | None) -> Tensor:
    """Fill what lies past each row's end with its last live sample."""
    if live is None:
        return x
    last = x.gather(2, (live - 1)[:, None, None].expand(len(x), x.shape[1], 1))
    return torch.where(torch.arange(x.shape[2], device=x.device) >= live[:, None, None], last, x)


def _cut(x: Tensor, live: Tensor | None) -> Tensor:
    if live is None:
        return x
    return x * (torch.arange(x.shape[2], device=x.device) < live[:, None, None])
