"""Everything in the velocity estimator that depends on time alone, tabulated per Euler time.

The Euler times are fixed, so the time embeddings, the modulation of every norm, the WaveNet's condition and
the final layer's shift and scale are computed once, in float32, and looked up per row afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import S2MelConfig

_TIME_SCALE = 1000.0
_MAX_PERIOD = 10_000.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tables over S Euler times. Rows of a batch look up their own time, so S shapes no batch."""

    widths: Tensor
    """dt of each Euler iteration, float32 [S]."""
    norm_scale: Tensor
    """[S, 2 depth + 1, C]: per transformer norm in order of use, the final one last."""
    norm_shift: Tensor
    condition: Tensor
    """WaveNet condition of each layer, [S, layers, 2 C]."""
    final_shift: Tensor
    """[S, C]."""
    final_scale: Tensor
    """[S, C], its one added already."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Schedule:
        """The tables on a device, in the dtype of the activations; the widths stay float32."""
        return Schedule(
            self.widths.to(device),
            *(
                table.to(device, dtype)
                for table in (
                    self.norm_scale,
                    self.norm_shift,
                    self.condition,
                    self.final_shift,
                    self.final_scale,
                )
            ),
        )


def euler_times(iterations: int) -> tuple[Tensor, Tensor]:
    """Times and widths of uniform Euler iterations from 0 to 1, float32 [iterations] each.

    Time accumulates by addition, as upstream does it, so the last times carry its rounding.
    """
    ends = torch.linspace(0, 1, iterations + 1)
    widths = ends[1:] - ends[:-1]
    times = [ends[0]]
    for width in widths[:-1]:
        times.append(times[-1] + width)
    return torch.stack(times), widths


def time_features(times: Tensor, width: int = 256) -> Tensor:
    """Sinusoids of 1000 t: cosines first, then sines; float32 [S, width]."""
    half = width // 2
    rates = torch.exp(-math.log(_MAX_PERIOD) * torch.arange(half, dtype=torch.float32) / half)
    angles = _TIME_SCALE * times[:, None] * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class TimeModulation(nn.Module):
    """The layers that turn a time into modulation. They stay in float32 and run once per schedule."""

    def __init__(self, config: S2MelConfig) -> None:
        super().__init__()
        dim, wave_dim = config.dit.hidden_dim, config.wavenet.hidden_dim
        self.frequency_dim = config.dit.frequency_dim
        self.layers = config.wavenet.num_layers
        self.block_time = _time_mlp(config.dit.frequency_dim, dim)
        self.wavenet_time = _time_mlp(config.dit.frequency_dim, wave_dim)
        self.norms = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(2 * config.dit.depth + 1))
        """Scale, then shift; the norm's own gain is folded into the scale."""
        self.condition = nn.Linear(wave_dim, 2 * wave_dim * self.layers)
        self.final = nn.Linear(dim, 2 * dim)

    def schedule(self, iterations: int) -> Schedule:
        """Tabulate `iterations` uniform Euler iterations."""
        times, widths = euler_times(iterations)
        features = time_features(times, self.frequency_dim).to(self.final.weight.device)
        block_time, wavenet_time = self.block_time(features), self.wavenet_time(features)
        norm_scale, norm_shift = torch.stack([norm(block_time) for norm in self.norms], dim=1).chunk(
            2, dim=-1
        )
        final_shift, final_scale = self.final(F.silu(block_time)).chunk(2, dim=-1)
        return Schedule(
            widths=widths.to(features.device),
            norm_scale=norm_scale.contiguous(),
            norm_shift=norm_shift.contiguous(),
            condition=self.condition(wavenet_time).view(iterations, self.layers, -1),
            final_shift=final_shift.contiguous(),
            final_scale=final_scale + 1.0,
        )


def _time_mlp(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim))


def convert_time(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of TimeModulation from the keys under cfm.estimator, weight norm folded. KeyError names a
    missing key."""
    state: dict[str, Tensor] = {}
    for theirs, ours in (("t_embedder", "block_time"), ("t_embedder2", "wavenet_time")):
        for layer in ("0", "2"):
            for part in ("weight", "bias"):
                state[f"{ours}.{layer}.{part}"] = official[f"{theirs}.mlp.{layer}.{part}"]
    depth = 1 + max(int(key.split(".")[2]) for key in official if key.startswith("transformer.layers."))
    norms = [
        f"transformer.layers.{layer}.{norm}"
        for layer in range(depth)
        for norm in ("attention_norm", "ffn_norm")
    ]
    for index, norm in enumerate((*norms, "transformer.norm")):
        gain = official[f"{norm}.norm.weight"]
        gains = torch.cat([gain, torch.ones_like(gain)])
        state[f"norms.{index}.weight"] = official[f"{norm}.project_layer.weight"] * gains[:, None]
        state[f"norms.{index}.bias"] = official[f"{norm}.project_layer.bias"] * gains
    state["condition.weight"] = official["wavenet.cond_layer.conv.conv.weight"][:, :, 0]
    state["condition.bias"] = official["wavenet.cond_layer.conv.conv.bias"]
    state["final.weight"] = official["final_layer.adaLN_modulation.1.weight"]
    state["final.bias"] = official["final_layer.adaLN_modulation.1.bias"]
    return state
