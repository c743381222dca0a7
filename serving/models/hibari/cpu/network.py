"""The network of torch/network.py, row by row, in the kernels of network.c: one call a network."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_void_p

import torch
from torch import Tensor, nn

from serving.models.hibari.constants import CHANNELS, INPUT_CHANNELS, NORM_EPS
from serving.models.hibari.cpu.aside import begin_aside, has_second_core
from serving.models.hibari.cpu.layers import Block, BlockStruct, Layer, LayerStruct, floats, library, room
from serving.models.hibari.torch.network import (
    ConvNeXt,
    Decoder,
    Encoder,
    ProsodyNet,
    TextEncoder,
)
from serving.models.hibari.windows import HISTORY, LAYERS, REACH, Window
from serving.native import NativeError
from serving.native.matrix import ATTENTION_KEYS

_P, _I, _F = c_void_p, c_int32, c_float
LANES = 8
"""Numbers of a vector of vector.h."""


class _TextEncoder(ctypes.Structure):
    _fields_ = (
        ("convs", BlockStruct * 2), ("qkv", LayerStruct), ("out", LayerStruct), ("linear1", LayerStruct),
        ("linear2", LayerStruct), ("embedding", _P), ("scale", _P), ("shift", _P), ("repeats", _I), ("heads", _I),
        ("epsilon", _F),
    )  # fmt: skip


class _Encoder(ctypes.Structure):
    _fields_ = (("speech", _P), ("prosody", _P), ("hidden", LayerStruct), ("log_duration", _P), ("bias", _F))


class _Prosody(ctypes.Structure):
    _fields_ = (
        ("first", LayerStruct), ("blocks", _P), ("last", _P), ("bias", _P), ("block_count", _I), ("epsilon", _F),
    )  # fmt: skip


class _Decoder(ctypes.Structure):
    _fields_ = (
        ("first", LayerStruct), ("blocks", _P), ("block_count", _I), ("reach", _I), ("width", _I),
        ("epsilon", _F),
    )  # fmt: skip


class _Window(ctypes.Structure):
    _fields_ = (
        ("inputs", _P), ("before", _P), ("counts", _P), ("kept", _P), ("features", _P), ("scratch", _P),
        ("rows", _I), ("rows_before", _I),
    )  # fmt: skip


class CpuTextEncoder:
    """TextEncoder, for one row."""

    def __init__(self, text: TextEncoder, *, in_bytes: bool = False) -> None:
        """in_bytes: of all its matrices. Raises NativeError if network.c has no room for it."""
        size = text.channels // text.HEADS
        if size % ATTENTION_KEYS or size > room("max_head"):
            raise NativeError(f"network.c has no room for heads of {size} channels")
        self.channels = text.channels
        self._convs = [Block(conv, in_bytes=in_bytes) for conv in text.convs if isinstance(conv, ConvNeXt)]
        self._layers = [
            Layer(layer, in_bytes=in_bytes) for layer in (text.qkv, text.out, text.linear1, text.linear2)
        ]
        self._tables = [table.detach() for table in (text.embedding, text.norm_weight, text.norm_bias)]
        self.as_struct = _TextEncoder(
            (BlockStruct * 2)(*(conv.as_struct for conv in self._convs)),
            *(layer.as_struct for layer in self._layers),
            *(table.data_ptr() for table in self._tables),
            text.repeats,
            text.HEADS,
            NORM_EPS,
        )
        self.scratch = text.channels + max(3 * text.channels, self.as_struct.linear1.width)
        """Numbers of scratch that a token wants."""

    def __call__(self, ids: Tensor) -> Tensor:
        """ids [tokens] int64 to features [tokens, channels]."""
        ids = self.checked(ids)
        x, scratch = torch.empty(len(ids), self.channels), torch.empty(len(ids), self.scratch)
        library().encode_text(
            ctypes.byref(self.as_struct), ids.data_ptr(), len(ids), x.data_ptr(), scratch.data_ptr()
        )
        return x

    def checked(self, ids: Tensor) -> Tensor:
        """ids as the kernels read them; others are a mistake of ours."""
        assert (ids.dtype, ids.dim()) == (torch.int64, 1)
        assert len(ids) <= room("max_tokens")
        assert 0 <= int(ids.min()) <= int(ids.max()) < len(self._tables[0])
        return ids.contiguous()


class CpuEncoder(nn.Module):
    """Encoder."""

    def __init__(self, encoder: Encoder, *, in_bytes: bool = False) -> None:
        """in_bytes: of the features that the decoder reads; those of the prosody and the durations have 16 bits."""
        super().__init__()
        self._speech_text = CpuTextEncoder(encoder.speech_text, in_bytes=in_bytes)
        self._prosody_text = CpuTextEncoder(encoder.prosody_text)
        self._hidden = Layer(encoder.hidden)
        self._log_duration = encoder.log_duration.weight.detach()[0].contiguous()
        if self._hidden.width % LANES:
            raise NativeError(f"network.c takes durations of a multiple of {LANES} channels")
        self._struct = _Encoder(
            speech=ctypes.addressof(self._speech_text.as_struct),
            prosody=ctypes.addressof(self._prosody_text.as_struct),
            hidden=self._hidden.as_struct,
            log_duration=self._log_duration.data_ptr(),
            bias=encoder.log_duration.bias.item(),
        )
        self._scratch = max(self._speech_text.scratch, self._prosody_text.scratch, self._hidden.width)

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
        """One row's features and durations; with a second core the two encoders run beside each other."""
        ids = self._speech_text.checked(self._prosody_text.checked(ids))
        aside = begin_aside(self._speech_text, ids) if has_second_core() else None
        speech = torch.empty(0 if aside else len(ids), self._speech_text.channels)
        prosody = torch.zeros(len(ids) + 2, self._prosody_text.channels)
        durations, scratch = torch.empty_like(ids), torch.empty(len(ids), self._scratch)
        library().encode(
            ctypes.byref(self._struct),
            ids.data_ptr(),
            len(ids),
            None if aside else speech.data_ptr(),
            *(tensor.data_ptr() for tensor in (prosody, durations, scratch)),
        )
        return aside.result() if aside else speech, prosody[1:-1], durations


