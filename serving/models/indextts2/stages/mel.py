"""Codes to mel: the flow's condition and start, and its Euler iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.indextts2.codes.codec import SemanticCodec
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.mel.fused import take_frames
from serving.models.indextts2.mel.regulator import LatentProjection, LengthRegulator
from serving.models.indextts2.noise import gaussian
from serving.models.indextts2.stages.shapes import extent, make_lengths, padded_slots
from serving.models.indextts2.stages.state import Samples, SpeechState


def flow_lengths(flow: Flow, static_prompt: int, *, fine: bool = False) -> list[int]:
    """Lengths of buckets: a prompt, and 32 frames or more after it."""
    return [static_prompt + length for length in make_lengths(32, flow.max_frames - static_prompt, fine=fine)]


class CodeReader(Protocol):
    """What turns codes and their latents into semantic frames, and those into the flow's condition; float32."""

    @property
    def regulator(self) -> LengthRegulator: ...

    def most_codes(self, frames: int) -> int:
        """How many codes so many mel frames can be made of."""
        ...

    def semantic(self, codes: Tensor, latents: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Semantic frames [R, T, C] of codes int64 [R, W], of which the first counts [R] are live, and how many are.

        `latents` [R, W, D] are the states that predicted them. Codes past a row's count may be any.
        """
        ...


@dataclass(frozen=True, slots=True)
class MelParts:
    """The CodeReader of 2.0: a code is a semantic frame, and its latent is added to it."""

    codec: SemanticCodec
    projection: LatentProjection
    regulator: LengthRegulator

    def most_codes(self, frames: int) -> int:
        """See CodeReader."""
        return frames

    def semantic(self, codes: Tensor, latents: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """See CodeReader."""
        known = codes.clamp(max=len(self.codec.embeddings) - 1)
        return self.codec.embed_codes(known) + self.projection(latents.float()), counts


class Prepare:
    """The condition of a window, and its flow begun in its slot."""

    name = "prepare"
    next_stages: tuple[str, ...] = ("flow",)
    to_host: tuple[int, ...] = ()
    lookahead = False

    def __init__(
        self,
        decoding: Decoding,
        flow: Flow,
        parts: CodeReader,
        *,
        max_rows: int,
        max_units: int,
        static_prompt: int,
    ) -> None:
        """`static_prompt` is as in Integrate."""
        self.max_rows, self.max_units = max_rows, max_units
        self.buckets = make_buckets(max_rows, max_units, flow_lengths(flow, static_prompt))
        self._static_prompt = static_prompt
        self._decoding = decoding
        self._flow = flow
        self._parts = parts

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """whole int64 [8, R]: slots, codes, frames of the condition, first frame of it that the flow takes,
        frames of the reference, of the prompt and of all, and first frame spoken; seeds int64 [R]; style [R, S];
        mel of the prompt [R, T, M] and condition of the reference [R, T, content], zero past their ends."""
        config, device = self._flow.estimator.config, self._flow.x.device
        whole = torch.tensor([[self._flow.spare], *[[1]] * 2, [0], [0], [0], [1], [0]]).repeat(1, bucket.rows)
        seeds = torch.zeros(bucket.rows, dtype=torch.int64)
        style = torch.zeros(bucket.rows, config.style_dim, device=device)
        mel = torch.zeros(bucket.rows, bucket.length, config.dit.in_channels, device=device)
        condition = torch.zeros(bucket.rows, bucket.length, config.dit.content_dim, device=device)
        for row, state in enumerate(states):
            window, stream = state.window, state.stream
            assert window is not None
            assert stream is not None
            assert state.voice is not None
            first, prompt, frames = stream.flow_frames(window)
            reference = len(stream.reference_mel)
            whole[:, row] = torch.tensor(
                [state.slot, window.codes, window.end, first, reference, prompt, frames, window.first]
            )
            seeds[row] = stream.seed
            style[row] = state.voice.style
            mel[row, :reference] = stream.reference_mel
            mel[row, reference:prompt] = stream.mel[first : window.first]
            condition[row, :reference] = stream.prompt_condition
        return whole, seeds, style, mel, condition

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Nothing: the flow's start stays in the slots."""
        whole, seeds, style, mel, reference_condition = inputs
        slots, codes, frames, first, references, prompts, lengths, spoken = whole.unbind()
        width, device = mel.shape[1], mel.device
        # Past a row's codes there may be the stop or an older segment's codes; the regulator passes them over.
        decoding = self._decoding
        most = self._parts.most_codes(width)
        semantic, live = self._parts.semantic(
            decoding.codes[slots, :most], decoding.states[slots, :most], codes
        )
        condition = self._parts.regulator(semantic, live, frames, width)
        frame = torch.arange(width, device=device)
        follows = take_frames(condition, (frame - references[:, None] + first[:, None]).clamp(0, width - 1))
        mu = torch.where((frame < references[:, None])[:, :, None], reference_condition, follows)
        bins = torch.arange(mel.shape[2], device=device)
        place = frame - prompts[:, None] + spoken[:, None]
        noise = gaussian(seeds[:, None, None], place[:, :, None], bins)
        self._flow.begin(slots, mel, mu, style, noise, lengths, prompts)
        return ()

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        for state in states:
            assert state.window is not None
            assert state.stream is not None
            _, state.prompt_frames, frames = state.stream.flow_frames(state.window)
            state.iterations_left = self._flow.iterations
            state.stage = "flow"
            state.length = max(frames, frames - state.prompt_frames + self._static_prompt)
        return [None] * len(states)


class Integrate:
    """One Euler iteration of each window, each at its own time."""

    name = "flow"
    next_stages: tuple[str, ...] = ("flow", "vocode")
    to_host: tuple[int, ...] = ()
    lookahead = True

    def __init__(
        self,
        flow: Flow,
        *,
        max_rows: int,
        max_units: int,
        vocoder_frames: int,
        static_prompt: int,
        fine: bool = False,
    ) -> None:
        """`static_prompt`: frames that every prompt counts as at least, so that the frames which the estimator's
        tail need not run on follow from the bucket alone; 0: shapes are those of the states. `fine`: see Options.
        """
        self._vocoder_frames = vocoder_frames
        self.max_rows, self.max_units = max_rows, max_units
        lengths = flow_lengths(flow, static_prompt, fine=fine)
        self.buckets = make_buckets(max_rows, max_units, lengths, fine=fine)
        self._flow = flow
        self._static_prompt = static_prompt

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots int64 [R]; extents of the frames, of the frames kept, and one that is 1 if rows are ragged.

        A state whose last iteration this is wants the vocoder from here on, so that a step launched before this one
        is complete does not hold it again.
        """
        reach, width, device = self._flow.reach, bucket.length, self._flow.x.device
        unkept, ragged = self._static_prompt, True
        if not unkept and states:
            unkept = min(state.prompt_frames - state.length for state in states) + width
            ragged = any(state.length != width for state in states)
        kept = width - max(unkept - reach, 0)
        slots = padded_slots([state.slot for state in states], bucket.rows, self._flow.spare)
        for state in states:
            state.iterations_left -= 1
            if not state.iterations_left:
                stretch = state.stretch(self._vocoder_frames)
                state.stage, state.length = "vocode", stretch.end - stretch.begin
        return slots, extent(width, device), extent(kept, device), extent(int(ragged), device)

    @property
    def static_prompt(self) -> int:
        """Frames that every prompt counts as at least; 0 where shapes are those of the states."""
        return self._static_prompt

    def inputs(self, slots: Tensor, bucket: Bucket, prompt: int) -> tuple[Tensor, ...]:
        """Inputs of forward, as serving makes them, for windows of one length and prompt in slots [R]."""
        device = slots.device
        if not self._static_prompt:
            kept = bucket.length - max(prompt - self._flow.reach, 0)
            return slots, extent(bucket.length, device), extent(kept, device), extent(0, device)
        inert = slots.new_full((bucket.rows - len(slots),), self._flow.spare)
        _, *extents = self.collate([], bucket)
        return torch.cat([slots, inert]), *(value.to(device) for value in extents)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Nothing: the mel stays in the slots."""
        slots, width, kept, ragged = inputs
        self._flow.iterate(slots, width.shape[0], kept.shape[0], ragged=bool(ragged.shape[0]))
        return ()

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        return [None] * len(states)
