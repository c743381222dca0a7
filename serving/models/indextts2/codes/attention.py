"""Attention of the code model over its slot-resident cache.

Cache tensors are [rows, heads, cells, head_dim]; a batch names its rows in `slots`, so rows need not be
neighbours and nothing is copied when a segment joins or leaves.

Decoding reads one query per row against that row's live keys only. Fused, a split-KV Triton kernel does it
(serving.models.indextts2.codes.attention_triton); on the CPU each row attends to a view of its own live cells; in plain
torch on CUDA, whose host may not know the lengths, all cells up to a bound are read and masked.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def extend_attention(
    q: Tensor, keys: Tensor, values: Tensor, slots: Tensor, starts: Tensor, span: int
) -> Tensor:
    """Attend M new tokens of each row to everything cached before them and to themselves.

    q [R, H, M, D] holds the tokens at cells starts[r] .. starts[r] + M - 1, whose keys are already in the
    cache; `span` is a static bound on the live cells of every row. Returns [R, H, M, D].
    """
    cells = torch.arange(span, device=q.device)
    last_visible = starts[:, None] + torch.arange(q.shape[2], device=q.device)
    mask = cells <= last_visible[:, None, :, None]
    return F.scaled_dot_product_attention(q, keys[slots, :, :span], values[slots, :, :span], attn_mask=mask)


def decode_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: Tensor,
    lengths: Tensor,
    span: int,
    *,
    fused: bool = False,
) -> Tensor:
    """softmax(q k / sqrt(D)) v over cells 0 .. lengths[r] - 1 of row slots[r]; q [R, H, D], returns [R, H, D].

    `lengths` (int64 [R], at least 1) lives on the device of q; `span` bounds it and fixes the launch grid.
    """
    if q.is_cuda and not fused:
        return extend_attention(q[:, :, None], keys, values, slots, lengths - 1, span)[:, :, 0]
    if q.is_cuda or torch.compiler.is_compiling():
        y: Tensor = _opaque(q, keys, values, slots, lengths, span)
        return y
    # On the CPU not through the operator: its first call would import the whole compiler.
    return _attend(q, keys, values, slots, lengths, span)


def _attend(q: Tensor, keys: Tensor, values: Tensor, slots: Tensor, lengths: Tensor, span: int) -> Tensor:
    if q.is_cuda:
        from serving.models.indextts2.codes.attention_triton import decode_attention_triton

        return decode_attention_triton(q, keys, values, slots, lengths, span)
    rows = [
        F.scaled_dot_product_attention(
            q[row, None, :, None], keys[slot, None, :, :length], values[slot, None, :, :length]
        )[0, :, 0]
        for row, (slot, length) in enumerate(zip(slots.tolist(), lengths.tolist(), strict=True))
    ]
    return torch.stack(rows)


_opaque = torch.library.custom_op("indextts2::decode_attention", _attend, mutates_args=())
"""The same as one operator that a compiler does not look into."""


@_opaque.register_fake
def _(q: Tensor, keys: Tensor, values: Tensor, slots: Tensor, lengths: Tensor, span: int) -> Tensor:
    return torch.empty_like(q)
