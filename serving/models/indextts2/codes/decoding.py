"""Slot-resident decoding of the code model: the state of every segment and the steps over any batch of them.

A step names its rows by `slots` and touches only their buffers; rows are independent, so who shares a step
changes no row's codes. Nothing returns to the host inside a step: the stop code shows in `codes`, which the
caller reads one step late, and a stopped row keeps writing the stop code, which harms nothing, until its slot is freed.

Positions: the official sampler feeds code i (from 0) with position i + 2, never using position 1, because of
how it counts; its latents come from a second pass with the training positions i + 1. Mode "official" does
both. Mode "aligned" samples with i + 1, so the states that predict the codes are the latents already.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from serving.models.indextts2.codes import fused
from serving.models.indextts2.codes.gpt import CodeCache, Gpt
from serving.models.indextts2.codes.sampling import draw, penalise
from serving.models.indextts2.networks import CodeModel

PositionMode = Literal["official", "aligned"]

_PENALISED_CODE = 1
"""The official penalty set holds code 1 from the start: its stand-in ids for the prefix are ones."""


class Decoding:
    """State of `slots` segments, and the steps prefill, decode and latents.

    A spare slot, `spare`, takes the inert rows of a padded batch. Buffers never move.
    """

    def __init__(
        self,
        gpt: CodeModel,
        slots: int,
        *,
        max_codes: int,
        max_text: int,
        positions: PositionMode = "official",
        second_rows: bool = False,
        fused: frozenset[str] = frozenset(),
    ) -> None:
        """Allocate for `slots` segments of at most max_text text ids and max_codes codes.

        `second_rows` gives every slot a second cache row for the latents pass of official positions, so that
        it can run while the segment still decodes; without it that pass overwrites the cache of a finished
        decode. `fused` names what is one kernel each: of "embedding" and "sampler"; see fused.py.
        """
        self.fused = fused
        config = gpt.config
        device = gpt.device
        rows = slots + 1
        self.gpt = gpt
        self.positions = positions
        self.spare = slots
        self.max_codes = max_codes
        self.second_offset = rows if second_rows else 0
        max_cells = config.prefix_rows + max_text + 3 + max_codes
        self.cache = CodeCache(config, rows + self.second_offset, max_cells, device, gpt.dtype)

        def whole(fill: int = 0) -> Tensor:
            return torch.full((rows,), fill, dtype=torch.int64, device=device)

        def real(fill: float) -> Tensor:
            return torch.full((rows,), fill, dtype=torch.float32, device=device)

        self.lengths = whole(1)
        """Live cells of each slot."""
        self.prefix_lengths = whole(1)
        """Cells before the first code: latents, speed, text and the start code."""
        self.counts = whole()
        """Codes drawn by each slot, the stop code included."""
        self.codes = torch.full(
            (rows, max_codes + 1), config.stop_mel_token, dtype=torch.int64, device=device
        )
        self.states = torch.zeros(rows, max_codes + 1, config.model_dim, dtype=gpt.dtype, device=device)
        """states[s, i] is the final state that predicted code i, and its latent where positions are
        aligned."""
        self.seen = torch.zeros(rows, config.number_mel_codes, dtype=torch.bool, device=device)
        self.seed, self.top_k = whole(), whole(1)
        self.min_codes, self.code_limit = whole(), whole()
        self.temperature, self.top_p, self.penalty = real(1.0), real(1.0), real(1.0)

    def configure(self, slots: Tensor, whole: Tensor, real: Tensor) -> None:
        """Give slots [R] the settings of their requests, before their prefill; see sampling.setting_rows."""
        for setting, column in zip(
            (self.seed, self.top_k, self.min_codes, self.code_limit), whole.unbind(1), strict=True
        ):
            setting[slots] = column
        for setting, column in zip((self.temperature, self.top_p, self.penalty), real.unbind(1), strict=True):
            setting[slots] = column

    def prefill(
        self, slots: Tensor, latents: Tensor, emovec: Tensor, text: Tensor, text_lengths: Tensor
    ) -> Tensor:
        """Begin the segments of `slots` [R] and draw their first code; returns it, int64 [R].

        latents [R, N, D], emovec [R, D], text int64 [R, L] without start and stop, text_lengths int64 [R].
        """
        vectors, lengths = self.gpt.prefix(latents, emovec, text, text_lengths)
        states = self.gpt.extend(vectors, lengths, slots, self.cache)
        if self.second_offset:
            self.cache.copy_rows(slots, slots + self.second_offset, vectors.shape[1])
        self.lengths[slots] = lengths
        self.prefix_lengths[slots] = lengths
        # A Python number beside tensor indices would reach CUDA as a copy from the host, which no graph may hold.
        self.counts[slots] = torch.zeros_like(slots)
        seen = torch.zeros_like(self.seen[slots])
        seen[:, _PENALISED_CODE] = True
        seen[:, self.gpt.config.start_mel_token] = True
        self.seen[slots] = seen
        last = states[torch.arange(len(slots), device=slots.device), lengths - 1]
        return self._draw(slots, last)

    def decode(self, slots: Tensor, span: int) -> Tensor:
        """Feed each slot's last code and draw the next; returns it, int64 [R]. span > the live cells of
        all."""
        lengths = self.lengths[slots]
        ahead = 1 if self.positions == "official" else 0
        if "embedding" in self.fused:
            vectors = self._embed(slots, ahead)
        else:
            counts = self.counts[slots]
            codes = self.codes[slots, (counts - 1).clamp(min=0)]
            vectors = self.gpt.embed_codes(codes, counts + ahead)
        states = self.gpt.decode(vectors, slots, lengths, self.cache, span)
        # Inert rows stay as short as they are: a spare slot that grew would be attended to at full length.
        grown = torch.where(slots == self.spare, lengths, lengths + 1)
        self.lengths[slots] = grown.clamp(max=self.cache.max_cells)
        return self._draw(slots, states)

    def latents(self, slots: Tensor, starts: Tensor, counts: Tensor, width: int, span: int) -> Tensor:
        """Second pass of official positions: latents starts[r] .. starts[r] + counts[r] - 1 of each slot.

        starts >= 1, for latent 0 is the state of the start code, which prefill left in states[:, 0]. Latent i
        is the state after codes 0 .. i - 1 at positions 1 .. i, so the codes before it must have been drawn
        and the latents before it must have been computed. Writes `states` and returns them, [R, width, D].
        """
        place = torch.arange(width, device=slots.device)
        index = (starts[:, None] + place).clamp(max=self.max_codes)
        codes = self.codes[slots[:, None], index - 1].clamp(max=self.gpt.config.number_mel_codes - 1)
        vectors = self.gpt.embed_codes(codes, index)
        cells = self.prefix_lengths[slots] + starts - 1
        states = self.gpt.extend(vectors, counts, slots + self.second_offset, self.cache, cells, span)
        live = (place < counts[:, None])[:, :, None]
        kept = self.states[slots[:, None], index]
        self.states[slots[:, None], index] = torch.where(live, states, kept)
        return states

    def _draw(self, slots: Tensor, states: Tensor) -> Tensor:
        """Draw from the states [R, D] that predict the next code, and record the draw."""
        stop = self.gpt.config.stop_mel_token
        counts = self.counts[slots]
        place = counts.clamp(max=self.max_codes)
        self.states[slots, place] = states
        if "sampler" in self.fused:
            settings = [self.seed, self.top_k, self.min_codes, self.code_limit]
            settings += [self.temperature, self.top_p, self.penalty]
            drawn: Tensor = fused.draw(
                self.gpt.logits(states), slots, self.seen, self.codes, self.counts, settings, stop
            )
            return drawn
        logits = penalise(self.gpt.logits(states), self.seen[slots], self.penalty[slots][:, None])
        is_stop = torch.arange(logits.shape[1], device=logits.device) == stop
        logits = logits.masked_fill(is_stop & (counts < self.min_codes[slots])[:, None], -torch.inf)
        codes = draw(
            logits,
            temperature=self.temperature[slots],
            top_k=self.top_k[slots],
            top_p=self.top_p[slots],
            seed=self.seed[slots],
            index=counts,
        )
        stopped = (counts > 0) & (self.codes[slots, (place - 1).clamp(min=0)] == stop)
        codes = torch.where(stopped | (counts >= self.code_limit[slots]), stop, codes)
        self.codes[slots, place] = codes
        self.seen[slots, codes] = torch.ones_like(codes, dtype=torch.bool)
        self.counts[slots] = (counts + 1).clamp(max=self.max_codes + 1)
        return codes

    def _embed(self, slots: Tensor, ahead: int) -> Tensor:
        gpt = self.gpt
        assert isinstance(gpt, Gpt)
        tables = (gpt.code_embedding.weight, gpt.code_positions.weight)
        vectors: Tensor = fused.embed(slots, self.counts, self.codes, *tables, ahead)
        return vectors
