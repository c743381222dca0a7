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
from serving.models.hibari.cpu.layers import Matrix, floats
from serving.models.hibari.torch.synthesis import PulseSource, Synthesis
from serving.native import NativeError, load_functions
from serving.native.matrix import MatrixStruct

_P, _I, _F = c_void_p, c_int32, c_float


class _Synthesis(ctypes.Structure):
    _fields_ = (
        ("heads", _P), ("source_window", _P), ("window", _P), ("noise", _P), ("turns", _P),
        ("channels", _I), ("hop", _I), ("epsilon", _F), ("highest", _F),
    )  # fmt: skip


class _Frames(ctypes.Structure):
    _fields_ = (("features", _P), ("source", _P), ("noise_rows", _P), ("samples", _P), ("rows", _I))


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
        self._heads = [Matrix(head, in_bytes=in_bytes) for head in heads]
        self._structs = (MatrixStruct * len(heads))(*(head.as_struct for head in self._heads))
        if any(
            head.inputs > _room("max_inputs") or head.outputs > _room("max_outputs") for head in self._structs
        ):
            raise NativeError("synthesis.c has no room for heads of this size")
        # One row of levels serves all five.
        limit = min(struct.limit for struct in self._structs)
        for struct in self._structs:
            struct.limit = limit
        self._synthesis = synthesis
        self.tapers = synthesis.tapers
        angles = torch.arange(N_FFT, dtype=torch.float64) * (2 * math.pi / N_FFT)
        self._turns = torch.stack((angles.cos(), angles.sin()), dim=1).float().contiguous()
        self._struct = _Synthesis(
            heads=ctypes.addressof(self._structs),
            source_window=synthesis.source_window.data_ptr(),
            window=synthesis.window.data_ptr(),
            noise=synthesis.noise.data_ptr(),
            turns=self._turns.data_ptr(),
            channels=self._heads[0].channels,
            hop=HOP,
            epsilon=NORM_EPS,
            highest=MAX_LOG_MAGNITUDE,
        )

    def forward(self, features: Tensor, source: Tensor, noise_rows: Tensor) -> Tensor:
        """Windowed frames [frames, 1200] of features [frames, 256] (not yet normalised), source blocks
        [frames + 3, 300] and noise rows [frames] int64.
        """
        features, source = floats(features, self._heads[0].channels), floats(source, HOP)
        noise_rows = noise_rows.contiguous()
        assert len(source) == len(features) + OVERLAP - 1
        assert (noise_rows.shape, noise_rows.dtype) == ((len(features),), torch.int64)
        samples = torch.empty(len(features), N_FFT)
        frames = _Frames(
            features=features.data_ptr(),
            source=source.data_ptr(),
            noise_rows=noise_rows.data_ptr(),
            samples=samples.data_ptr(),
            rows=len(features),
        )
        library().synthesise(ctypes.byref(self._struct), ctypes.byref(frames))
        return samples


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
