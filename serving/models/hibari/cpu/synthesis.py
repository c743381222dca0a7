"""The synthesis of torch/synthesis.py in the kernels of synthesis.c."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn

from serving.models.hibari.constants import (
    HOP,
    MAX_HARMONIC_HZ,
    MAX_LOG_MAGNITUDE,
    MIN_F0_HZ,
    N_FFT,
    NORM_EPS,
    OVERLAP,
    SAMPLE_RATE_HZ,
)
from serving.models.hibari.cpu.layers import Layer, floats
from serving.models.hibari.torch.synthesis import PulseSource, Synthesis
from serving.models.hibari.windows import Window
from serving.native import NativeError, load_functions
from serving.native.matrix import MatrixStruct

_P, _I, _F = c_void_p, c_int32, c_float


class _Synthesis(ctypes.Structure):
    _fields_ = (
        ("heads", _P), ("scale", _P), ("shift", _P), ("source_window", _P), ("window", _P), ("noise", _P),
        ("turns", _P), ("tapers", _P),
        ("channels", _I), ("hop", _I), ("epsilon", _F), ("highest", _F),
    )  # fmt: skip


class _Frames(ctypes.Structure):
    _fields_ = (
        ("features", _P), ("source", _P), ("noise_rows", _P), ("before", _P), ("kept", _P), ("blocks", _P),
        ("rows", _I), ("start", _I), ("frames", _I),
    )  # fmt: skip


class _PulseSource(ctypes.Structure):
    _fields_ = (("weight", _P), ("hop", _I), ("rate_hz", _F), ("lowest_hz", _F), ("highest_hz", _F))


@functools.cache
def library() -> ctypes.CDLL:
    """synthesis.c, compiled if need be. Raises NativeError."""
    return load_functions(
        Path(__file__).with_name("synthesis.c"), synthesise=(_P, _P), pulses=(_P, _P, _I, _P)
    )


def _room(name: str) -> int:
    """The limit of that name in synthesis.c."""
    return c_int32.in_dll(library(), name).value


class CpuSynthesis(nn.Module):
    """The decoder's five heads, and Synthesis."""

    def __init__(self, heads: Sequence[nn.Linear], synthesis: Synthesis, *, in_bytes: bool) -> None:
        """in_bytes: of the heads. Raises NativeError if synthesis.c has no room for heads of this size."""
        super().__init__()
        self._heads = [Layer(head, in_bytes=in_bytes) for head in heads]
        self._structs = (MatrixStruct * len(heads))(*(head.as_struct.matrix for head in self._heads))
        if any(
            head.inputs > _room("max_inputs") or head.outputs > _room("max_outputs") for head in self._structs
        ):
            raise NativeError("synthesis.c has no room for heads of this size")
        # One row of levels serves all five, behind one norm.
        if self._heads[0].as_struct.scale is None:
            raise NativeError("synthesis.c takes heads behind a norm")
        limit = min(struct.limit for struct in self._structs)
        for struct in self._structs:
            struct.limit = limit
        self._synthesis = synthesis
        self._tapers = synthesis.tapers.contiguous()
        angles = torch.arange(N_FFT, dtype=torch.float64) * (2 * math.pi / N_FFT)
        self._turns = torch.stack((angles.cos(), angles.sin()), dim=1).float().contiguous()
        self._struct = _Synthesis(
            heads=ctypes.addressof(self._structs),
            scale=self._heads[0].as_struct.scale,
            shift=self._heads[0].as_struct.shift,
            source_window=synthesis.source_window.data_ptr(),
            window=synthesis.window.data_ptr(),
            noise=synthesis.noise.data_ptr(),
            turns=self._turns.data_ptr(),
            tapers=self._tapers.data_ptr(),
            channels=self._heads[0].channels,
            hop=HOP,
            epsilon=NORM_EPS,
            highest=MAX_LOG_MAGNITUDE,
        )

    def forward(
        self, features: Tensor, source: Tensor, noise_rows: Tensor, tail: Tensor, window: Window
    ) -> tuple[Tensor, Tensor]:
        """The blocks that a window completes [blocks, 300], in [-1, 1], and its last windowed frames [3, 1200].

        Of the window's features [frames, 256] (not yet normalised), source blocks [frames + 3, 300], noise rows
        [frames] int64, and the windowed frames before it [3, 1200]; those before the segment are zero.
        """
        features, source = floats(features, self._heads[0].channels), floats(source, HOP)
        noise_rows, tail = noise_rows.contiguous(), floats(tail, N_FFT)
        rows = window.stop - window.start
        assert (len(features), len(source), len(tail)) == (rows, rows + OVERLAP - 1, OVERLAP - 1)
        assert (noise_rows.shape, noise_rows.dtype) == ((rows,), torch.int64)
        assert 0 < rows <= window.frames - window.start
        assert window.frames > OVERLAP // 2
        blocks, kept = torch.empty(len(window.blocks), HOP), torch.empty(OVERLAP - 1, N_FFT)
        frames = _Frames(
            features=features.data_ptr(),
            source=source.data_ptr(),
            noise_rows=noise_rows.data_ptr(),
            before=tail.data_ptr(),
            kept=kept.data_ptr(),
            blocks=blocks.data_ptr(),
            rows=rows,
            start=window.start,
            frames=window.frames,
        )
        library().synthesise(ctypes.byref(self._struct), ctypes.byref(frames))
        return blocks, kept


class CpuPulseSource(nn.Module):
    """PulseSource."""

    def __init__(self, source: PulseSource) -> None:
        """Raises NativeError if synthesis.c has no room for a block."""
        super().__init__()
        if _room("max_hop") < HOP:
            raise NativeError(f"synthesis.c has no room for blocks of {HOP} samples")
        self._weight = source.weight.contiguous()
        self._struct = _PulseSource(
            weight=self._weight.data_ptr(),
            hop=HOP,
            rate_hz=SAMPLE_RATE_HZ,
            lowest_hz=MIN_F0_HZ,
            highest_hz=MAX_HARMONIC_HZ,
        )

    def forward(self, f0: Tensor, frames: Tensor) -> Tensor:
        """As PulseSource.forward; blocks past a row's own end are undefined."""
        f0 = floats(f0, f0.shape[1])
        blocks = torch.empty(len(f0), f0.shape[1] + OVERLAP - 1, HOP)
        for row, count in enumerate(frames.tolist()):
            assert 3 <= count <= f0.shape[1]
            library().pulses(ctypes.byref(self._struct), f0[row].data_ptr(), count, blocks[row].data_ptr())
        return blocks
