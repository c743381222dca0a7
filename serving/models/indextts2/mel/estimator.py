"""The velocity estimator of the flow. What upstream computes at every Euler iteration and need not is computed once:

- the merge layer of [x, prompt mel, mu, style] is linear, so all but x becomes one constant per frame;
- the unconditioned row is one constant vector for every request;
- everything that depends on time alone is tabulated (schedule.py), so rows at different times share a batch;
- velocities of prompt frames are thrown away, so the last block's queries and the WaveNet tail run on the
  target and the few prompt frames within the WaveNet's reach.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from serving.models.indextts2.config import S2MelConfig
from serving.models.indextts2.mel.dit import Block, Rows, Transformer, convert_transformer
from serving.models.indextts2.mel.fused import norm, take_frames
from serving.models.indextts2.mel.schedule import Schedule, TimeModulation, convert_time
from serving.models.indextts2.mel.wavenet import WaveNet, convert_wavenet
from serving.models.indextts2.weights.state_dict import fold_weight_norm, take

FINAL_NORM_EPS = 1e-6


class Estimator(nn.Module):
    """The velocity of a flow. Shapes: B rows, T frames, C hidden width, M mel bins."""

    def __init__(self, config: S2MelConfig) -> None:
        super().__init__()
        dim, wave_dim, mels = config.dit.hidden_dim, config.wavenet.hidden_dim, config.dit.in_channels
        self.config = config
        self.merge_x = nn.Linear(mels, dim, bias=False)
        self.merge_prompt = nn.Linear(mels, dim, bias=False)
        self.merge_mu = nn.Linear(config.dit.content_dim, dim)
        """The condition's projection and its share of the merge, biases of both included."""
        self.merge_style = nn.Linear(config.style_dim, dim, bias=False)
        self.time = TimeModulation(config)
        self.transformer = Transformer(config.dit)
        self.join_hidden = nn.Linear(dim, dim)
        self.join_x = nn.Linear(mels, dim, bias=False)
        self.wavenet_in = nn.Linear(dim, wave_dim)
        self.wavenet_around = nn.Linear(dim, wave_dim)
        self.wavenet = WaveNet(config.wavenet)
        self.final = nn.Linear(wave_dim, wave_dim)
        self.mel_out = nn.Linear(wave_dim, mels)
        self.fused: frozenset[str] = frozenset()

    def fuse(self, parts: frozenset[str]) -> Estimator:
        """Let these parts be one kernel each: of "norm", "attention", "swiglu" and "wavenet". Returns self."""
        for module in self.modules():
            if isinstance(module, Estimator | Transformer | Block | WaveNet):
                module.fused = parts
        return self

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that activations run in."""
        return self.merge_mu.weight.dtype

    def cast(self, dtype: torch.dtype) -> Estimator:
        """Store the weights in dtype, but for those of time; the rotary table stays float32. Returns self."""
        kept = set(self.time.parameters())
        for parameter in self.parameters():
            if parameter not in kept:
                parameter.data = parameter.data.to(dtype)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.merge_mu.weight.device

    @property
    def reach(self) -> int:
        """Frames before a kept one that its velocity depends on, past the transformer."""
        return self.wavenet.reach

    def schedule(self, iterations: int) -> Schedule:
        """Everything that depends on time alone, for `iterations` uniform Euler iterations."""
        return self.time.schedule(iterations)

    @property
    def window_merge(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """The layers of merge_window: of the prompt, of the condition, of the style."""
        return self.merge_prompt, self.merge_mu, self.merge_style

    def constant(self, prompt_mel: Tensor, mu: Tensor, style: Tensor) -> Tensor:
        """The share of the merge layer that is the same at every iteration; see merge_window."""
        return merge_window(self.window_merge, prompt_mel, mu, style)

    @property
    def unconditioned(self) -> Tensor:
        """The value of constant() for zero prompt, mu and style: one vector [C]."""
        return self.merge_mu.bias

    def forward(
        self,
        x: Tensor,
        constant: Tensor,
        modulation: Schedule,
        lengths: Tensor,
        kept: Tensor,
        kept_lengths: Tensor,
        *,
        guidance: float,
        ragged: bool,
    ) -> Tensor:
        """Guided velocity at frames `kept`.

        x [R, T, M]; constant [R, T, C]; modulation looked up per row; lengths int64 [R]; kept int64 [R, W],
        consecutive frames of which kept_lengths [R] are live. With `ragged` False every row is T long and no
        mask is used. Returns [R, W, M]; the first wavenet.reach frames of a row that does not begin at frame
        0 are not valid.
        """
        width = x.shape[1]
        merged_x = self.merge_x(x)
        h = (
            torch.cat([merged_x + constant, merged_x + self.unconditioned])
            if guidance
            else merged_x + constant
        )
        copies = 2 if guidance else 1

        def both(t: Tensor) -> Tensor:
            return t.repeat(copies, *[1] * (t.dim() - 1))

        all_lengths, mask = both(lengths), None
        if ragged and "attention" not in self.fused:
            mask = (torch.arange(width, device=x.device) < all_lengths[:, None])[:, None, None]
        rows, kept_frames = Rows(all_lengths, mask), both(kept)
        h = self.transformer(h, both(modulation.norm_scale), both(modulation.norm_shift), rows, kept_frames)
        joined = self.join_hidden(h) + both(self.join_x(take_frames(x, kept)))
        wave = self.wavenet(self.wavenet_in(joined), both(modulation.condition), both(kept_lengths))
        of_final = (both(modulation.final_scale), both(modulation.final_shift))
        _, normal = norm(
            wave,
            self.wavenet_around(joined),
            of_final,
            FINAL_NORM_EPS,
            centred=True,
            fused="norm" in self.fused,
        )
        velocity: Tensor = self.mel_out(self.final(normal))
        if not guidance:
            return velocity
        guided, free = velocity.chunk(2)
        return (1.0 + guidance) * guided - guidance * free


def merge_window(
    layers: tuple[nn.Linear, nn.Linear, nn.Linear], prompt_mel: Tensor, mu: Tensor, style: Tensor
) -> Tensor:
    """The share of the merge layer that is the same at every iteration of a window.

    `layers` are Estimator.window_merge; prompt_mel [B, T, M], zero past the prompt; mu [B, T, content];
    style [B, style]. Returns [B, T, C].
    """
    of_prompt, of_mu, of_style = layers
    merged: Tensor = of_prompt(prompt_mel) + of_mu(mu) + of_style(style)[:, None]
    return merged


def convert(official: Mapping[str, Tensor], config: S2MelConfig) -> dict[str, Tensor]:
    """State of Estimator from s2mel.pth's net.cfm (keys begin with estimator.).

    Raises KeyError naming a key that is missing from the checkpoint.
    """
    theirs = fold_weight_norm(take(official, "estimator."))
    mels, dim, style = config.dit.in_channels, config.dit.hidden_dim, config.style_dim
    merge = theirs["cond_x_merge_linear.weight"].float()
    merge_x, merge_prompt, merge_mu, merge_style = torch.split(merge, [mels, mels, dim, style], dim=1)
    join_hidden, join_x = torch.split(theirs["skip_linear.weight"], [dim, mels], dim=1)
    state = {
        "merge_x.weight": merge_x,
        "merge_prompt.weight": merge_prompt,
        "merge_mu.weight": merge_mu @ theirs["cond_projection.weight"].float(),
        "merge_mu.bias": merge_mu @ theirs["cond_projection.bias"].float()
        + theirs["cond_x_merge_linear.bias"],
        "merge_style.weight": merge_style,
        "join_hidden.weight": join_hidden,
        "join_hidden.bias": theirs["skip_linear.bias"],
        "join_x.weight": join_x,
        "wavenet_in.weight": theirs["conv1.weight"],
        "wavenet_in.bias": theirs["conv1.bias"],
        "wavenet_around.weight": theirs["res_projection.weight"],
        "wavenet_around.bias": theirs["res_projection.bias"],
        "final.weight": theirs["final_layer.linear.weight"],
        "final.bias": theirs["final_layer.linear.bias"],
        "mel_out.weight": theirs["conv2.weight"][:, :, 0],
        "mel_out.bias": theirs["conv2.bias"],
    }
    parts = {
        "time.": convert_time(theirs),
        "transformer.": convert_transformer(take(theirs, "transformer."), config.dit.num_heads),
        "wavenet.": convert_wavenet(take(theirs, "wavenet.")),
    }
    for prefix, part in parts.items():
        state.update({prefix + key: tensor for key, tensor in part.items()})
    return {key: tensor.contiguous() for key, tensor in state.items()}
