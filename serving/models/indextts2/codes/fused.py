"""What surrounds the layers of a decode step, as one Triton kernel each on CUDA; the plain forms are in decoding.py and
gpt.py. The kernels are operators, so that a compiler and a trace without values take them as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("indextts2::embed", mutates_args=())
def embed(
    slots: Tensor, counts: Tensor, codes: Tensor, code_table: Tensor, position_table: Tensor, ahead: int
) -> Tensor:
    """Vectors [R, D] of the last code of each slot, at the position of its count plus `ahead`."""
    from serving.models.indextts2.codes.sampling_triton import embed_triton

    return embed_triton(slots, counts, codes, code_table, position_table, ahead)


@embed.register_fake
def _(
    slots: Tensor, counts: Tensor, codes: Tensor, code_table: Tensor, position_table: Tensor, ahead: int
) -> Tensor:
    return code_table.new_empty(len(slots), code_table.shape[1])


@torch.library.custom_op("indextts2::draw", mutates_args=("seen", "codes", "counts"))
def draw(
    logits: Tensor,
    slots: Tensor,
    seen: Tensor,
    codes: Tensor,
    counts: Tensor,
    settings: list[Tensor],
    stop: int,
) -> Tensor:
    """Draw a code for each row from its logits [R, V], and record it in seen, codes and counts; int64 [R].

    `settings` of all slots, in this order: seed, top_k, min_codes, code_limit, temperature, top_p, penalty.
    """
    from serving.models.indextts2.codes.sampling_triton import draw_triton

    return draw_triton(logits, slots, seen, codes, counts, settings, stop)


@draw.register_fake
def _(
    logits: Tensor,
    slots: Tensor,
    seen: Tensor,
    codes: Tensor,
    counts: Tensor,
    settings: list[Tensor],
    stop: int,
) -> Tensor:
    return slots.new_empty(len(slots))


@torch.library.custom_op("indextts2::attend_and_write", mutates_args=("keys", "values"))
def attend_and_write(
    qkv: Tensor, keys: Tensor, values: Tensor, slots: Tensor, lengths: Tensor, span: int
) -> Tensor:
    """Write the key and the value of qkv [R, 3, H, D] to cell lengths[r] - 1 of row slots[r], then attend.

    As attention.decode_attention after CodeCache.write. Returns [R, H, D].
    """
    from serving.models.indextts2.codes.attention_triton import decode_attention_triton

    return decode_attention_triton(qkv, keys, values, slots, lengths, span, writes=True)


@attend_and_write.register_fake
def _(qkv: Tensor, keys: Tensor, values: Tensor, slots: Tensor, lengths: Tensor, span: int) -> Tensor:
    return qkv.new_empty(qkv.shape[0], *qkv.shape[2:])


@torch.library.custom_op("indextts2::linear", mutates_args=())
def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    offset: Tensor | None,
    eps: float,
    residual: Tensor | None,
    gelu: bool,
) -> Tensor:
    """residual + gelu(layer_norm(x) weight^T + bias); each but the product if asked for. At most MAX_ROWS rows.

    x [R, K], weight [N, K], gain and offset [K] of the norm, residual [R, N]. gelu is the approximation by tanh.
    """
    from serving.models.indextts2.codes.linear_triton import linear_triton

    norm = None if gain is None or offset is None else (gain, offset)
    return linear_triton(x, weight, bias, norm, residual, eps, gelu=gelu)


@linear.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    offset: Tensor | None,
    eps: float,
    residual: Tensor | None,
    gelu: bool,
) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])
