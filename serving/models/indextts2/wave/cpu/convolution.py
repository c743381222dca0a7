"""The layers of vocoder.c for torch tensors: convolutions in float32, packed for minimal filtering."""

from __future__ import annotations

import ctypes
import functools
import math
from ctypes import c_float, c_int32, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from serving.models.indextts2.wave.snake import FILTER, TAPS, AntiAliasedSnake
from serving.native import load_library

LANES = 8
"""LANES of vector.h: channels are padded to a multiple of it."""
_ROWS, _PANELS = 6, 2
"""VOCODER_ROWS and VOCODER_PANELS of vocoder.c."""
_CHUNK_FRAMES = 512
"""About this many make a chunk: fewer would read the weights more often."""
_POINTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: (),
    2: ((0, 2), (1, -2), (-1, -6), (2, 6)),
    3: ((0, 4), (1, -6), (-1, -6), (2, 24), (-2, 24)),
    4: ((0, 2), (1, -9), (-1, 3), (2, 60), (-2, -36), (-0.5, -1.40625)),
}
"""By the taps of a piece: points where the filter is evaluated, each with its divisor; infinity is one more."""
_P, _I = c_void_p, c_int32


class _Layer(ctypes.Structure):
    _fields_ = (
        ("weight", _P), ("bias", _P), ("filter", _P), ("turns", _P), ("amplitude", _P),
        ("inputs", _I), ("outputs", _I), ("columns", _I), ("taps", _I), ("pieces", _I), ("dilation", _I),
        ("first", _I),
    )  # fmt: skip


class _Call(ctypes.Structure):
    _fields_ = (
        ("x", _P), ("residual", _P), ("y", _P), ("scratch", _P), ("stride", c_int64), ("scratch_stride", c_int64),
        ("frames", _I), ("chunk", _I), ("more", _I), ("threads", _I), ("share", c_float),
    )  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL:
    """vocoder.c, compiled if need be. Raises NativeError."""
    loaded = load_library(Path(__file__).with_name("vocoder.c"), openmp=True)
    loaded.convolve.argtypes = (_P, _P)
    loaded.convolve.restype = None
    return loaded


