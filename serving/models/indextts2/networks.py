"""The interfaces of the three networks that every window passes. backend.py chooses what computes them.

Shapes: R rows of a batch, D model_dim, V number_mel_codes, T frames, C hidden width, M mel bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from serving.models.indextts2.config import BigVganConfig, GptConfig, S2MelConfig

if TYPE_CHECKING:
    from serving.models.indextts2.codes.gpt import CodeCache
    from serving.models.indextts2.mel.schedule import Schedule


class CodeModel(Protocol):
    """Text and voice to codes: codes.gpt.Gpt, or codes.cpu.gpt.CpuGpt. The shapes are told in Gpt."""

    @property
    def config(self) -> GptConfig: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of vectors, states and the cache."""
        ...

    def prefix(
        self, latents: Tensor, emovec: Tensor, text: Tensor, text_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Vectors of voice, text and start code, and how many are live."""
        ...

    def embed_codes(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Vectors of codes at code positions."""
        ...

    def extend(
        self,
        vectors: Tensor,
        lengths: Tensor,
        slots: Tensor,
        cache: CodeCache,
        starts: Tensor | None = None,
        span: int = 0,
    ) -> Tensor:
        """Final states of several vectors a row, whose keys and values go into the cache."""
        ...

    def decode(self, vectors: Tensor, slots: Tensor, lengths: Tensor, cache: CodeCache, span: int) -> Tensor:
        """Final states of one vector a row."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """float32 logits [.., V] of states [.., D]."""
        ...


class VelocityEstimator(Protocol):
    """The velocity of the flow: mel.estimator.Estimator, or mel.cpu.estimator.CpuEstimator."""

    @property
    def config(self) -> S2MelConfig: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of activations, of constant() and of the schedule's tables."""
        ...

    @property
    def reach(self) -> int:
        """Frames before a kept one that its velocity depends on, past the transformer."""
        ...

    def schedule(self, iterations: int) -> Schedule:
        """Everything that depends on time alone, for `iterations` uniform Euler iterations."""
        ...

    def constant(self, prompt_mel: Tensor, mu: Tensor, style: Tensor) -> Tensor:
        """The share of the merge layer that is the same at every iteration, [R, T, C]."""
        ...

    def __call__(
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
        """Guided velocity [R, W, M] at frames `kept` [R, W]; see Estimator.forward."""
        ...


class MelVocoder(Protocol):
    """Mel to samples: wave.vocoder.Vocoder, or wave.cpu.vocoder.CpuVocoder."""

    @property
    def config(self) -> BigVganConfig: ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the mel that it takes and the samples that it makes."""
        ...

    def __call__(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Samples [R, T * hop] in [-1, 1] of mel [R, M, T], whose live frames are lengths [R]; None: all are."""
        ...
