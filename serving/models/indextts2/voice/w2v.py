"""w2v-bert-2.0 up to the layer whose output conditions speech: 17 of 24 conformer layers.

Layers that follow are not built. Nothing here draws random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import W2vBertConfig
from serving.models.indextts2.weights.state_dict import CheckpointError


class FeedForward(nn.Module):
    """LayerNorm, Linear, SiLU, Linear."""

    def __init__(self, dim: int, inner: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.inner = nn.Linear(dim, inner)
        self.outer = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outer(F.silu(self.inner(self.norm(x))))
        return y


class Attention(nn.Module):
    """Self-attention whose scores add q . e(clamped distance), both scaled by 1 / sqrt(head width)."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.heads = config.num_attention_heads
        self.left, self.right = config.left_max_position_embeddings, config.right_max_position_embeddings
        self.norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.distance = nn.Embedding(self.left + self.right + 1, dim // self.heads)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, live: Tensor) -> Tensor:
        rows, frames, dim = x.shape
        qkv = self.qkv(self.norm(x)).view(rows, frames, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        place = torch.arange(frames, device=x.device)
        distance = (place[None, :] - place[:, None]).clamp(-self.left, self.right) + self.left
        by_distance = query @ self.distance.weight.T * query.shape[-1] ** -0.5
        bias = by_distance.gather(-1, distance.expand(rows, self.heads, -1, -1))
        bias = bias.masked_fill(~live[:, None, None, :], -torch.inf)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, frames, dim))
        return y


class Convolution(nn.Module):
    """Gated causal depthwise convolution."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.gated = nn.Linear(dim, 2 * dim, bias=False)
        self.depthwise = nn.Conv1d(dim, dim, config.conv_depthwise_kernel_size, groups=dim, bias=False)
        self.depthwise_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, live: Tensor) -> Tensor:
        x = F.glu(self.gated(self.norm(x) * live[..., None]), dim=-1)
        x = self.depthwise(F.pad(x.mT, (self.depthwise.kernel_size[0] - 1, 0))).mT
        y: Tensor = self.out(F.silu(self.depthwise_norm(x)))
        return y


class Layer(nn.Module):
    """A conformer layer: half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        dim, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.feed_in = FeedForward(dim, inner, eps)
        self.attention = Attention(config)
        self.convolution = Convolution(config)
        self.feed_out = FeedForward(dim, inner, eps)
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor, live: Tensor) -> Tensor:
        x = x + 0.5 * self.feed_in(x)
        x = x + self.attention(x, live)
        x = x + self.convolution(x, live)
        y: Tensor = self.norm(x + 0.5 * self.feed_out(x))
        return y


class SpeechEncoder(nn.Module):
    """Features of features.encoder_features to normalised hidden states of layer 17."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(config.feature_projection_input_dim, eps=config.layer_norm_eps)
        self.input = nn.Linear(config.feature_projection_input_dim, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(config.hidden_size))
        self.register_buffer("std", torch.ones(config.hidden_size))

    def forward(self, frames: Tensor, live: Tensor) -> Tensor:
        """frames [B, T, 160], live bool [B, T] (False: padding). Returns [B, T, hidden].

        Padded rows come out as the official code leaves them: computed from nothing but live rows.
        """
        x = self.input(self.input_norm(frames)) * live[..., None]
        for layer in self.layers:
            x = layer(x, live)
        hidden: Tensor = (x - self.mean) / self.std
        return hidden


_LAYER_NAMES = {
    "ffn1_layer_norm": "feed_in.norm",
    "ffn1.intermediate_dense": "feed_in.inner",
    "ffn1.output_dense": "feed_in.outer",
    "self_attn_layer_norm": "attention.norm",
    "self_attn.linear_out": "attention.out",
    "self_attn.distance_embedding": "attention.distance",
    "conv_module.layer_norm": "convolution.norm",
    "conv_module.pointwise_conv1": "convolution.gated",
    "conv_module.depthwise_conv": "convolution.depthwise",
    "conv_module.depthwise_layer_norm": "convolution.depthwise_norm",
    "conv_module.pointwise_conv2": "convolution.out",
    "ffn2_layer_norm": "feed_out.norm",
    "ffn2.intermediate_dense": "feed_out.inner",
    "ffn2.output_dense": "feed_out.outer",
    "final_layer_norm": "norm",
}


def convert(
    official: Mapping[str, Tensor], stats: Mapping[str, Tensor], config: W2vBertConfig
) -> dict[str, Tensor]:
    """State of SpeechEncoder from w2v-bert-2.0 (names of transformers) and wav2vec2bert_stats.pt.

    Layers past the last that runs, the adapter and the masking vector are passed over. Raises CheckpointError
    for unknown names.
    """
    state = {"mean": stats["mean"].float(), "std": stats["var"].float().sqrt()}
    thirds: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in official.items():
        if name.startswith("feature_projection."):
            tail = name.removeprefix("feature_projection.")
            state[tail.replace("layer_norm", "input_norm").replace("projection", "input")] = value
        elif name.startswith("encoder.layers."):
            index, tail = name.removeprefix("encoder.layers.").split(".", 1)
            if int(index) >= config.num_hidden_layers:
                continue
            module, leaf = tail.rsplit(".", 1)
            if module.startswith("self_attn.linear_") and module[-1] in "qkv":
                thirds.setdefault((index, leaf), {})[module[-1]] = value
            elif module in _LAYER_NAMES:
                if "pointwise" in module:
                    value = value.squeeze(-1)
                state[f"layers.{index}.{_LAYER_NAMES[module]}.{leaf}"] = value
            else:
                raise CheckpointError(f"w2v-bert: unknown name {name}")
        elif not name.startswith(("masked_spec_embed", "adapter.")):
            raise CheckpointError(f"w2v-bert: unknown name {name}")
    for (index, leaf), parts in thirds.items():
        if len(parts) == 3:
            state[f"layers.{index}.attention.qkv.{leaf}"] = torch.cat([parts[part] for part in "qkv"])
    return state
