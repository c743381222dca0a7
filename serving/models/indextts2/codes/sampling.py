"""Drawing the next code, on the device and without a host sync.

Processors run in the order of the official sampler: repetition penalty, temperature, top-k, top-p. The draw
itself is a Gumbel race whose noise is a hash of (seed, step, code), so a row's draw depends on nothing but
its own seed, its own step and its own logits: neither on its neighbours nor on its place in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_TOP_K = 128
"""Candidates that are sorted; top_k may not pass it. The official default is 30."""

_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685
"""The constants of splitmix64 (Steele, Lea, Flood, 2014) as signed 64-bit integers."""


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


def hash_bits(seed: Tensor, *counters: Tensor) -> Tensor:
    """Hash int64 seeds and counters (broadcast together) to int64, every bit of which looks random."""
    value = _mix(seed * _GOLDEN + _GOLDEN)
    for counter in counters:
        value = _mix(value + (counter + 1) * _GOLDEN)
    return value


def uniform(seed: Tensor, *counters: Tensor) -> Tensor:
    """float32 in the open interval (0, 1), a function of the seeds and counters alone."""
    top = (hash_bits(seed, *counters) >> 41) & 0x7FFFFF
    return (top.float() + 0.5) * 2.0**-23


def gaussian(seed: Tensor, *counters: Tensor) -> Tensor:
    """Standard normal float32 by Box and Muller's transform, a function of the seeds and counters alone."""
    bits = hash_bits(seed, *counters)
    first = (((bits >> 41) & 0x7FFFFF).float() + 0.5) * 2.0**-23
    second = ((bits & 0x7FFFFF).float() + 0.5) * 2.0**-23
    return torch.sqrt(-2.0 * torch.log(first)) * torch.cos(2.0 * torch.pi * second)


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
    step: Tensor,
) -> Tensor:
    """Draw one code for each row of float32 logits [R, V] that penalise() has seen; returns int64 [R].

    All settings are [R]; temperature and top_p float32, the rest int64. top_k == 1 is the argmax.
    """
    scores, codes = candidates(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    gumbel = -torch.log(-torch.log(uniform(seed[:, None], step[:, None], codes)))
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


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * _MIX_1
    value = (value ^ _shift(value, 27)) * _MIX_2
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift: int64 shifts keep the sign, so the copied bits are cleared."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
