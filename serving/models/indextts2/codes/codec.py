"""The semantic codec: hidden states of w2v-bert to codes, and codes to embeddings.

Only the encoder and the quantiser of RepCodec (MaskGCT's semantic codec) are used; its decoder is not built.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import CodecConfig
from serving.models.indextts2.weights.state_dict import fold_weight_norm, rename, take

_EPS = 1e-6


class ConvNextBlock(nn.Module):
    """x + gamma * MLP(norm(depthwise(x))) over [B, T, C]."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.inner = nn.Linear(dim, inner)
        self.outer = nn.Linear(inner, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.depthwise(x.mT).mT)
        y = x + self.gamma * self.outer(F.gelu(self.inner(y)))
        return y


class SemanticCodec(nn.Module):
    """Encoder and factorised quantiser."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim, hidden = config.vocos_dim, config.hidden_size
        self.embed = nn.Conv1d(hidden, dim, 7, padding=3)
        self.embed_norm = nn.LayerNorm(dim, eps=_EPS)
        self.blocks = nn.ModuleList(
            ConvNextBlock(dim, config.vocos_intermediate_dim) for _ in range(config.vocos_num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.out = nn.Linear(dim, hidden)
        self.code_in = nn.Linear(hidden, config.codebook_dim)
        self.directions: Tensor
        self.embeddings: Tensor
        self.register_buffer("directions", torch.zeros(config.codebook_size, config.codebook_dim))
        """Codebook rows at unit length, float32."""
        self.register_buffer("embeddings", torch.zeros(config.codebook_size, hidden))
        """Codebook rows, not normalised, after the output projection: a code's embedding is one row."""

    def quantize(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [B, T, 1024] to codes int64 [B, T] and their embeddings [B, T, 1024].

        The code is the row of greatest cosine; compared in float32.
        """
        x = self.embed_norm(self.embed(hidden.mT).mT)
        for block in self.blocks:
            x = block(x)
        latents = self.code_in(self.out(self.norm(x))).float()
        codes = (F.normalize(latents, dim=-1) @ self.directions.T).argmax(-1)
        return codes, self.embed_codes(codes)

    def embed_codes(self, codes: Tensor) -> Tensor:
        """Codes int64 [...] to embeddings [..., 1024]."""
        return F.embedding(codes, self.embeddings)


def convert(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of SemanticCodec from MaskGCT's semantic_codec/model.safetensors; the decoder is passed over."""
    quantizer = fold_weight_norm(take(official, "quantizer.quantizers.0."))
    codebook = quantizer["codebook.weight"].float()
    projection = quantizer["out_project.weight"].squeeze(-1)
    encoder = rename(
        take(official, "encoder."),
        {
            "0.embed.": "embed.",
            "0.norm.": "embed_norm.",
            "0.convnext.": "blocks.",
            "0.final_layer_norm.": "norm.",
            "1.": "out.",
        },
    )
    encoder = {
        name.replace("dwconv", "depthwise").replace("pwconv1", "inner").replace("pwconv2", "outer"): value
        for name, value in encoder.items()
    }
    return encoder | {
        "code_in.weight": quantizer["in_project.weight"].squeeze(-1),
        "code_in.bias": quantizer["in_project.bias"],
        "directions": F.normalize(codebook, dim=-1),
        "embeddings": codebook @ projection.T + quantizer["out_project.bias"],
    }
