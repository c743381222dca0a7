"""The network of network.py, row by row, in the kernels of kernels.c: what a CPU runs.

Same weights, same shapes, same formulas. Matrix products are of 16-bit integers, exactly summed; on the same inputs
a row gives the same bits alone and in a batch, in one window or in many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.models.hibari.kernels import Block, Matrix
from serving.models.hibari.network import (
    NORM_EPS,
    ConvNeXt,
    Decoder,
    Encoder,
    ProsodyNet,
    TextEncoder,
    neighbours,
)
from serving.models.hibari.windows import HISTORY, REACH, Window


class CpuTextEncoder:
    """TextEncoder, for one row."""

    def __init__(self, text: TextEncoder) -> None:
        self._text = text
        self._convs = _blocks(text.convs)
        self._qkv, self._out = Matrix(text.qkv), Matrix(text.out)
        self._linear1, self._linear2 = Matrix(text.linear1), Matrix(text.linear2)

    def __call__(self, ids: Tensor) -> Tensor:
        """ids [tokens] int64 to features [tokens, channels]."""
        text = self._text
        x = functional.embedding(ids, text.embedding)
        for conv in self._convs:
            x = conv(x)
        for _ in range(text.repeats):
            q, k, v = self._qkv(x, normal=True).view(len(x), 3, text.HEADS, -1).permute(1, 2, 0, 3)
            heard = functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
            x = self._out(heard.transpose(0, 1).reshape(len(x), text.channels), residual=x)
            x = self._linear2(self._linear1(x, normal=True, gelu=True), residual=x)
        return functional.layer_norm(x, (text.channels,), text.norm_weight, text.norm_bias, NORM_EPS)


class CpuEncoder(nn.Module):
    """Encoder."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._speech_text = CpuTextEncoder(encoder.speech_text)
        self._prosody_text = CpuTextEncoder(encoder.prosody_text)
        self._hidden, self._log_duration = Matrix(encoder.hidden), encoder.log_duration

    def forward(self, ids: Tensor, lengths: Tensor, speed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As Encoder.forward."""
        rows = [
            self._row(row[:length], factor)
            for row, length, factor in zip(ids, lengths.tolist(), speed, strict=True)
        ]
        if len(rows) == 1 and len(rows[0][2]) == ids.shape[1]:
            speech, prosody, durations = rows[0]
            return speech[None], prosody[None], durations[None]
        speech, prosody, durations = (
            nn.utils.rnn.pad_sequence(list(part), batch_first=True) for part in zip(*rows, strict=True)
        )
        return speech, prosody, durations

    def _row(self, ids: Tensor, speed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        prosody = self._prosody_text(ids)
        hidden = self._hidden(neighbours(functional.pad(prosody, (0, 0, 1, 1))[None], 3)[0], gelu=True)
        frames = torch.expm1(self._log_duration(hidden).squeeze(1)) / speed
        return self._speech_text(ids), prosody, frames.round().clamp_min(1).to(torch.int64)


class CpuProsodyNet(nn.Module):
    """ProsodyNet."""

    def __init__(self, net: ProsodyNet) -> None:
        super().__init__()
        self._pro_in, self._pro_out = Matrix(net.pro_in), net.pro_out
        self._blocks = _blocks(net.blocks)

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

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self._first = Matrix(decoder.first)
        self._blocks = _blocks(decoder.blocks)

    def forward(self, inputs: Tensor, history: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Run the frames of a window.

        inputs [frames, 130]: the new frames with REACH more on both sides (zeros beyond the segment's ends).
        history [8, 6, 256]: the last input frames of each block from the window before; [8, 0, 256] at first.

        Returns the features [frames, 256], not yet normalised (Spectra does that), and the new history.
        """
        x = self._first(neighbours(inputs[None], 2 * REACH + 1)[0])
        kept = []
        for layer, (block, before) in enumerate(zip(self._blocks, history, strict=True), 1):
            kept.append(x[-HISTORY:] if len(x) >= HISTORY else torch.cat((before, x))[-HISTORY:])
            x = block.window(before, x, len(window.new(layer)))
        return x, history if window.stop == window.frames else torch.stack(kept)


def _blocks(modules: nn.ModuleList) -> list[Block]:
    return [Block(module) for module in modules if isinstance(module, ConvNeXt)]