def stored_channels(channels: int) -> int:
    """Channels of a stored signal: padded to a multiple of LANES."""
    return -(-channels // LANES) * LANES


class Scratch:
    """Memory that layers called one after another share."""

    def __init__(self) -> None:
        self._floats = torch.empty(0)

    def take(self, floats: int) -> Tensor:
        """float32 [floats], undefined; ends what was taken before."""
        if len(self._floats) < floats:
            self._floats = torch.empty(floats)
        return self._floats[:floats]


class Convolution:
    """A convolution along time, after an anti-aliased snake if one is given.

    Outputs depend neither on the number of threads nor on anything but the row itself.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        first: int,
        dilation: int = 1,
        snake: AntiAliasedSnake | None = None,
    ) -> None:
        """weight [outputs, inputs, kernel] and bias [outputs]; `first`: frame of the first tap relative to
        the output's."""
        outputs, inputs, kernel = weight.shape
        self.inputs, self.outputs = stored_channels(inputs), stored_channels(outputs)
        # Of a piece of the kernel, for the fewest products.
        self._taps = next((taps for taps in (1, 2, 3, 4, 8, 12) if taps >= kernel), 4)
        self._tile = 1 if self._taps == 1 else 4 if self._taps <= 4 else 8
        pieces = -(-kernel // self._taps)
        assert pieces == 1 or self._tile == self._taps
        self._columns = next(count for count in (16, 24, 8) if self.outputs % count == 0)
        self._weight = self._packed(weight.detach(), pieces)
        self._bias = _padded(bias if bias is not None else weight.new_zeros(outputs), self.outputs)
        self._filter = torch.tensor(FILTER)
        if snake is not None:
            self._turns = _padded(snake.frequency.detach().double() / math.pi, self.inputs)
            self._amplitude = _padded(snake.amplitude, self.inputs)
        self._dilation, self._pieces = dilation, pieces
        self._struct = _Layer(
            self._weight.data_ptr(),
            self._bias.data_ptr(),
            self._filter.data_ptr(),
            None if snake is None else self._turns.data_ptr(),
            None if snake is None else self._amplitude.data_ptr(),
            self.inputs,
            self.outputs,
            self._columns,
            self._taps,
            pieces,
            dilation,
            first,
        )
        assert len(self._filter) == TAPS

    def _packed(self, weight: Tensor, pieces: int) -> Tensor:
        """[outputs / columns, points, pieces * inputs, columns]."""
        outputs, inputs, kernel = weight.shape
        matrix = _tap_matrix(self._taps)
        cut = torch.zeros(pieces, self._taps, inputs, outputs, dtype=torch.float64)
        cut.view(-1, inputs, outputs)[:kernel] = weight.permute(2, 1, 0)
        panels = torch.zeros(len(matrix), pieces, self.inputs, self.outputs)
        for piece, taps in enumerate(cut):
            panels[:, piece, :inputs, :outputs] = torch.tensordot(matrix, taps, dims=1)
        panels = panels.view(len(matrix), pieces * self.inputs, -1, self._columns)
        return panels.permute(2, 0, 1, 3).contiguous()

    def __call__(
        self,
        x: Tensor,
        y: Tensor,
        scratch: Scratch,
        *,
        residual: Tensor | None = None,
        share: float = 1.0,
        more: bool = False,
    ) -> Tensor:
        """y [frames, outputs] (+)= share * (convolution of x [frames, inputs] + residual), all float32; returns y.

        Frames of x beyond either end count as zero after the snake. `more` adds to y, whose rows may lie
        further apart; residual may be y.
        """
        frames, threads = len(x), torch.get_num_threads()
        assert x.shape == (frames, self.inputs)
        assert x.is_contiguous()
        assert y.shape == (frames, self.outputs)
        assert y.stride(1) == 1
        for tensor in (x, y, residual):
            assert tensor is None or (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
        assert residual is None or (residual.shape == y.shape and residual.is_contiguous())
        chunk = self._chunk(frames, threads)
        each = self._scratch_floats(chunk)
        call = _Call(
            x.data_ptr(),
            None if residual is None else residual.data_ptr(),
            y.data_ptr(),
            scratch.take(threads * each).data_ptr(),
            y.stride(0),
            each,
            frames,
            chunk,
            more,
            threads,
            share,
        )
        library().convolve(ctypes.addressof(self._struct), ctypes.addressof(call))
        return y

    def _chunk(self, frames: int, threads: int) -> int:
        """Frames of a chunk: as many chunks for each thread."""
        multiple = self._tile * self._dilation
        rounds = max(1, round(frames / (_CHUNK_FRAMES * threads)))
        return -(-frames // (rounds * threads * multiple)) * multiple

    def _scratch_floats(self, chunk: int) -> int:
        """A chunk's active inputs, their transforms and products of panels, as convolve_chunk lays them."""
        points, tiles = len(_tap_matrix(self._taps)), chunk // (self._tile * self._dilation)
        lines = tiles + self._pieces - 1
        active = self._dilation * (self._tile * lines + self._taps - 1)
        transformed = points * self._dilation * lines
        products = points * (self._dilation * tiles + _ROWS) * self._columns * _PANELS
        return -(-((active + transformed) * self.inputs + products) // 16) * 16


def _tap_matrix(taps: int) -> Tensor:
    """Points by taps, float64: what each point multiplies."""
    if taps > 4:
        pieces = (
            [[1, 0], [1, 1], [0, 1]]
            if taps == 8
            else [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]
        )
        return torch.kron(torch.tensor(pieces, dtype=torch.float64), _tap_matrix(4))
    rows = [[point**tap / divisor for tap in range(taps)] for point, divisor in _POINTS[taps]]
    return torch.tensor([*rows, [0.0] * (taps - 1) + [1.0]], dtype=torch.float64)


def _padded(values: Tensor, size: int) -> Tensor:
    padded = torch.zeros(size)
    padded[: len(values)] = values.detach()
    return padded
