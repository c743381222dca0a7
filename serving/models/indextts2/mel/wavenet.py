"""The WaveNet tail of the velocity estimator, over ragged rows [B, T, C]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from serving.models.indextts2.config import WaveNetConfig
from serving.models.indextts2.mel.dit import take_frames


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

    def forward(self, windows: Tensor, condition: Tensor) -> Tensor:
        """windows [B, T, kernel C], condition [B, 1, 2 C]. Returns [B, T, 2 C], residual first; of the last,
        [B, T, C]."""
        signal, gate = (self.conv(windows) + condition).chunk(2, dim=-1)
        y: Tensor = self.residual_skip(torch.tanh(signal) * torch.sigmoid(gate))
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

    @property
    def reach(self) -> int:
        """Frames to each side that one output frame depends on."""
        return len(self.layers) * (self.kernel // 2)

    def forward(self, x: Tensor, condition: Tensor, lengths: Tensor) -> Tensor:
        """x [B, T, C], condition [B, layers, 2 C], live lengths int64 [B]. Returns [B, T, C]."""
        batch, width, dim = x.shape
        padded = reflect_index(lengths, width, self.kernel // 2)
        total: Tensor | None = None
        for index, layer in enumerate(self.layers):
            windows = take_frames(x, padded).unfold(1, self.kernel, 1).transpose(2, 3)
            outputs = layer(windows.reshape(batch, width, self.kernel * dim), condition[:, index, None])
            if index < len(self.layers) - 1:
                residual, outputs = outputs.chunk(2, dim=-1)
                x = x + residual
            total = outputs if total is None else total + outputs
        assert total is not None
        return total


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
