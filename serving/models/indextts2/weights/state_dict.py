"""Tools between official checkpoints and our modules' state: names, shapes, weight norm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class CheckpointError(ValueError):
    """A checkpoint file is absent or does not hold what the model needs; names the file, keys and shapes."""


def take(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under `prefix`, without it. Raises CheckpointError when there are none."""
    taken = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not taken:
        raise CheckpointError(f"no key begins with {prefix!r}")
    return taken


def drop(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The entries whose name is none of `names`, begins with none that ends in "." and ends in none that
    begins with "."."""
    exact = {name for name in names if not name.startswith(".") and not name.endswith(".")}
    heads = tuple(name for name in names if name.endswith("."))
    tails = tuple(name for name in names if name.startswith("."))
    return {
        name: value
        for name, value in state.items()
        if name not in exact and not name.startswith(heads) and not name.endswith(tails)
    }


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each pair weight_g, weight_v by weight = g v / |v|, computed in float32.

    The norm is over all dimensions but the first (torch.nn.utils.weight_norm at dim 0). The parametrised
    names of newer torch (parametrizations.weight.original0 and 1) mean the same. Raises CheckpointError for a
    gain without its direction or the reverse.
    """
    spellings = (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    )
    folded = dict(state)
    for gain_name, direction_name in spellings:
        gains = {name.removesuffix(gain_name) for name in folded if name.endswith(gain_name)}
        directions = {name.removesuffix(direction_name) for name in folded if name.endswith(direction_name)}
        if gains != directions:
            raise CheckpointError(
                f"weight norm without its other half: {', '.join(sorted(gains ^ directions))}"
            )
        for prefix in gains:
            gain = folded.pop(prefix + gain_name).float()
            direction = folded.pop(prefix + direction_name).float()
            norm = torch.linalg.vector_norm(direction.flatten(1), dim=1).reshape(
                -1, *[1] * (direction.dim() - 1)
            )
            folded[prefix + "weight"] = gain.reshape_as(norm) * direction / norm
    return folded


def rename(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace the first matching name prefix of each entry by its value in `names`; other entries stay."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for theirs, ours in names.items():
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
                break
        renamed[name] = value
    return renamed


def load(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Make `state` the parameters and buffers of `module`, without a copy where the module is on "meta".

    Raises CheckpointError that names `what` and every missing, unknown and misshapen entry.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    unknown = sorted(state.keys() - wanted.keys())
    misshapen = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    problems = [
        f"{kind}: {', '.join(names)}"
        for kind, names in (("missing", missing), ("unknown", unknown), ("wrong shape", misshapen))
        if names
    ]
    if problems:
        raise CheckpointError(f"{what}: " + "; ".join(problems))
    module.load_state_dict(dict(state), strict=True, assign=True)
