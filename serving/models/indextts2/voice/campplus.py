"""CAMPPlus: filter banks of an utterance to one style vector.

A densely connected time-delay network with context-aware masking. Batch norms are folded: into the
convolution before them where there is one, else into a scale and a shift per channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import CampPlusConfig
from serving.models.indextts2.weights.state_dict import CheckpointError

_BN_EPS = 1e-5
_SEGMENT = 100
"""Frames that share one context vector besides the utterance's."""
_TDNN_STRIDE = 2
_DILATIONS = (1, 2, 2)


class Affine(nn.Module):
    """relu(scale * x + shift) per channel over [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.addcmul(self.shift[:, None], x, self.scale[:, None]))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions over [B, C, bands, T]; the first and the shortcut may halve the bands."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1, stride=(stride, 1)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class DenseLayer(nn.Module):
    """New channels from all before: bottleneck, dilated convolution, gate from the context."""

    def __init__(self, channels: int, bottleneck: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.before = Affine(channels)
        self.squeeze = nn.Conv1d(channels, bottleneck, 1)
        self.local = nn.Conv1d(bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.context1 = nn.Conv1d(bottleneck, bottleneck // 2, 1)
        self.context2 = nn.Conv1d(bottleneck // 2, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(self.before(x)))
        segments = F.avg_pool1d(x, _SEGMENT, _SEGMENT, ceil_mode=True)
        context = x.mean(-1, keepdim=True) + segments.repeat_interleave(_SEGMENT, -1)[..., : x.shape[-1]]
        gate = torch.sigmoid(self.context2(F.relu(self.context1(context))))
        y: Tensor = self.local(x) * gate
        return y


class StyleEncoder(nn.Module):
    """features.style_features to the style vector."""

    def __init__(self, config: CampPlusConfig) -> None:
        super().__init__()
        head = config.head_channels
        self.head_in = nn.Conv2d(1, head, 3, padding=1)
        self.head = nn.ModuleList(ResidualBlock(head, stride) for stride in (2, 1, 2, 1))
        self.head_out = nn.Conv2d(head, head, 3, stride=(2, 1), padding=1)
        channels = config.init_channels
        self.tdnn = nn.Conv1d(head * (config.feat_dim // 8), channels, 5, stride=_TDNN_STRIDE, padding=2)
        self.blocks = nn.ModuleList()
        self.transits = nn.ModuleList()
        for layers, dilation in zip(config.block_layers, _DILATIONS, strict=True):
            self.blocks.append(
                nn.ModuleList(
                    DenseLayer(
                        channels + index * config.growth_rate,
                        config.bn_size * config.growth_rate,
                        config.growth_rate,
                        dilation,
                    )
                    for index in range(layers)
                )
            )
            channels += layers * config.growth_rate
            self.transits.append(
                nn.Sequential(Affine(channels), nn.Conv1d(channels, channels // 2, 1, bias=False))
            )
            channels //= 2
        self.last = Affine(channels)
        self.out = nn.Linear(2 * channels, config.embedding_size)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, T, 80] to [B, 192]. Every row is as long as the batch: there is no masking."""
        x = F.relu(self.head_in(frames.mT[:, None]))
        for block in self.head:
            x = block(x)
        x = F.relu(self.head_out(x)).flatten(1, 2)
        x = F.relu(self.tdnn(x))
        for layers, transit in zip(self.blocks, self.transits, strict=True):
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                x = torch.cat([x, layer(x)], dim=1)
            x = transit(x)
        x = self.last(x)
        style: Tensor = self.out(torch.cat([x.mean(-1), x.std(-1, unbiased=True)], dim=-1))
        return style


def convert(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of StyleEncoder from campplus_cn_common.bin. Raises CheckpointError naming a missing name."""
    state: dict[str, Tensor] = {}

    def norm(prefix: str) -> tuple[Tensor, Tensor]:
        mean, variance = (
            official[f"{prefix}.running_mean"].double(),
            official[f"{prefix}.running_var"].double(),
        )
        scale = (variance + _BN_EPS).rsqrt()
        if f"{prefix}.weight" not in official:
            return scale, -mean * scale
        scale = scale * official[f"{prefix}.weight"].double()
        return scale, official[f"{prefix}.bias"].double() - mean * scale

    def convolution(ours: str, theirs: str, batch_norm: str) -> None:
        weight = official[f"{theirs}.weight"].double()
        scale, shift = norm(batch_norm)
        state[f"{ours}.weight"] = (weight * scale.reshape(-1, *[1] * (weight.dim() - 1))).float()
        state[f"{ours}.bias"] = shift.float()

    def affine(ours: str, batch_norm: str) -> None:
        scale, shift = norm(batch_norm)
        state[f"{ours}.scale"], state[f"{ours}.shift"] = scale.float(), shift.float()

    try:
        convolution("head_in", "head.conv1", "head.bn1")
        for index in range(4):
            theirs = f"head.layer{1 + index // 2}.{index % 2}"
            for part in "12":
                convolution(f"head.{index}.conv{part}", f"{theirs}.conv{part}", f"{theirs}.bn{part}")
            if f"{theirs}.shortcut.0.weight" in official:
                convolution(f"head.{index}.shortcut", f"{theirs}.shortcut.0", f"{theirs}.shortcut.1")
        convolution("head_out", "head.conv2", "head.bn2")
        convolution("tdnn", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        for block in range(len(_DILATIONS)):
            layer = 0
            while f"{(theirs := f'xvector.block{block + 1}.tdnnd{layer + 1}')}.linear1.weight" in official:
                ours = f"blocks.{block}.{layer}"
                affine(f"{ours}.before", f"{theirs}.nonlinear1.batchnorm")
                convolution(f"{ours}.squeeze", f"{theirs}.linear1", f"{theirs}.nonlinear2.batchnorm")
                state[f"{ours}.local.weight"] = official[f"{theirs}.cam_layer.linear_local.weight"]
                for part in "12":
                    for leaf in ("weight", "bias"):
                        state[f"{ours}.context{part}.{leaf}"] = official[
                            f"{theirs}.cam_layer.linear{part}.{leaf}"
                        ]
                layer += 1
            affine(f"transits.{block}.0", f"xvector.transit{block + 1}.nonlinear.batchnorm")
            state[f"transits.{block}.1.weight"] = official[f"xvector.transit{block + 1}.linear.weight"]
        affine("last", "xvector.out_nonlinear.batchnorm")
        convolution("out", "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    except KeyError as error:
        raise CheckpointError(f"campplus: no key {error.args[0]!r}") from None
    state["out.weight"] = state["out.weight"].squeeze(-1)
    return state
