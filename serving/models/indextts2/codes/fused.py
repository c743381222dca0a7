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
