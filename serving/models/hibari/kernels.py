"""The layers of kernels.c for torch tensors, and its matrices of 16-bit integers."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn

from serving.models.hibari.network import NORM_EPS, ConvNeXt
from serving.models.hibari.synthesis import (
    HOP,
    MAX_HARMONIC_HZ,
    MAX_LOG_MAGNITUDE,
    MIN_F0_HZ,
    N_FFT,
    OVERLAP,
    SAMPLE_RATE_HZ,
    PulseSource,
    Synthesis,
)
from serving.native import load_library

COLUMNS = 16
"""Outputs of a panel; a matrix is filled up to a multiple of it."""
WEIGHT_STEPS = 2047
"""Steps of an output's largest weight."""
INPUT_STEPS = 32767
"""Most steps of a row's largest input; fewer where the sums could overflow 32 bits."""


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("steps", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("limit", c_float),
    )


_SIGNATURES = {
    "linear": (
        c_void_p,  # matrix
        c_void_p,  # x
        c_int32,  # rows
        c_int32,  # channels
        c_int32,  # width
        c_int32,  # normal
        c_float,  # epsilon
        c_int32,  # gelu
        c_void_p,  # residual
        c_void_p,  # y
    ),
    "convnext": (
        c_void_p,  # widen
        c_void_p,  # narrow
        c_void_p,  # taps
        c_void_p,  # taps_bias
        c_int32,  # tap_count
        c_int32,  # dilation
        c_int32,  # offset
        c_int32,  # channels
        c_float,  # epsilon
        c_void_p,  # before
        c_int32,  # rows_before
        c_void_p,  # x
        c_int32,  # rows_in
        c_void_p,  # y
        c_int32,  # rows_out
    ),
    "synthesise": (
        c_void_p,  # heads
        c_void_p,  # features
        c_int32,  # rows
        c_int32,  # channels
        c_float,  # epsilon
        c_float,  # highest
        c_void_p,  # source
        c_int32,  # hop
        c_void_p,  # source_window
        c_void_p,  # noise
        c_void_p,  # noise_rows
        c_void_p,  # window
        c_void_p,  # turns
        c_void_p,  # frames
    ),
    "pulses": (
        c_void_p,  # f0
        c_int32,  # frames
        c_int32,  # hop
        c_float,  # rate_hz
        c_float,  # lowest_hz
        c_float,  # highest_hz
        c_void_p,  # weight
        c_void_p,  # blocks
    ),
}


@functools.cache
def library() -> ctypes.CDLL:
    """kernels.c, compiled if need be. Raises NativeError."""
    loaded = load_library(Path(__file__).with_name("kernels.c"))
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


