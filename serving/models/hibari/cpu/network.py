"""The network of network.py, row by row, in the kernels of network.c: what a CPU runs.

Same weights, same shapes, same formulas. Matrix products are of 16-bit integers, exactly summed; on the same inputs
a row gives the same bits alone and in a batch, in one window or in many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from serving.models.hibari.cpu.layers import Block, Matrix, Text
from serving.models.hibari.torch.network import ConvNeXt, Encoder, ProsodyNet, neighbours


class CpuEncoder(nn.Module):
    """Encoder."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._speech_text = Text(encoder.speech_text)
        self._prosody_text = Text(encoder.prosody_text)
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
