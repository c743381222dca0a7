"""The WaveNet tail of the velocity estimator, over ragged rows [B, T, C]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import WaveNetConfig
from serving.models.indextts2.mel import fused


def reflect_index(lengths: Tensor, width: int, pad: int) -> Tensor:
    """Frames int64 [B, width + 2 pad] that reflect each row at its own ends, frame 0 and frame lengths - 1.

    Past the reflection (in the padding of a ragged row) the index stays inside the row.
    """
    place = (torch.arange(width + 2 * pad, device=lengths.device) - pad).abs()
    last = lengths[:, None] - 1
    return (last - (last - place).abs()).clamp(min=0)


class Layer(nn.Module):
    """A gated convolution over windows of frames; all but the last also give a residual."""

    def __init__(self, dim: int, kernel: int, *, is_last: bool) -> None:
        super().__init__()
        self.conv = nn.Linear(kernel * dim, 2 * dim)
        """Taps first: column tap * dim + channel."""
        self.residual_skip = nn.Linear(dim, dim if is_last else 2 * dim)

    def forward(self, padded: Tensor, condition: Tensor, *, one: bool) -> Tensor:
        """padded [B, T + kernel - 1, C], condition [B, 2 C]. Returns [B, T, 2 C], residual first; of the last,
        [B, T, C]. `one`: the gate is one kernel, and the windows are not written out."""
        batch, frames, dim = padded.shape
        kernel = self.conv.weight.shape[1] // dim
        if one:
            weight = self.conv.weight.view(2 * dim, 1, kernel, dim).permute(0, 3, 1, 2)
            image = padded.view(batch, 1, frames, dim).permute(0, 3, 1, 2)
            # The bias is left to the gate: cuDNN's convolution would be followed by a kernel of its own for it.
            signals = F.conv2d(image, weight).permute(0, 2, 3, 1)[:, 0]
            gated = fused.gate(signals, condition, self.conv.bias, fused=True)
        else:
            windows = padded.unfold(1, kernel, 1).transpose(2, 3)
            gated = fused.gate(self.conv(windows.reshape(batch, -1, kernel * dim)), condition)
        y: Tensor = self.residual_skip(gated)
        return y


class WaveNet(nn.Module):
    """Eight gated convolutions with reflected borders, whose outputs are summed."""

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        if config.dilation_rate != 1:
            raise ValueError(f"wavenet.dilation_rate must be 1, not {config.dilation_rate}")
        self.kernel = config.kernel_size
        self.layers = nn.ModuleList(
            Layer(config.hidden_dim, config.kernel_size, is_last=index == config.num_layers - 1)
            for index in range(config.num_layers)
        )
        self.fused: frozenset[str] = frozenset()
        """See fused.py."""

    @property
    def reach(self) -> int:
        """Frames to each side that one output frame depends on."""
        return len(self.layers) * (self.kernel // 2)

    def forward(self, x: Tensor, condition: Tensor, lengths: Tensor) -> Tensor:
        """x [B, T, C], condition [B, layers, 2 C], live lengths int64 [B]. Returns [B, T, C]."""
        pad, one = self.kernel // 2, "wavenet" in self.fused
        borders = None if one else reflect_index(lengths, x.shape[1], pad)
        outputs: Tensor | None = None
        total: Tensor | None = None
        for index, layer in enumerate(self.layers):
            x, total = fused.wavenet_step(x, outputs, total, lengths, borders, pad)
            outputs = layer(x, condition[:, index], one=one)
        assert outputs is not None
        return outputs if total is None else total + outputs


def convert_wavenet(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of WaveNet from the keys under estimator.wavenet, weight norm folded already; cond_layer goes to
    the schedule. Raises KeyError naming a missing key."""
    state: dict[str, Tensor] = {}
    layers = sorted({int(key.split(".")[1]) for key in official if key.startswith("in_layers.")})
    for layer in layers:
        conv = official[f"in_layers.{layer}.conv.conv.weight"]
        state[f"layers.{layer}.conv.weight"] = conv.transpose(1, 2).reshape(len(conv), -1)
        state[f"layers.{layer}.conv.bias"] = official[f"in_layers.{layer}.conv.conv.bias"]
        mixing = official[f"res_skip_layers.{layer}.conv.conv.weight"]
        state[f"layers.{layer}.residual_skip.weight"] = mixing[:, :, 0]
        state[f"layers.{layer}.residual_skip.bias"] = official[f"res_skip_layers.{layer}.conv.conv.bias"]
    return state