class Matrix:
    """A linear layer in 16-bit integers: each output's weights in steps of 1/2047 of its largest."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.detach().double()
        self.width, self.channels = weight.shape
        outputs, inputs = -(-self.width // COLUMNS) * COLUMNS, self.channels + self.channels % 2
        scale = weight.abs().amax(1).clamp_min(1e-30) / WEIGHT_STEPS
        steps = torch.zeros(outputs, inputs, dtype=torch.float64)
        steps[: self.width, : self.channels] = (weight / scale[:, None]).round()
        # No sum exceeds limit * (sum of an output's steps), whatever the input.
        limit = min(INPUT_STEPS, (2**31 - 1) // int(steps.abs().sum(1).max().item()))
        panels = steps.view(-1, COLUMNS, inputs // 2, 2).transpose(1, 2)
        self._steps = panels.to(torch.int16).contiguous()
        self._scale, self._bias = torch.zeros(outputs), torch.zeros(outputs)
        self._scale[: self.width] = scale
        self._bias[: self.width] = layer.bias.detach()
        self.as_struct = _Matrix(
            self._steps.data_ptr(), self._scale.data_ptr(), self._bias.data_ptr(), inputs, outputs, limit
        )
        self.address = ctypes.addressof(self.as_struct)

    def __call__(
        self, x: Tensor, *, normal: bool = False, gelu: bool = False, residual: Tensor | None = None
    ) -> Tensor:
        """x float32 [rows, channels] to [rows, width]: (residual +) (gelu of) matrix @ (normalised) x + bias."""
        x = _floats(x, self.channels)
        y = torch.empty(len(x), self.width)
        if residual is not None:
            residual = _floats(residual, self.width)
            assert len(residual) == len(x)
        library().linear(
            self.address,
            x.data_ptr(),
            len(x),
            self.channels,
            self.width,
            normal,
            NORM_EPS,
            gelu,
            None if residual is None else residual.data_ptr(),
            y.data_ptr(),
        )
        return y


class Block:
    """A ConvNeXt block."""

    def __init__(self, block: ConvNeXt) -> None:
        self._reach, self._dilation, self._channels = block.reach, block.dilation, block.channels
        self._widen, self._narrow = Matrix(block.pw1), Matrix(block.pw2)
        self._taps = block.taps.detach()[:, 0, 0, :].t().contiguous()  # [taps, channels]
        self._taps_bias = block.taps_bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """[frames, channels] to the same shape; frames beyond either end count as zero."""
        return self._run(x, x.new_empty(0, self._channels), -self._reach, len(x))

    def window(self, before: Tensor, x: Tensor, frames: int) -> Tensor:
        """The next `frames` frames, [frames, channels], of a segment that comes in windows.

        x [new, channels]: the input frames from where the window before ended; before: its last 2 * reach, or
        no frame at the start of the segment. Frames beyond either end of the segment count as zero.
        """
        return self._run(x, before, -2 * self._reach if len(before) else -self._reach, frames)

    def _run(self, x: Tensor, before: Tensor, offset: int, frames: int) -> Tensor:
        x, before = _floats(x, self._channels), _floats(before, self._channels)
        y = torch.empty(frames, self._channels)
        centre = offset + self._reach
        assert -len(before) <= centre
        assert centre + frames <= len(x)
        library().convnext(
            self._widen.address,
            self._narrow.address,
            self._taps.data_ptr(),
            self._taps_bias.data_ptr(),
            len(self._taps),
            self._dilation,
            offset,
            self._channels,
            NORM_EPS,
            before.data_ptr(),
            len(before),
            x.data_ptr(),
            len(x),
            y.data_ptr(),
            frames,
        )
        return y


class Spectra:
    """The decoder's five heads, and Synthesis."""

    def __init__(self, heads: Sequence[nn.Linear], synthesis: Synthesis) -> None:
        self._heads = [Matrix(head) for head in heads]
        self._structs = (_Matrix * len(heads))(*(head.as_struct for head in self._heads))
        # One row of steps serves all five.
        limit = min(struct.limit for struct in self._structs)
        for struct in self._structs:
            struct.limit = limit
        self._synthesis = synthesis
        angles = torch.arange(N_FFT, dtype=torch.float64) * (2 * math.pi / N_FFT)
        self._turns = torch.stack((angles.cos(), angles.sin()), dim=1).float().contiguous()

    def __call__(self, features: Tensor, source: Tensor, noise_rows: Tensor) -> Tensor:
        """Windowed frames [frames, 1200] of features [frames, 256] (not yet normalised), source blocks
        [frames + 3, 300] and noise rows [frames] int64.
        """
        synthesis, channels = self._synthesis, self._heads[0].channels
        features, source, noise_rows = (
            _floats(features, channels),
            _floats(source, HOP),
            noise_rows.contiguous(),
        )
        assert len(source) == len(features) + OVERLAP - 1
        assert (noise_rows.shape, noise_rows.dtype) == ((len(features),), torch.int64)
        frames = torch.empty(len(features), N_FFT)
        library().synthesise(
            ctypes.addressof(self._structs),
            features.data_ptr(),
            len(features),
            channels,
            NORM_EPS,
            MAX_LOG_MAGNITUDE,
            source.data_ptr(),
            HOP,
            synthesis.source_window.data_ptr(),
            synthesis.noise.data_ptr(),
            noise_rows.data_ptr(),
            synthesis.window.data_ptr(),
            self._turns.data_ptr(),
            frames.data_ptr(),
        )
        return frames


class Pulses(nn.Module):
    """PulseSource."""

    def __init__(self, source: PulseSource) -> None:
        super().__init__()
        self._weight = source.weight.contiguous()

    def forward(self, f0: Tensor, frames: Tensor) -> Tensor:
        """As PulseSource.forward; blocks past a row's own end are undefined."""
        f0 = _floats(f0, f0.shape[1])
        blocks = torch.empty(len(f0), f0.shape[1] + OVERLAP - 1, HOP)
        for row, count in enumerate(frames.tolist()):
            assert 3 <= count <= f0.shape[1]
            library().pulses(
                f0[row].data_ptr(),
                count,
                HOP,
                SAMPLE_RATE_HZ,
                MIN_F0_HZ,
                MAX_HARMONIC_HZ,
                self._weight.data_ptr(),
                blocks[row].data_ptr(),
            )
        return blocks


def _floats(x: Tensor, channels: int) -> Tensor:
    assert (x.dtype, x.device.type, x.dim(), x.shape[-1]) == (torch.float32, "cpu", 2, channels)
    return x.contiguous()
