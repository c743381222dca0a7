"""Semantic frames to the flow's condition: stretched to mel frames, smoothed, projected."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import LengthRegulatorConfig, S2MelConfig
from serving.models.indextts2.weights.state_dict import drop

_NORM_EPS = 1e-5
MEL_FRAMES = 1.72
"""Mel frames of a semantic frame: fixed in the official source; about those of 20 ms."""


def target_frames(codes: int, frames_per_code: int = 1, stretch: float = 1.0) -> int:
    """Mel frames of `codes` codes: floor(1.72 n) of n semantic frames, times `stretch`, as upstream rounds it."""
    return int(frames_per_code * codes * MEL_FRAMES * stretch)


def nearest_index(frames_in: Tensor, frames_out: Tensor, width: int) -> Tensor:
    """Source frame of each target frame, int64 [B, width]: floor(i * in / out), the ratio in float32.

    This is torch's "nearest" interpolation, rounding of the ratio included. Targets past a row's end take its
    last frame.
    """
    ratio = frames_in.float() / frames_out.float()
    index = (torch.arange(width, device=frames_in.device) * ratio[:, None]).floor().long()
    return index.minimum(frames_in[:, None] - 1)


class MaskedGroupNorm(nn.Module):
    """One group over channels and the live frames of each row of [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, live: Tensor) -> Tensor:
        """live [B, 1, T] of x's dtype, ones and zeros; x must be zero where live is."""
        count = live.sum((1, 2), keepdim=True, dtype=torch.float32) * x.shape[1]
        mean = x.sum((1, 2), keepdim=True, dtype=torch.float32) / count
        centred = (x - mean) * live
        variance = centred.square().sum((1, 2), keepdim=True, dtype=torch.float32) / count
        normed = centred * torch.rsqrt(variance + _NORM_EPS)
        return torch.addcmul(self.bias[:, None], normed.to(x.dtype), self.weight[:, None])


class LengthRegulator(nn.Module):
    """Ragged rows of semantic frames to ragged rows of mel-rate condition frames.

    A row's result does not depend on its neighbours: statistics are over live frames and convolutions see
    zeros past a row's end, as they do when it runs alone.
    """

    def __init__(self, config: LengthRegulatorConfig) -> None:
        super().__init__()
        channels = config.channels
        self.input = nn.Linear(config.in_channels, channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=1) for _ in range(config.stages)
        )
        self.norms = nn.ModuleList(MaskedGroupNorm(channels) for _ in range(config.stages))
        self.out = nn.Linear(channels, channels)

    def forward(self, semantic: Tensor, frames_in: Tensor, frames_out: Tensor, width: int) -> Tensor:
        """semantic [B, T_in, in_channels], live frames in and out int64 [B], `width` >= frames_out.

        Returns [B, width, channels], zero past each row's frames_out.
        """
        index = nearest_index(frames_in, frames_out, width)
        x = self.input(semantic)
        x = x.gather(1, index[..., None].expand(-1, -1, x.shape[-1])).mT
        live = (torch.arange(width, device=x.device) < frames_out[:, None])[:, None].to(x.dtype)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = convolution(x * live) * live
            x = F.mish(norm(x, live))
        y: Tensor = self.out(x.mT) * live.mT
        return y


class LatentProjection(nn.Module):
    """GPT latents [..., 1280] onto semantic frames [..., 1024]: three linear maps without activations."""

    def __init__(self, config: S2MelConfig) -> None:
        super().__init__()
        dims = config.gpt_layer_dims
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(dims)))

    def forward(self, latents: Tensor) -> Tensor:
        y: Tensor = self.layers(latents)
        return y


def convert(official: Mapping[str, Tensor], config: LengthRegulatorConfig) -> dict[str, Tensor]:
    """State of LengthRegulator from s2mel.pth's net.length_regulator; the unused embeddings are dropped."""
    names = {"content_in_proj.": "input.", f"model.{3 * config.stages}.": "out."}
    for stage in range(config.stages):
        names[f"model.{3 * stage}."] = f"convolutions.{stage}."
        names[f"model.{3 * stage + 1}."] = f"norms.{stage}."
    state: dict[str, Tensor] = {}
    for name, value in drop(official, ["embedding.weight", "mask_token"]).items():
        theirs = next((prefix for prefix in names if name.startswith(prefix)), "")
        state[names.get(theirs, "") + name.removeprefix(theirs)] = value
    if "out.weight" in state:
        state["out.weight"] = state["out.weight"].squeeze(-1)
    return state


def convert_projection(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of LatentProjection from s2mel.pth's net.gpt_layer."""
    return {f"layers.{name}": value for name, value in official.items()}
