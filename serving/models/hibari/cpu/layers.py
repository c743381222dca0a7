"""The layers of layers.h and network.c for torch tensors."""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn

from serving.models.hibari.constants import NORM_EPS
from serving.models.hibari.torch.network import ConvNeXt, Folded
from serving.native import NativeError, load_functions
from serving.native.matrix import COLUMNS, Matrix, MatrixStruct

_P, _I, _F = c_void_p, c_int32, c_float
NORM_MULTIPLE = 16
"""Channels of a normalised row are a multiple of it: two vectors of vector.h."""


class LayerStruct(ctypes.Structure):
    """Layer of layers.h."""

    _fields_ = (("matrix", MatrixStruct), ("scale", _P), ("shift", _P), ("channels", _I), ("width", _I))


class BlockStruct(ctypes.Structure):
    """Block of layers.h."""

    _fields_ = (
        ("widen", LayerStruct), ("narrow", LayerStruct), ("taps", _P), ("taps_bias", _P),
        ("tap_count", _I), ("dilation", _I), ("channels", _I),
    )  # fmt: skip


class _Linear(ctypes.Structure):
    _fields_ = (
        ("layer", _P), ("x", _P), ("residual", _P), ("y", _P),
        ("rows", _I), ("stride", _I), ("gelu", _I), ("epsilon", _F),
    )  # fmt: skip


class _Frames(ctypes.Structure):
    _fields_ = (
        ("before", _P), ("x", _P), ("y", _P),
        ("rows_before", _I), ("rows_in", _I), ("rows_out", _I), ("offset", _I),
    )  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL:
    """network.c, compiled if need be. Raises NativeError."""
    return load_functions(
        Path(__file__).with_name("network.c"),
        linear=(_P,),
        convnext=(_P, _P, _F),
        encode_text=(_P, _P, _I, _P, _P),
        encode=(_P, _P, _I, _P, _P, _P, _P),
        predict=(_P, _P, _I, _P, _P, _P),
        decode=(_P, _P),
    )


@functools.cache
def room(name: str) -> int:
    """The limit of that name in network.c. Raises NativeError."""
    return c_int32.in_dll(library(), name).value


class Layer:
    """A linear layer in integers of 16 bits, or of 8, and the scale and shift of the norm before it."""

    def __init__(self, layer: nn.Linear, *, in_bytes: bool = False) -> None:
        """A Folded one is taken apart, so that a weight which is made of whole steps keeps them.

        Raises NativeError if network.c has no room for a layer of this size.
        """
        weight, bias = layer.weight.detach(), layer.bias.detach()
        step = None
        self._affine: tuple[Tensor, ...] = ()
        if isinstance(layer, Folded) and layer.step is not None:
            gain = torch.ones(len(bias)) if layer.gain is None else layer.gain
            weight, bias, step = gain[:, None] * layer.plain, gain * layer.plain_bias, gain.abs() * layer.step
            if layer.scale is not None and layer.shift is not None:
                self._affine = (layer.scale.contiguous(), layer.shift.contiguous())
        elif isinstance(layer, Folded) and layer.scale is not None:
            self._affine = (torch.ones_like(layer.scale), torch.zeros_like(layer.scale))
        self._matrix = Matrix(weight, bias, in_bytes=in_bytes, step=step, tiles=True)
        self.width, self.channels = weight.shape
        matrix = self._matrix.as_struct
        if matrix.inputs > room("max_inputs") or matrix.outputs > room("max_outputs"):
            raise NativeError(f"network.c has no room for a layer of {self.channels} to {self.width}")
        if self._affine and self.channels % NORM_MULTIPLE:
            raise NativeError(f"network.c takes norms of a multiple of {NORM_MULTIPLE} channels")
        self.as_struct = LayerStruct(
            matrix,
            *((tensor.data_ptr() for tensor in self._affine) if self._affine else (None, None)),
            self.channels,
            self.width,
        )

    def __call__(self, x: Tensor, *, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
        """x float32 [rows, channels] to [rows, width]: (residual +) (gelu of) layer (of normalised) x."""
        x = floats(x, self.channels)
        y = torch.empty(len(x), self.width)
        if residual is not None:
            residual = floats(residual, self.width)
            assert len(residual) == len(x)
        job = _Linear(
            layer=ctypes.addressof(self.as_struct),
            x=x.data_ptr(),
            residual=None if residual is None else residual.data_ptr(),
            y=y.data_ptr(),
            rows=len(x),
            stride=self.channels,
            gelu=gelu,
            epsilon=NORM_EPS,
        )
        library().linear(ctypes.byref(job))
        return y


class Block:
    """A ConvNeXt block."""

    def __init__(self, block: ConvNeXt, *, in_bytes: bool = False) -> None:
        """in_bytes: of both matrices. Raises NativeError if network.c has no room for it."""
        self._reach, self._channels = block.reach, block.channels
        if self._channels % COLUMNS:
            raise NativeError(
                f"network.c takes blocks of a multiple of {COLUMNS} channels, not {self._channels}"
            )
        self._widen, self._narrow = (Layer(layer, in_bytes=in_bytes) for layer in (block.pw1, block.pw2))
        self._taps = block.taps.detach()[:, 0, 0, :].t().contiguous()  # [taps, channels]
        self._taps_bias = block.taps_bias.detach()
        if len(self._taps) > room("max_taps"):
            raise NativeError(f"network.c has no room for {len(self._taps)} taps")
        self.as_struct = BlockStruct(
            widen=self._widen.as_struct,
            narrow=self._narrow.as_struct,
            taps=self._taps.data_ptr(),
            taps_bias=self._taps_bias.data_ptr(),
            tap_count=len(self._taps),
            dilation=block.dilation,
            channels=block.channels,
        )

    def __call__(self, x: Tensor) -> Tensor:
        """[frames, channels] to the same shape; frames beyond either end count as zero."""
        x = floats(x, self._channels)
        y = torch.empty_like(x)
        frames = _Frames(
            before=None,
            x=x.data_ptr(),
            y=y.data_ptr(),
            rows_before=0,
            rows_in=len(x),
            rows_out=len(y),
            offset=-self._reach,
        )
        library().convnext(ctypes.byref(self.as_struct), ctypes.byref(frames), NORM_EPS)
        return y


def floats(x: Tensor, channels: int) -> Tensor:
    """x as the kernels read it; a wrong shape, dtype or device is a mistake of ours."""
    assert (x.dtype, x.device.type, x.dim(), x.shape[-1]) == (torch.float32, "cpu", 2, channels)
    return x.contiguous()
