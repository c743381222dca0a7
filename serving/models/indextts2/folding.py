"""Weight norm, folded away."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def fold_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each pair weight_g, weight_v by weight = g v / |v|, in float32, the norm over all axes but the first.

    Other tensors pass unchanged. Raises KeyError naming a weight_v without its weight_g.
    """
    folded: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.endswith("weight_v"):
            gain, direction = tensors[key.removesuffix("v") + "g"].float(), tensor.float()
            axes = tuple(range(1, direction.dim()))
            norm = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
            folded[key.removesuffix("_v")] = direction * (gain / norm)
        elif not key.endswith("weight_g"):
            folded[key] = tensor
    return folded
