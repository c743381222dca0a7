"""The layers of network.c for torch tensors, and its matrices of 16-bit integers."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.models.hibari.torch.network import (
    CHANNELS,
    INPUT_CHANNELS,
    NORM_EPS,
    ConvNeXt,
    Decoder,
    TextEncoder,
)
from serving.models.hibari.torch.synthesis import (
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
from serving.models.hibari.windows import HISTORY, LAYERS, REACH, Window
from serving.native import load_library, matrix
from serving.native.matrix import MatrixStruct

_P, _I, _F = c_void_p, c_int32, c_float


class _Block(ctypes.Structure):
    _fields_ = (
        ("widen", MatrixStruct), ("narrow", MatrixStruct), ("taps", _P), ("taps_bias", _P),
        ("tap_count", _I), ("dilation", _I), ("channels", _I),
    )  # fmt: skip


class _TextEncoder(ctypes.Structure):
    _fields_ = (
        ("convs", _Block * 2), ("qkv", MatrixStruct), ("out", MatrixStruct), ("linear1", MatrixStruct),
        ("linear2", MatrixStruct), ("repeats", _I), ("heads", _I),
    )  # fmt: skip


_SIGNATURES = {
    "linear": (_P, _P, _I, _I, _I, _I, _I, _F, _I, _P, _P),
    "convnext": (_P, _I, _F, _P, _I, _P, _I, _P, _I),
    "encode_text": (_P, _I, _F, _P, _P),
    "decode": (_P, _P, _I, _I, _I, _F, _P, _I, _P, _I, _P, _P, _P, _P),
    "synthesise": (_P, _P, _I, _I, _F, _F, _P, _I, _P, _P, _P, _P, _P, _P),
    "pulses": (_P, _I, _I, _F, _F, _F, _P, _P),
}
"""The functions of network.c, all void."""


@functools.cache
def library() -> ctypes.CDLL:
    """network.c, compiled if need be. Raises NativeError."""
    loaded = load_library(Path(__file__).with_name("network.c"))
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


class Matrix(matrix.Matrix):
    """A linear layer in 16-bit integers."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.weight, layer.bias)

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
            self.channels,
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
        self._reach, self._channels = block.reach, block.channels
        self._widen, self._narrow = Matrix(block.pw1), Matrix(block.pw2)
        self._taps = block.taps.detach()[:, 0, 0, :].t().contiguous()  # [taps, channels]
        self._taps_bias = block.taps_bias.detach()
        self.as_struct = _Block(
            self._widen.as_struct,
            self._narrow.as_struct,
            self._taps.data_ptr(),
            self._taps_bias.data_ptr(),
            len(self._taps),
            block.dilation,
            block.channels,
        )

    def __call__(self, x: Tensor) -> Tensor:
        """[frames, channels] to the same shape; frames beyond either end count as zero."""
        x = _floats(x, self._channels)
        y = torch.empty_like(x)
        library().convnext(
            ctypes.addressof(self.as_struct),
            -self._reach,
            NORM_EPS,
            None,
            0,
            x.data_ptr(),
            len(x),
            y.data_ptr(),
            len(y),
        )
        return y


class Text:
    """TextEncoder, for one row."""

    def __init__(self, text: TextEncoder) -> None:
        self._text = text
        self._convs = [Block(conv) for conv in text.convs if isinstance(conv, ConvNeXt)]
        self._layers = [Matrix(layer) for layer in (text.qkv, text.out, text.linear1, text.linear2)]
        convs = (_Block * 2)(*(conv.as_struct for conv in self._convs))
        layers = (layer.as_struct for layer in self._layers)
        self._struct = _TextEncoder(convs, *layers, text.repeats, text.HEADS)

    def __call__(self, ids: Tensor) -> Tensor:
        """ids [tokens] int64 to features [tokens, channels]."""
        text = self._text
        x = functional.embedding(ids, text.embedding)
        scratch = torch.empty(len(x), 4 * text.channels)
        library().encode_text(
            ctypes.addressof(self._struct), len(x), NORM_EPS, x.data_ptr(), scratch.data_ptr()
        )
        return functional.layer_norm(x, (text.channels,), text.norm_weight, text.norm_bias, NORM_EPS)


class Windows(nn.Module):
    """Decoder, for one row."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self._first = Matrix(decoder.first)
        self._blocks = [Block(block) for block in decoder.blocks if isinstance(block, ConvNeXt)]
        self._structs = (_Block * len(self._blocks))(*(block.as_struct for block in self._blocks))

    def forward(self, inputs: Tensor, history: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Run the frames of a window.

        inputs [frames, 130]: the new frames with REACH more on both sides (zeros beyond the segment's ends).
        history [8, 6, 256]: the last input frames of each block from the window before; [8, 0, 256] at first.

        Returns the features [frames, 256], not yet normalised (Spectra does that), and the new history.
        """
        inputs, history, blocks = _floats(inputs, INPUT_CHANNELS), history.contiguous(), len(self._blocks)
        rows = len(inputs) - 2 * REACH
        counts = [len(window.new(layer)) for layer in range(LAYERS)]
        before = HISTORY if window.start else 0
        assert (rows, history.shape) == (counts[0], (blocks, before, CHANNELS))
        kept = torch.empty(blocks, HISTORY, CHANNELS)
        features, scratch = torch.empty(2, max(counts), CHANNELS)
        library().decode(
            self._first.address,
            ctypes.addressof(self._structs),
            blocks,
            REACH,
            INPUT_CHANNELS,
            NORM_EPS,
            inputs.data_ptr(),
            rows,
            history.data_ptr(),
            before,
            (c_int32 * blocks)(*counts[1:]),
            kept.data_ptr(),
            features.data_ptr(),
            scratch.data_ptr(),
        )
        return features[: counts[-1]], kept


class Spectra(nn.Module):
    """The decoder's five heads, and Synthesis."""

    def __init__(self, heads: Sequence[nn.Linear], synthesis: Synthesis) -> None:
        super().__init__()
        self._heads = [Matrix(head) for head in heads]
        self._structs = (MatrixStruct * len(heads))(*(head.as_struct for head in self._heads))
        # One row of steps serves all five.
        limit = min(struct.limit for struct in self._structs)
        for struct in self._structs:
            struct.limit = limit
        self._synthesis = synthesis
        angles = torch.arange(N_FFT, dtype=torch.float64) * (2 * math.pi / N_FFT)
        self._turns = torch.stack((angles.cos(), angles.sin()), dim=1).float().contiguous()

    def forward(self, features: Tensor, source: Tensor, noise_rows: Tensor) -> Tensor:
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
