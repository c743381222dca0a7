"""The network of torch/network.py, row by row, in the kernels of network.c.

Matrix products are of 16-bit integers, exactly summed.
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_void_p

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.models.hibari.constants import CHANNELS, INPUT_CHANNELS, NORM_EPS
from serving.models.hibari.cpu.layers import Block, BlockStruct, Matrix, floats, library, room
from serving.models.hibari.torch.network import (
    ConvNeXt,
    Decoder,
    Encoder,
    ProsodyNet,
    TextEncoder,
    neighbours,
)
from serving.models.hibari.windows import HISTORY, LAYERS, REACH, Window
from serving.native import NativeError
from serving.native.matrix import ATTENTION_KEYS, MatrixStruct

_P, _I, _F = c_void_p, c_int32, c_float


class _TextEncoder(ctypes.Structure):
    _fields_ = (
        ("convs", BlockStruct * 2), ("qkv", MatrixStruct), ("out", MatrixStruct), ("linear1", MatrixStruct),
        ("linear2", MatrixStruct), ("repeats", _I), ("heads", _I), ("epsilon", _F),
    )  # fmt: skip


class _Decoder(ctypes.Structure):
    _fields_ = (
        ("first", MatrixStruct), ("blocks", _P), ("block_count", _I), ("reach", _I), ("width", _I),
        ("epsilon", _F),
    )  # fmt: skip


class _Window(ctypes.Structure):
    _fields_ = (
        ("inputs", _P), ("before", _P), ("counts", _P), ("kept", _P), ("features", _P), ("scratch", _P),
        ("rows", _I), ("rows_before", _I),
    )  # fmt: skip


class CpuTextEncoder:
    """TextEncoder, for one row."""

    def __init__(self, text: TextEncoder) -> None:
        """Raises NativeError if network.c has no room for it."""
        self._text = text
        size = text.channels // text.HEADS
        if size % ATTENTION_KEYS or size > room("max_head"):
            raise NativeError(f"network.c has no room for heads of {size} channels")
        self._convs = [Block(conv) for conv in text.convs if isinstance(conv, ConvNeXt)]
        self._layers = [Matrix(layer) for layer in (text.qkv, text.out, text.linear1, text.linear2)]
        convs = (BlockStruct * 2)(*(conv.as_struct for conv in self._convs))
        layers = (layer.as_struct for layer in self._layers)
        self._struct = _TextEncoder(convs, *layers, text.repeats, text.HEADS, NORM_EPS)
        self._spread = max(3 * text.channels, self._struct.linear1.outputs)

    def __call__(self, ids: Tensor) -> Tensor:
        """ids [tokens] int64 to features [tokens, channels]."""
        text = self._text
        assert len(ids) <= room("max_tokens")
        x = functional.embedding(ids, text.embedding)
        scratch = torch.empty(len(x), text.channels + self._spread)
        library().encode_text(ctypes.byref(self._struct), len(x), x.data_ptr(), scratch.data_ptr())
        return functional.layer_norm(x, (text.channels,), text.norm_weight, text.norm_bias, NORM_EPS)


class CpuEncoder(nn.Module):
    """Encoder."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._speech_text = CpuTextEncoder(encoder.speech_text)
        self._prosody_text = CpuTextEncoder(encoder.prosody_text)
        self._hidden, self._log_duration = Matrix(encoder.hidden), encoder.log_duration

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As Encoder.forward."""
        rows = [self._row(row[:length]) for row, length in zip(ids, lengths.tolist(), strict=True)]
        if len(rows) == 1 and len(rows[0][2]) == ids.shape[1]:
            speech, prosody, durations = rows[0]
            return speech[None], prosody[None], durations[None]
        speech, prosody, durations = (
            nn.utils.rnn.pad_sequence(list(part), batch_first=True) for part in zip(*rows, strict=True)
        )
        return speech, prosody, durations

    def _row(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        prosody = self._prosody_text(ids)
        hidden = self._hidden(neighbours(functional.pad(prosody, (0, 0, 1, 1))[None], 3)[0], gelu=True)
        frames = torch.expm1(self._log_duration(hidden).squeeze(1))
        return self._speech_text(ids), prosody, frames.round().clamp_min(1).to(torch.int64)


class CpuProsodyNet(nn.Module):
    """ProsodyNet."""

    def __init__(self, net: ProsodyNet) -> None:
        super().__init__()
        self._pro_in, self._pro_out = Matrix(net.pro_in), net.pro_out
        self._blocks = [Block(block) for block in net.blocks if isinstance(block, ConvNeXt)]

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As ProsodyNet.forward; frames past a row's length are zero."""
        f0, energy = x.new_zeros(len(x), 2 * x.shape[1]), x.new_zeros(len(x), 2 * x.shape[1])
        for row, frames in enumerate(mask.sum((1, 2)).tolist()):
            y = self._pro_in(x[row, :frames])
            for block in self._blocks:
                y = block(y)
            both = self._pro_out(y)
            f0[row, : 2 * frames] = both[:, :2].flatten() * 100
            energy[row, : 2 * frames] = both[:, 2:].flatten()
        return f0, energy


class CpuDecoder(nn.Module):
    """Decoder, for one row."""

    def __init__(self, decoder: Decoder, *, in_bytes: bool) -> None:
        """in_bytes: of the blocks' matrices."""
        super().__init__()
        self._first = Matrix(decoder.first)
        blocks = [block for block in decoder.blocks if isinstance(block, ConvNeXt)]
        self._blocks = [Block(block, in_bytes=in_bytes) for block in blocks]
        self._structs = (BlockStruct * len(self._blocks))(*(block.as_struct for block in self._blocks))
        self._struct = _Decoder(
            first=self._first.as_struct,
            blocks=ctypes.addressof(self._structs),
            block_count=len(self._blocks),
            reach=REACH,
            width=INPUT_CHANNELS,
            epsilon=NORM_EPS,
        )

    def forward(self, inputs: Tensor, history: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Run the frames of a window.

        inputs [frames, 130]: the new frames with REACH more on both sides (zeros beyond the segment's ends).
        history [8, 6, 256]: the last input frames of each block from the window before; [8, 0, 256] at first.

        Returns the features [frames, 256], not yet normalised (CpuSynthesis does that), and the new history.
        """
        inputs, history, blocks = floats(inputs, INPUT_CHANNELS), history.contiguous(), len(self._blocks)
        rows = len(inputs) - 2 * REACH
        counts = [len(window.new(layer)) for layer in range(LAYERS)]
        before = HISTORY if window.start else 0
        assert (rows, history.shape) == (counts[0], (blocks, before, CHANNELS))
        kept = torch.empty(blocks, HISTORY, CHANNELS)
        features, scratch = torch.empty(2, max(counts), CHANNELS)
        later_counts = (c_int32 * blocks)(*counts[1:])
        job = _Window(
            inputs=inputs.data_ptr(),
            before=history.data_ptr(),
            counts=ctypes.addressof(later_counts),
            kept=kept.data_ptr(),
            features=features.data_ptr(),
            scratch=scratch.data_ptr(),
            rows=rows,
            rows_before=before,
        )
        library().decode(ctypes.byref(self._struct), ctypes.byref(job))
        return features[: counts[-1]], kept
