"""Conformer and perceiver that turn a reference's hidden states into a fixed number of latents.

The conformer halves time, adds relative-position scores without the relative shift (scores of absolute places
of the keys, as the model was trained) and attends to every frame: upstream's length mask never masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import ConformerConfig
from serving.models.indextts2.weights.state_dict import drop, rename

_HEAD_DIM = 64
_PERCEIVER_DEPTH = 2


def sinusoids(frames: int, dim: int, device: torch.device) -> Tensor:
    """Table float32 [frames, dim]: sine on even columns, cosine on odd, frequencies 10000^(-2 i / dim)."""
    frequency = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10000.0) / dim))
    angle = torch.arange(frames, device=device)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class Attention(nn.Module):
    """Attention with scores (q + u) k' + (q + v) p', all over sqrt(head width)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.position = nn.Linear(dim, dim, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(heads, dim // heads))
        self.bias_v = nn.Parameter(torch.zeros(heads, dim // heads))
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = self.norm(x)
        query = self.query(x).unflatten(-1, (self.heads, -1))
        key = self.key(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        value = self.value(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        position = self.position(positions).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        by_content = (query + self.bias_u).transpose(1, 2)
        by_place = (query + self.bias_v).transpose(1, 2) @ position.mT / math.sqrt(query.shape[-1])
        mixed = F.scaled_dot_product_attention(by_content, key, value, attn_mask=by_place)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class Convolution(nn.Module):
    """Gated depthwise convolution, centred."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.gated = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.depthwise_norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(F.glu(self.gated(self.norm(x)), dim=-1).mT).mT
        y: Tensor = self.out(F.silu(self.depthwise_norm(x)))
        return y


class Block(nn.Module):
    """Attention, convolution and feed-forward, each before its residual, and a norm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dim = config.output_size
        self.attention = Attention(dim, config.attention_heads)
        self.convolution = Convolution(dim, config.cnn_kernel)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed_inner = nn.Linear(dim, config.linear_units)
        self.feed_outer = nn.Linear(config.linear_units, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.attention(x, positions)
        x = x + self.convolution(x)
        x = x + self.feed_outer(F.silu(self.feed_inner(self.feed_norm(x))))
        y: Tensor = self.norm(x)
        return y


class Resampler(nn.Module):
    """One perceiver layer: latents attend to themselves and the context, then a GEGLU feed-forward."""

    def __init__(self, dim: int, heads: int, mult: int) -> None:
        super().__init__()
        inner = int(dim * mult * 2 / 3)
        self.heads = heads
        self.query = nn.Linear(dim, heads * _HEAD_DIM, bias=False)
        self.key_value = nn.Linear(dim, 2 * heads * _HEAD_DIM, bias=False)
        self.out = nn.Linear(heads * _HEAD_DIM, dim, bias=False)
        self.feed_inner = nn.Linear(dim, 2 * inner)
        self.feed_outer = nn.Linear(inner, dim)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        seen = torch.cat([latents, context], dim=1)
        query = self.query(latents).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(seen).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        latents = latents + self.out(mixed.transpose(1, 2).flatten(2))
        value, gate = self.feed_inner(latents).chunk(2, dim=-1)
        latents = latents + self.feed_outer(value * F.gelu(gate))
        return latents


class Conditioner(nn.Module):
    """Hidden states of a reference [B, T, 1024] to latents [B, latents, latent_dim]. T must be 3 or more."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dim, latent_dim = config.output_size, config.latent_dim
        self.subsample = nn.Conv2d(1, dim, 3, stride=2)
        self.input = nn.Linear(dim * ((config.input_dim - 1) // 2), dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.norm = nn.LayerNorm(dim)
        self.context = nn.Linear(dim, latent_dim)
        self.latents = nn.Parameter(torch.zeros(config.latents, latent_dim))
        self.resamplers = nn.ModuleList(
            Resampler(latent_dim, config.attention_heads, config.perceiver_mult)
            for _ in range(_PERCEIVER_DEPTH)
        )
        self.gamma = nn.Parameter(torch.ones(latent_dim))

    def forward(self, hidden: Tensor) -> Tensor:
        x = F.relu(self.subsample(hidden[:, None]))
        x = self.input(x.transpose(1, 2).flatten(2))
        x = x * math.sqrt(x.shape[-1])
        positions = sinusoids(x.shape[1], x.shape[2], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, positions)
        context = self.context(self.norm(x))
        latents = self.latents.expand(len(hidden), -1, -1)
        for resampler in self.resamplers:
            latents = resampler(latents, context)
        normed: Tensor = F.normalize(latents, dim=-1) * math.sqrt(latents.shape[-1]) * self.gamma
        return normed


_ENCODER_NAMES = {
    "embed.conv.0.": "subsample.",
    "embed.out.0.": "input.",
    "encoders.": "blocks.",
    "after_norm.": "norm.",
}
_BLOCK_NAMES = {
    "self_attn.pos_bias_u": "attention.bias_u",
    "self_attn.pos_bias_v": "attention.bias_v",
    "self_attn.linear_q.": "attention.query.",
    "self_attn.linear_k.": "attention.key.",
    "self_attn.linear_v.": "attention.value.",
    "self_attn.linear_pos.": "attention.position.",
    "self_attn.linear_out.": "attention.out.",
    "norm_mha.": "attention.norm.",
    "norm_conv.": "convolution.norm.",
    "conv_module.pointwise_conv1.": "convolution.gated.",
    "conv_module.depthwise_conv.": "convolution.depthwise.",
    "conv_module.norm.": "convolution.depthwise_norm.",
    "conv_module.pointwise_conv2.": "convolution.out.",
    "norm_ff.": "feed_norm.",
    "feed_forward.w_1.": "feed_inner.",
    "feed_forward.w_2.": "feed_outer.",
    "norm_final.": "norm.",
}
_PERCEIVER_NAMES = {"proj_context.": "context.", "norm.gamma": "gamma", "layers.": "resamplers."}
_RESAMPLER_NAMES = {
    "0.to_q.": "query.",
    "0.to_kv.": "key_value.",
    "0.to_out.": "out.",
    "1.0.": "feed_inner.",
    "1.2.": "feed_outer.",
}


def convert(encoder: Mapping[str, Tensor], perceiver: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of Conditioner from the official conformer and perceiver, prefixes removed."""
    state = rename(drop(encoder, ["embed.pos_enc.pe"]), _ENCODER_NAMES)
    state |= rename(perceiver, _PERCEIVER_NAMES)
    converted: dict[str, Tensor] = {}
    for name, value in state.items():
        if "pointwise" in name and name.endswith("weight"):
            value = value.squeeze(-1)
        for stem, names in (("blocks.", _BLOCK_NAMES), ("resamplers.", _RESAMPLER_NAMES)):
            if name.startswith(stem):
                index, tail = name.removeprefix(stem).split(".", 1)
                name = f"{stem}{index}." + next(iter(rename({tail: value}, names)))
        converted[name] = value
    return converted
