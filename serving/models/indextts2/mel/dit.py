"""The transformer of the velocity estimator.

Frames are the second axis throughout: [B, T, C]. Rows may be ragged; a key mask keeps padding out of the live
frames. Time enters by modulation alone, so every modulation vector is tabulated once per Euler time
(serving.models.indextts2.mel.schedule) and rows at different times share a batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import DiTConfig

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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + half) of x [B, T, H, D] by the angles of cos and sin, [.., T, 1, D / 2]
    float32."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


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

    def forward(
        self,
        x: Tensor,
        attention_norm: tuple[Tensor, Tensor],
        mlp_norm: tuple[Tensor, Tensor],
        rope: tuple[Tensor, Tensor],
        mask: Tensor | None,
        kept: Tensor | None,
    ) -> Tensor:
        """Run B rows of T frames, x [B, T, C], or [B, T, 2 C] with the skip beside it.

        `kept` [B, W] names the only frames whose outputs are wanted, if not
        all."""
        if self.skip is not None:
            x = self.skip(x)
        batch, width, dim = x.shape
        q, k, v = self.qkv(modulated_norm(x, attention_norm)).view(batch, width, 3, self.heads, -1).unbind(2)
        cos, sin = rope
        k = rotate(k, cos[:, None], sin[:, None])
        if kept is None:
            q = rotate(q, cos[:, None], sin[:, None])
        else:
            q = rotate(take_frames(q, kept), cos[kept][:, :, None], sin[kept][:, :, None])
            x = take_frames(x, kept)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )
        x = x + self.out(y.transpose(1, 2).reshape(batch, -1, dim))
        gate, up = self.gate_up(modulated_norm(x, mlp_norm)).chunk(2, dim=-1)
        result: Tensor = x + self.down(F.silu(gate) * up)
        return result


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

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, mask: Tensor | None, kept: Tensor) -> Tensor:
        """x [B, T, C] to the outputs of frames `kept` [B, W], [B, W, C].

        scale and shift [B, 2 depth + 1, C] are the modulation of each norm in order of use. `mask` is bool
        [B, 1, 1, T], true for live frames, or None if all are. The last block attends to every frame but
        computes queries for the kept ones alone.
        """
        rope = (self.cos[: x.shape[1]], self.sin[: x.shape[1]])
        pushed: list[Tensor] = []
        last = len(self.blocks) - 1

        def norm(index: int) -> tuple[Tensor, Tensor]:
            return scale[:, index, None], shift[:, index, None]

        for index, block in enumerate(self.blocks):
            if index > self.middle:
                x = torch.cat([x, pushed.pop()], dim=-1)
            x = block(x, norm(2 * index), norm(2 * index + 1), rope, mask, kept if index == last else None)
            if index < self.middle:
                pushed.append(x)
        return modulated_norm(x, norm(2 * last + 2))


def modulated_norm(x: Tensor, modulation: tuple[Tensor, Tensor]) -> Tensor:
    """scale * rms_norm(x) + shift. The scale multiplies as it is: there is no one added to it."""
    scale, shift = modulation
    return F.rms_norm(x, (x.shape[-1],), eps=NORM_EPS) * scale + shift


def take_frames(x: Tensor, frames: Tensor) -> Tensor:
    """Frames [B, W] of x [B, T, ..], [B, W, ..]."""
    return x[torch.arange(len(x), device=x.device)[:, None], frames]


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
