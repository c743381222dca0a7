"""The transformer of the velocity estimator.

Frames are the second axis throughout: [B, T, C]. Rows may be ragged; a key mask keeps padding out of the live
frames. Time enters by modulation alone, so every modulation vector is tabulated once per Euler time
(serving.models.indextts2.mel.schedule) and rows at different times share a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import DiTConfig
from serving.models.indextts2.mel import fused

NORM_EPS = 1e-5
_ROPE_BASE = 10_000.0


def feed_forward_dim(dim: int) -> int:
    """Width of the gated feed-forward: two thirds of four times dim, rounded up to a multiple of 256."""
    return -(-(8 * dim // 3) // 256) * 256


def rope_tables(head_dim: int, frames: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """cos and sin of frame x frequency, each float32 [frames, head_dim / 2]. Never narrower: angles reach
    10^4."""
    rates = _ROPE_BASE ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(frames, device=device, dtype=torch.float32), rates)
    return torch.cos(angles), torch.sin(angles)


class Rows(NamedTuple):
    """Which frames of B ragged rows are live, said twice."""

    lengths: Tensor
    """int64 [B]."""
    mask: Tensor | None
    """bool [B, 1, 1, T], or None if all frames are."""


class Block(nn.Module):
    """Adaptive-norm attention and gated feed-forward; the deep half also takes the U-shaped skip."""

    def __init__(self, dim: int, heads: int, *, takes_skip: bool) -> None:
        super().__init__()
        hidden = feed_forward_dim(dim)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.gate_up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)
        self.skip = nn.Linear(2 * dim, dim) if takes_skip else None
        self.fused: frozenset[str] = frozenset()
        """Parts that are one kernel each; see fused.py."""

    def forward(
        self,
        x: Tensor,
        normal: Tensor,
        mlp_norm: tuple[Tensor, Tensor],
        rope: tuple[Tensor, Tensor],
        rows: Rows,
        kept: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run B rows of T frames, x [B, T, C] and its norm; the outputs are the sum of the two results.

        So the sum and the norm that follows it are one pass. `kept` [B, W] names the only frames whose outputs are
        wanted, if not all.
        """
        y = fused.attention(
            self.qkv(normal), rope, rows.lengths, rows.mask, kept, self.heads, fused="attention" in self.fused
        )
        if kept is not None:
            x = fused.take_frames(x, kept)
        x, normal = fused.norm(x, self.out(y), mlp_norm, NORM_EPS, fused="norm" in self.fused)
        return x, self.down(fused.swiglu(normal, self.gate_up.weight, fused="swiglu" in self.fused))

    def join(self, x: Tensor, y: Tensor, pushed: Tensor) -> Tensor:
        """The skip layer over x + y beside what was pushed, [B, T, C] each, without putting them side by side."""
        assert self.skip is not None
        dim = x.shape[-1]
        joined = F.linear(pushed, self.skip.weight[:, dim:], self.skip.bias)
        joined.view(-1, dim).addmm_((x + y).view(-1, dim), self.skip.weight[:, :dim].T)
        return joined


class Transformer(nn.Module):
    """`depth` blocks with skips from the shallow half to the deep half, and a modulated norm at the end."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        middle = config.depth // 2
        self.middle = middle
        self.blocks = nn.ModuleList(
            Block(config.hidden_dim, config.num_heads, takes_skip=index > middle)
            for index in range(config.depth)
        )
        cos, sin = rope_tables(config.hidden_dim // config.num_heads, config.max_frames)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.fused: frozenset[str] = frozenset()

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, rows: Rows, kept: Tensor) -> Tensor:
        """x [B, T, C] to the outputs of frames `kept` [B, W], [B, W, C].

        scale and shift [B, 2 depth + 1, C] are the modulation of each norm in order of use. The last block attends to
        every frame but computes queries for the kept ones alone.
        """
        rope = (self.cos, self.sin)
        pushed: list[Tensor] = []
        last, one = len(self.blocks) - 1, "norm" in self.fused
        y: Tensor | None = None

        def modulation(index: int) -> tuple[Tensor, Tensor]:
            return scale[:, index], shift[:, index]

        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if index > self.middle:
                assert y is not None
                x, y = block.join(x, y, pushed.pop()), None
            x, normal = fused.norm(x, y, modulation(2 * index), NORM_EPS, fused=one)
            if 0 < index <= self.middle:
                pushed.append(x)
            x, y = block(x, normal, modulation(2 * index + 1), rope, rows, kept if index == last else None)
        return fused.norm(x, y, modulation(2 * last + 2), NORM_EPS, fused=one)[1]


def convert_transformer(official: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """State of Transformer from the keys under estimator.transformer; norms go to the schedule.

    Official rotary pairs are neighbours (2i, 2i + 1); ours are halves apart, so the rows of q and k are put
    in that order here, which changes no score. Raises KeyError naming a missing key.
    """
    state: dict[str, Tensor] = {}
    layers = sorted({int(key.split(".")[1]) for key in official if key.startswith("layers.")})
    for layer in layers:
        theirs, ours = f"layers.{layer}.", f"blocks.{layer}."
        q, k, v = official[theirs + "attention.wqkv.weight"].chunk(3)
        state[ours + "qkv.weight"] = torch.cat([_halves(q, heads), _halves(k, heads), v])
        state[ours + "out.weight"] = official[theirs + "attention.wo.weight"]
        state[ours + "gate_up.weight"] = torch.cat(
            [official[theirs + "feed_forward.w1.weight"], official[theirs + "feed_forward.w3.weight"]]
        )
        state[ours + "down.weight"] = official[theirs + "feed_forward.w2.weight"]
        if layer > len(layers) // 2:
            state[ours + "skip.weight"] = official[theirs + "skip_in_linear.weight"]
            state[ours + "skip.bias"] = official[theirs + "skip_in_linear.bias"]
    return state


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of each head from (0, 1, 2, 3, ..) to (0, 2, .., 1, 3, ..)."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)