class CpuProsodyNet(nn.Module):
    """ProsodyNet."""

    def __init__(self, net: ProsodyNet) -> None:
        """Raises NativeError if network.c does not take it."""
        super().__init__()
        self._first = Layer(net.pro_in)
        self._last, self._bias = net.pro_out.weight.detach().contiguous(), net.pro_out.bias.detach()
        self._blocks = [Block(block) for block in net.blocks if isinstance(block, ConvNeXt)]
        self._structs = (BlockStruct * len(self._blocks))(*(block.as_struct for block in self._blocks))
        if (
            len(self._blocks) % 2
            or len(self._last) != 4
            or any(block.channels != self._first.channels for block in self._structs)
        ):
            raise NativeError("network.c does not take a prosody of this form")
        self._struct = _Prosody(
            first=self._first.as_struct,
            blocks=ctypes.addressof(self._structs),
            last=self._last.data_ptr(),
            bias=self._bias.data_ptr(),
            block_count=len(self._blocks),
            epsilon=NORM_EPS,
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As ProsodyNet.forward."""
        rows, frames, channels = x.shape
        f0, energy = torch.empty(2, rows, 2 * frames)
        for row, count in enumerate(lengths.tolist()):
            text, scratch = floats(x[row, :count], self._first.channels), torch.empty(2, count, channels)
            library().predict(
                ctypes.byref(self._struct),
                text.data_ptr(),
                count,
                *(tensor.data_ptr() for tensor in (f0[row], energy[row], scratch)),
            )
        return f0, energy


class CpuDecoder(nn.Module):
    """Decoder, for one row."""

    def __init__(self, decoder: Decoder, *, in_bytes: bool) -> None:
        """in_bytes: of the blocks' matrices. Raises NativeError if network.c has no room for it."""
        super().__init__()
        self._first = Layer(decoder.first)
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
