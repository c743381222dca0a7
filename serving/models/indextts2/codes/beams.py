"""Beam search over the code model, as the official implementation decodes by default: one segment, offline.

The server samples plainly (decoding.py). This is for comparing with the official path, whose generate() call
runs the beam search of transformers with sampling and three beams. The numbers follow transformers 5.23, the
codes too when the generator starts from the same seed:

- Each beam's logits become log-probabilities first. The repetition penalty, and when sampling the temperature,
  top-k and top-p, act on those, so every penalised score is multiplied, never divided.
- 2 x beams continuations of all beams together are taken: the best by score, or a draw without replacement
  from the softmax of the joint scores. A draw stays in the order in which it was drawn.
- A continuation ends by the stop code or by max_codes. It counts as finished only if it is among the first
  `beams` continuations; the others only make sure that enough beams run on.
- The search ends when no running beam can pass the worst of `beams` finished ones, by its score so far.

Code i is fed at position i + 2 (see decoding.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from serving.models.indextts2.codes.gpt import CodeCache
from serving.models.indextts2.codes.sampling import penalise
from serving.models.indextts2.config import GptConfig
from serving.models.indextts2.networks import CodeModel

_PENALISED_CODE = 1
"""In the penalty set from the start, as in decoding.py."""

_OUT = -1e9
"""Taken off a score that may not win; finite, so that such a continuation still comes before impossible ones."""

_KEPT = 2
"""Codes that top-k and top-p leave to every beam at least: the stop code and another."""


@dataclass(frozen=True, slots=True)
class BeamSampling:
    """How one segment is searched. The defaults are those of the official infer()."""

    beams: int = 3
    do_sample: bool = True
    """Without it the best continuations are taken, and temperature, top_k and top_p change nothing."""
    temperature: float = 0.8
    top_k: int = 30
    top_p: float = 0.8
    repetition_penalty: float = 10.0
    length_penalty: float = 0.0
    """A finished beam's score is its sum of log-probabilities over its length to this power."""
    early_stopping: bool | Literal["never"] = False
    """True ends with the first `beams` finished beams; "never" bounds what a running beam may still reach by
    max_codes where length_penalty is positive."""
    max_codes: int = 1500
    """The stop code counts."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the field that is out of range."""
        if not self.beams >= 2:
            raise ValueError(f"beams must be at least 2, not {self.beams}")
        for name in ("temperature", "repetition_penalty"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("top_k", "max_codes"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished beam."""

    codes: Tensor
    """int64 [N], without the stop code; max_codes of them if the stop was not reached."""
    score: float


@dataclass(slots=True)
class _Beams:
    """Sequences and their scores: int64 [B, max_codes], the rest filled with the stop code; float32 [B]."""

    codes: Tensor
    scores: Tensor

    def take(self, index: Tensor) -> _Beams:
        return _Beams(self.codes[index], self.scores[index])


@torch.inference_mode()
def beam_search(
    gpt: CodeModel,
    latents: Tensor,
    emovec: Tensor,
    text: Tensor,
    sampling: BeamSampling | None = None,
    generator: torch.Generator | None = None,
) -> list[Hypothesis]:
    """Decode one segment; returns `beams` hypotheses, best first, of which the official path takes the first.

    latents [1, N, D], emovec [1, D] and text int64 [1, L] without start and stop, on the device of gpt. Draws
    come from `generator`, which must be on that device too, or the default one: one torch.multinomial a code.
    Raises ValueError if there is more than one row. Source: transformers 5.23, GenerationMixin.generate with
    num_beams, as indextts2-inference 2.1.1 calls it (gpt/model_v2.py, inference_speech).
    """
    if len(text) != 1:
        raise ValueError(f"beam_search decodes one segment at a time, not {len(text)}")
    sampling = sampling or BeamSampling()
    config, device, beams = gpt.config, gpt.device, sampling.beams
    vectors, lengths = gpt.prefix(latents, emovec, text, torch.tensor([text.shape[1]], device=device))
    cells = vectors.shape[1]
    cache = CodeCache(config, beams, cells + sampling.max_codes, device, gpt.dtype)
    slots = [0] * beams
    states = gpt.extend(vectors, lengths, torch.tensor([0], device=device), cache)[:, -1].expand(beams, -1)

    seen = torch.zeros(beams, config.number_mel_codes, dtype=torch.bool, device=device)
    seen[:, [_PENALISED_CODE, config.start_mel_token]] = True
    codes = torch.full((beams, sampling.max_codes), config.stop_mel_token, device=device)
    # All beams are alike at first: only the first may be continued.
    running = _Beams(codes, torch.tensor([0.0] + [_OUT] * (beams - 1), device=device))
    finished = _Beams(codes, torch.full((beams,), _OUT, device=device))
    is_finished = torch.zeros(beams, dtype=torch.bool, device=device)

    for index in range(sampling.max_codes):
        scores = penalise(
            torch.log_softmax(gpt.logits(states), dim=1),
            seen,
            torch.full((beams, 1), sampling.repetition_penalty, device=device),
        )
        if sampling.do_sample:
            scores = _warp(scores, sampling)
        joint = (scores + running.scores[:, None]).flatten()
        chosen = _choose(joint, sampling, generator)
        parents, drawn = chosen // scores.shape[1], chosen % scores.shape[1]
        continued = _Beams(running.codes[parents], joint[chosen])
        continued.codes[:, index] = drawn
        ends = (drawn == config.stop_mel_token) | (index + 1 == sampling.max_codes)

        going = torch.topk(continued.scores + ends * _OUT, beams)
        running = _Beams(continued.codes[going.indices], going.values)

        just_finished = ends & (torch.arange(2 * beams, device=device) < beams)
        final = continued.scores / (index + 1) ** sampling.length_penalty + ~just_finished * _OUT
        best = torch.topk(torch.cat([finished.scores, final]), beams)
        finished = _Beams(torch.cat([finished.codes, continued.codes])[best.indices], best.values)
        is_finished = torch.cat([is_finished, just_finished])[best.indices]

        if ends.all() or _is_settled(running.scores[0], finished.scores, is_finished, index + 1, sampling):
            break
        parents, drawn = parents[going.indices], drawn[going.indices]
        seen = seen[parents].scatter(1, drawn[:, None], value=True)
        slots = _inherit(cache, [slots[parent] for parent in parents.tolist()], cells + index)
        fed = gpt.embed_codes(drawn, torch.full_like(drawn, index + 2))
        length = torch.full_like(drawn, cells + index)
        states = gpt.decode(fed, torch.tensor(slots, device=device), length, cache, cells + index + 1)

    return [
        Hypothesis(_spoken(codes, config), float(score))
        for codes, score in zip(finished.codes, finished.scores, strict=True)
    ]


def _warp(scores: Tensor, sampling: BeamSampling) -> Tensor:
    """Temperature, top-k and top-p on penalised log-probabilities [B, V]; -inf where a code is left out."""
    scores = scores / sampling.temperature
    top_k = min(max(sampling.top_k, _KEPT), scores.shape[1])
    scores = scores.masked_fill(scores < torch.topk(scores, top_k).values[:, -1:], -torch.inf)
    if sampling.top_p == 1:
        return scores
    # Summed from the least likely up, which decides where rounding falls.
    ascending, order = torch.sort(scores)
    left_out = torch.softmax(ascending, dim=1).cumsum(dim=1) <= 1 - sampling.top_p
    left_out[:, -_KEPT:] = False
    return scores.scatter(1, order, ascending.masked_fill(left_out, -torch.inf))


def _choose(joint: Tensor, sampling: BeamSampling, generator: torch.Generator | None) -> Tensor:
    """2 x beams places int64 of the joint scores [B x V]."""
    if not sampling.do_sample:
        return torch.topk(joint, 2 * sampling.beams).indices
    return torch.multinomial(torch.softmax(joint, dim=0), 2 * sampling.beams, generator=generator)


def _is_settled(
    best_running: Tensor, scores: Tensor, is_finished: Tensor, length: int, sampling: BeamSampling
) -> bool:
    """Whether running on would change nothing that counts, by the rules of transformers."""
    if sampling.early_stopping is True and bool(is_finished.all()):
        return True
    if sampling.early_stopping == "never" and sampling.length_penalty > 0:
        length = sampling.max_codes
    reachable = best_running / length**sampling.length_penalty
    return not bool((reachable > torch.where(is_finished, scores.min(), _OUT)).any())


def _inherit(cache: CodeCache, sources: Sequence[int], span: int) -> list[int]:
    """Slots of the new beams, whose parents' are `sources`: the parent's own for its first child, a copy of
    its first `span` cells for the others."""
    free = [slot for slot in range(len(sources)) if slot not in sources]
    slots = [slot if slot not in sources[:beam] else free.pop() for beam, slot in enumerate(sources)]
    copies = [pair for pair in zip(sources, slots, strict=True) if pair[0] != pair[1]]
    if copies:
        origins, targets = torch.tensor(copies, device=cache.keys[0].device).unbind(1)
        cache.copy_rows(origins, targets, span)
    return slots


def _spoken(codes: Tensor, config: GptConfig) -> Tensor:
    """Codes [N] up to the first stop code."""
    stops = (codes == config.stop_mel_token).nonzero()
    return codes[: int(stops[0])] if len(stops) else codes
