"""Drawing the next code, on the device and without a host sync.

Processors run in the order of the official sampler: repetition penalty, temperature, top-k, top-p. The draw
itself is a Gumbel race whose noise is a hash of (seed, index, code), so a row's draw depends on nothing but
its own seed, its own count of codes and its own logits: neither on its neighbours nor on its place in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from serving.models.indextts2.noise import uniform

MAX_TOP_K = 128
"""Candidates that are sorted; top_k may not pass it. The official default is 30."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one request draws its codes. The defaults are the official ones, without beams."""

    temperature: float = 0.8
    top_k: int = 30
    top_p: float = 0.8
    repetition_penalty: float = 10.0
    seed: int = 0
    max_codes: int = 1500
    min_codes: int = 0
    """The stop code is not drawn before this many codes; with min_codes == max_codes the count is forced."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the field that is out of range."""
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise ValueError(f"top_k must be in 1..{MAX_TOP_K}, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
        if not self.max_codes >= 1:
            raise ValueError(f"max_codes must be at least 1, not {self.max_codes}")
        if not 0 <= self.min_codes <= self.max_codes:
            raise ValueError(f"min_codes must be in 0..max_codes ({self.max_codes}), not {self.min_codes}")


def setting_rows(settings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """Settings as tensors: seed, top_k, min_codes, max_codes int64 [R, 4]; temperature, top_p,
    repetition_penalty float32 [R, 3]."""
    whole = [(s.seed, s.top_k, s.min_codes, s.max_codes) for s in settings]
    real = [(s.temperature, s.top_p, s.repetition_penalty) for s in settings]
    return torch.tensor(whole, dtype=torch.int64), torch.tensor(real, dtype=torch.float32)


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Divide the positive and multiply the negative logits [R, V] of `seen` (bool [R, V]) codes by penalty
    [R, 1]."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def draw(
    logits: Tensor,
    *,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    seed: Tensor,
    index: Tensor,
) -> Tensor:
    """Draw one code for each row of float32 logits [R, V] that penalise() has seen; returns int64 [R].

    All settings are [R]; temperature and top_p float32, the rest int64. top_k == 1 is the argmax.
    """
    scores, codes = candidates(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    gumbel = -torch.log(-torch.log(uniform(seed[:, None], index[:, None], codes)))
    return codes.gather(1, (scores + gumbel).argmax(dim=1, keepdim=True))[:, 0]


def candidates(logits: Tensor, *, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    """The codes that may be drawn, best first: scores [R, K] (-inf where filtered out) and codes [R, K].

    A code stays if fewer than top_k codes are above it and the probability of those above it, among the
    top_k, is below top_p; the best always stays.
    """
    scores, codes = torch.topk(logits / temperature[:, None], min(MAX_TOP_K, logits.shape[1]), dim=1)
    rank = torch.arange(scores.shape[1], device=scores.device)
    scores = scores.masked_fill(rank >= top_k[:, None], -torch.inf)
    probability = torch.softmax(scores, dim=1)
    above = probability.cumsum(dim=1) - probability
    return scores.masked_fill((above >= top_p[:, None]) & (rank > 0), -torch.inf), codes
