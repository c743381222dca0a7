"""What lies between the matrix products of the velocity estimator, as one function each.

Each function is its plain torch expression or, where its part is fused, one Triton kernel that reads and writes the
memory once (fused_triton.py, wavenet_triton.py). The kernels are operators, so that a compiler and a trace without
values take them as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def norm(
    x: Tensor,
    y: Tensor | None,
    modulation: tuple[Tensor, Tensor],
    eps: float,
    *,
    centred: bool = False,
    fused: bool = False,
) -> tuple[Tensor, Tensor]:
    """x + y, and scale * normalised(x + y) + shift; x, y [B, T, C], scale and shift [B, C].

    Normalised by the root of the mean square (layer norm without gain if `centred`). The scale multiplies as it is:
    there is no one added to it. Without y the first result is x.
    """
    scale, shift = modulation
    if fused:
        made: list[Tensor] = _norm(x, y, scale, shift, eps, centred)
        return (made[0], made[1]) if y is not None else (x, made[0])
    if y is not None:
        x = x + y
    width = (x.shape[-1],)
    normal = F.layer_norm(x, width, eps=eps) if centred else F.rms_norm(x, width, eps=eps)
    return x, normal * scale[:, None] + shift[:, None]


def attention(
    qkv: Tensor,
    rope: tuple[Tensor, Tensor],
    lengths: Tensor,
    mask: Tensor | None,
    kept: Tensor | None,
    heads: int,
    *,
    fused: bool = False,
) -> Tensor:
    """Rotary attention of B ragged rows; qkv [B, T, 3 C], rope two tables [>= T, D / 2] float32, lengths int64 [B].

    `mask` bool [B, 1, 1, T] says the same as lengths, or is None if every row is T long. `kept` int64 [B, W] names the
    queries that are wanted, if not all. Returns [B, T or W, C]; what is past a row's end means nothing.
    """
    cos, sin = rope
    if fused:
        y: Tensor = _attention(qkv, cos, sin, lengths, kept, heads)
        return y
    batch, width, _ = qkv.shape
    q, k, v = qkv.view(batch, width, 3, heads, -1).unbind(2)
    cos, sin = cos[:width], sin[:width]
    k = rotate(k, cos[:, None], sin[:, None])
    if kept is None:
        q = rotate(q, cos[:, None], sin[:, None])
    else:
        q = rotate(take_frames(q, kept), cos[kept][:, :, None], sin[kept][:, :, None])
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )
    return y.transpose(1, 2).reshape(batch, q.shape[1], -1)


def swiglu(x: Tensor, weight: Tensor, *, fused: bool = False) -> Tensor:
    """silu(x gate^T) * (x up^T) of x [.., C] and weight [2 H, C], gate first; [.., H]."""
    if fused:
        y: Tensor = _swiglu(x, weight)
        return y
    gate, up = F.linear(x, weight).chunk(2, dim=-1)
    return F.silu(gate) * up


def gate(x: Tensor, condition: Tensor, bias: Tensor | None = None, *, fused: bool = False) -> Tensor:
    """tanh(signal) * sigmoid(gate) of x [B, T, 2 C] + condition [B, 2 C] + bias [2 C], signal first; [B, T, C]."""
    if fused:
        y: Tensor = _gate(x, condition, bias)
        return y
    if bias is not None:
        x = x + bias
    signal, opening = (x + condition[:, None]).chunk(2, dim=-1)
    return torch.tanh(signal) * torch.sigmoid(opening)


def wavenet_step(
    x: Tensor,
    outputs: Tensor | None,
    total: Tensor | None,
    lengths: Tensor,
    borders: Tensor | None,
    pad: int,
) -> tuple[Tensor, Tensor | None]:
    """The padded input of a WaveNet layer, [B, pad + T + pad, C], and the sum of the skips so far, [B, T, C].

    Without `outputs`, x [B, T, C] is the first layer's input. Else x is the padded input of the layer before it, and
    outputs [B, T, 2 C] what that layer gave: the residual that is added to x, then the skip that is added to total
    (None: the first). `borders` int64 [B, pad + T + pad] names the frames that the padded input takes; None: each row
    is reflected at its own ends, frame 0 and lengths - 1, by one kernel.
    """
    if borders is None:
        padded, summed = _wavenet_step(x, outputs, total, lengths, pad)
        return padded, None if outputs is None else summed
    if outputs is not None:
        residual, skip = outputs.chunk(2, dim=-1)
        x = x[:, pad:-pad] + residual
        total = skip if total is None else total + skip
    return take_frames(x, borders), total


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + half) of x [B, T, H, D] by the angles of cos and sin, [.., T, 1, D / 2]
    float32."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def take_frames(x: Tensor, frames: Tensor) -> Tensor:
    """Frames [B, W] of x [B, T, ..], [B, W, ..]."""
    return x[torch.arange(len(x), device=x.device)[:, None], frames]


@torch.library.custom_op("indextts2::flow_norm", mutates_args=())
def _norm(
    x: Tensor, y: Tensor | None, scale: Tensor, shift: Tensor, eps: float, centred: bool
) -> list[Tensor]:
    from serving.models.indextts2.mel.fused_triton import norm_triton

    return norm_triton(x, y, scale, shift, eps, centred=centred)


@_norm.register_fake
def _(x: Tensor, y: Tensor | None, scale: Tensor, shift: Tensor, eps: float, centred: bool) -> list[Tensor]:
    return [torch.empty_like(x) for _ in range(1 if y is None else 2)]


@torch.library.custom_op("indextts2::flow_attention", mutates_args=())
def _attention(
    qkv: Tensor, cos: Tensor, sin: Tensor, lengths: Tensor, kept: Tensor | None, heads: int
) -> Tensor:
    from serving.models.indextts2.mel.fused_triton import attention_triton

    return attention_triton(qkv, cos, sin, lengths, kept, heads)


@_attention.register_fake
def _(qkv: Tensor, cos: Tensor, sin: Tensor, lengths: Tensor, kept: Tensor | None, heads: int) -> Tensor:
    wanted = qkv.shape[1] if kept is None else kept.shape[1]
    return qkv.new_empty(qkv.shape[0], wanted, qkv.shape[2] // 3)


@torch.library.custom_op("indextts2::swiglu", mutates_args=())
def _swiglu(x: Tensor, weight: Tensor) -> Tensor:
    from serving.models.indextts2.mel.fused_triton import swiglu_triton

    return swiglu_triton(x, weight)


@_swiglu.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0] // 2)


@torch.library.custom_op("indextts2::wavenet_gate", mutates_args=())
def _gate(x: Tensor, condition: Tensor, bias: Tensor | None) -> Tensor:
    from serving.models.indextts2.mel.wavenet_triton import gate_triton

    return gate_triton(x, condition, bias)


@_gate.register_fake
def _(x: Tensor, condition: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], x.shape[2] // 2)


@torch.library.custom_op("indextts2::wavenet_step", mutates_args=())
def _wavenet_step(
    x: Tensor, outputs: Tensor | None, total: Tensor | None, lengths: Tensor, pad: int
) -> tuple[Tensor, Tensor]:
    from serving.models.indextts2.mel.wavenet_triton import step_triton

    return step_triton(x, outputs, total, lengths, pad)


@_wavenet_step.register_fake
def _(
    x: Tensor, outputs: Tensor | None, total: Tensor | None, lengths: Tensor, pad: int
) -> tuple[Tensor, Tensor]:
    batch, frames, width = x.shape
    if outputs is None:
        return x.new_empty(batch, frames + 2 * pad, width), x.new_empty(batch, 0, width)
    return torch.empty_like(x), x.new_empty(batch, frames - 2 * pad, width)
