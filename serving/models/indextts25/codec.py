"""Codes to semantic frames: the decoder of the codec that comes with 2.5, two frames of 20 ms for each code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.codes.codec import ConvNextBlock
from serving.models.indextts2.config import CodecConfig
from serving.models.indextts2.mel.regulator import MEL_FRAMES, LengthRegulator
from serving.models.indextts2.weights.state_dict import CheckpointError, drop, fold_weight_norm, rename, take
from serving.models.indextts25.options import FASTEST

_EPS = 1e-6
_UNREAD = ("encoder.", "down.", "quantizer.quantizers.0.in_project.")
"""Parts of the codec that make codes of sound, which only training did."""


class SemanticDecoder(nn.Module):
    """Codebook, ConvNeXt blocks, nearest upsampling and a convolution. Ragged rows, each as if it were alone."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim, hidden = config.vocos_dim, config.hidden_size
        self.frames_per_code = config.frames_per_code
        self.embeddings: Tensor
        self.register_buffer("embeddings", torch.zeros(config.codebook_size, hidden))
        """Codebook rows after the output projection: what a code is before the decoder."""
        self.embed = nn.Conv1d(hidden, dim, 7, padding=3)
        self.embed_norm = nn.LayerNorm(dim, eps=_EPS)
        self.blocks = nn.ModuleList(
            ConvNextBlock(dim, config.vocos_intermediate_dim) for _ in range(config.vocos_num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.out = nn.Linear(dim, hidden)
        self.up = nn.Conv1d(hidden, hidden, 3, padding=1)

    def forward(self, codes: Tensor, counts: Tensor) -> Tensor:
        """codes int64 [R, W], of which counts [R] are live; others may be any. Returns [R, 2 W, hidden].

        Convolutions see zeros past a row's end, as they do when it runs alone; what comes out there means nothing.
        """
        live = (torch.arange(codes.shape[1], device=codes.device) < counts[:, None])[..., None]
        x = F.embedding(codes.clamp(max=len(self.embeddings) - 1), self.embeddings) * live
        x = self.embed_norm(self.embed(x.mT).mT)
        for block in self.blocks:
            x = block(x * live)
        x = self.out(self.norm(x)) * live
        x = x.repeat_interleave(self.frames_per_code, dim=1)
        y: Tensor = self.up(x.mT).mT
        return y


@dataclass(frozen=True, slots=True)
class DecodedCodes:
    """The CodeReader of 2.5: codes are decoded, and their latents are not read."""

    decoder: SemanticDecoder
    regulator: LengthRegulator

    def most_codes(self, frames: int) -> int:
        """See serving.models.indextts2.stages.mel.CodeReader: those of the fastest speech."""
        return int((frames + 1) * FASTEST / (self.decoder.frames_per_code * MEL_FRAMES)) + 1

    def semantic(self, codes: Tensor, latents: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """See serving.models.indextts2.stages.mel.CodeReader."""
        return self.decoder(codes, counts), self.decoder.frames_per_code * counts


def convert(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of SemanticDecoder from codec.pth; what makes codes of sound is passed over. Raises CheckpointError."""
    state = drop(official, _UNREAD)
    quantizer = fold_weight_norm(take(state, "quantizer.quantizers.0."))
    own = drop(state, ["quantizer.quantizers.0."])
    if unknown := sorted(name for name in own if not name.startswith(("decoder.", "up."))):
        raise CheckpointError(f"codec.pth: unknown: {', '.join(unknown)}")
    try:
        codebook, projection = quantizer["codebook.weight"].float(), quantizer["out_project.weight"]
        embeddings = codebook @ projection.float().squeeze(-1).T + quantizer["out_project.bias"].float()
    except KeyError as error:
        raise CheckpointError(f"codec.pth: missing: quantizer.quantizers.0.{error.args[0]}") from None
    names = {
        "decoder.0.embed.": "embed.",
        "decoder.0.norm.": "embed_norm.",
        "decoder.0.convnext.": "blocks.",
        "decoder.0.final_layer_norm.": "norm.",
        "decoder.1.": "out.",
    }
    renamed = {
        name.replace("dwconv", "depthwise").replace("pwconv1", "inner").replace("pwconv2", "outer"): value
        for name, value in rename(own, names).items()
    }
    return renamed | {"embeddings": embeddings}
