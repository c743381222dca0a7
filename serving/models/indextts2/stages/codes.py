"""Text to codes: prefill, decode, and the second pass that official positions take their latents from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.sampling import Sampling, setting_rows
from serving.models.indextts2.stages.shapes import extent, make_lengths, padded_slots
from serving.models.indextts2.stages.state import LATENTS_AT_ONCE, Samples, SpeechState, after_codes
from serving.models.indextts2.stages.streaming import SegmentStream

_INERT = Sampling(temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=1.0, max_codes=1)


class Prefill:
    """Voice, emotion and text of new segments into the cache, and their first code."""

    name = "prefill"
    to_host: tuple[int, ...] = (0,)
    lookahead = False

    def __init__(
        self, decoding: Decoding, reach: int, *, max_rows: int, max_units: int, max_text: int
    ) -> None:
        """`reach` of the vocoder, in frames, for the streams that begin here."""
        self.max_rows, self.max_units = max_rows, max_units
        self.buckets = make_buckets(max_rows, max_units, make_lengths(min(32, max_text), max_text))
        self.next_stages: tuple[str, ...] = after_codes(second_pass=decoding.second_offset > 0)
        self._decoding = decoding
        self._reach = reach
        self._config = decoding.gpt.config
        self._device = decoding.codes.device

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots int64 [R], latents [R, N, D], emovec [R, D], text int64 [R, L], text lengths int64 [R], and
        the two tensors of setting_rows."""
        inert = bucket.rows - len(states)
        condition = self._config.condition
        latents = torch.zeros(bucket.rows, condition.latents, condition.latent_dim, device=self._device)
        emovec = torch.zeros(bucket.rows, condition.latent_dim, device=self._device)
        text = torch.zeros(bucket.rows, bucket.length, dtype=torch.int64)
        lengths = torch.ones(bucket.rows, dtype=torch.int64)
        for row, state in enumerate(states):
            assert state.voice is not None
            assert state.emovec is not None
            latents[row] = state.voice.latents
            emovec[row] = state.emovec
            text[row, : len(state.text)] = torch.tensor(state.text)
            lengths[row] = len(state.text)
        return (
            padded_slots([state.slot for state in states], bucket.rows, self._decoding.spare),
            latents,
            emovec,
            text,
            lengths,
            *setting_rows([*(state.sampling for state in states), *[_INERT] * inert]),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The first codes, int64 [R]."""
        slots, latents, emovec, text, lengths, whole, real = inputs
        self._decoding.configure(slots, whole, real)
        return (self._decoding.prefill(slots, latents, emovec, text, lengths),)

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        for state, code in zip(states, outputs[0].tolist(), strict=False):
            assert state.voice is not None
            state.stream = SegmentStream(
                state.windows,
                state.voice.reference_mel.mT,
                state.voice.prompt_condition,
                state.sampling.seed,
                reach=self._reach,
            )
            state.take_code(code, self._config.stop_mel_token)
            state.choose()
        return [None] * len(states)


class Decode:
    """One more code for each segment. Its rows need not be as long as each other, so all of them may join."""

    name = "decode"
    to_host: tuple[int, ...] = (0,)
    lookahead = True

    def __init__(self, decoding: Decoding, *, max_rows: int, fine: bool = False) -> None:
        """`fine`: see Options."""
        self.max_rows = self.max_units = max_rows
        self.buckets = make_buckets(max_rows, max_rows, [1], fine=fine)
        self.next_stages: tuple[str, ...] = after_codes(second_pass=decoding.second_offset > 0)
        self._decoding = decoding
        self._span = decoding.cache.max_cells

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots int64 [R]: all that a step needs lies in their rows."""
        return (padded_slots([state.slot for state in states], bucket.rows, self._decoding.spare),)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The next codes, int64 [R]."""
        return (self._decoding.decode(inputs[0], self._span),)

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        """Under lookahead a state may have stopped, or have a window to speak, by the step before this one."""
        stop = self._decoding.gpt.config.stop_mel_token
        for state, code in zip(states, outputs[0].tolist(), strict=False):
            state.take_code(code, stop)
            if state.stage == self.name:
                state.choose()
        return [None] * len(states)


class Latents:
    """Latents of drawn codes at the positions of training, LATENTS_AT_ONCE of each segment at most."""

    name = "latents"
    next_stages: tuple[str, ...] = after_codes(second_pass=True)
    to_host: tuple[int, ...] = ()
    lookahead = False

    def __init__(self, decoding: Decoding, *, max_rows: int, max_units: int) -> None:
        self.max_rows, self.max_units = max_rows, max_units
        self.buckets = make_buckets(max_rows, max_units, make_lengths(32, LATENTS_AT_ONCE))
        self._decoding = decoding

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots, first latents and their counts, int64 [R]; the width as an extent."""
        inert = bucket.rows - len(states)
        return (
            padded_slots([state.slot for state in states], bucket.rows, self._decoding.spare),
            torch.tensor([*(state.latents for state in states), *[1] * inert]),
            torch.tensor([*(state.length for state in states), *[1] * inert]),
            extent(bucket.length, self._decoding.codes.device),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Nothing: the latents stay in the slots."""
        slots, starts, counts, width = inputs
        self._decoding.latents(slots, starts, counts, width.shape[0], self._decoding.cache.max_cells)
        return ()

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        for state in states:
            state.latents += state.length
            state.choose()
        return [None] * len(states)
