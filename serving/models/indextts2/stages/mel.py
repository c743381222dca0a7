"""Codes to mel: the flow's condition and start, and its Euler steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from serving.models.base import Bucket
from serving.models.indextts2.codec import SemanticCodec
from serving.models.indextts2.decoding import Decoding
from serving.models.indextts2.flow import Flow
from serving.models.indextts2.regulator import LatentProjection, LengthRegulator
from serving.models.indextts2.stages.shapes import extent, make_buckets, make_lengths, padded_slots
from serving.models.indextts2.stages.speech import Samples, SpeechState


@dataclass(frozen=True, slots=True)
class MelParts:
    """What turns codes and latents into the flow's condition; float32."""

    codec: SemanticCodec
    projection: LatentProjection
    regulator: LengthRegulator


class Prepare:
    """The condition of a window, and its flow begun in its slot. Once per window, in the window's own shape."""

    name = "prepare"
    to_host: tuple[int, ...] = ()
    lookahead = False
    buckets: tuple[Bucket, ...] = ()

    def __init__(
        self, decoding: Decoding, flow: Flow, parts: MelParts, *, max_rows: int, max_units: int
    ) -> None:
        self.max_rows, self.max_units = max_rows, max_units
        self._decoding = decoding
        self._flow = flow
        self._parts = parts

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots, codes and frames int64 [R]; the most codes and frames as extents."""
        windows = [state.window for state in states if state.window is not None]
        codes, frames = [w.codes for w in windows], [w.end for w in windows]
        slots = torch.tensor([state.slot for state in states], dtype=torch.int64)
        device = self._flow.x.device
        most_codes, most_frames = extent(max(codes), device), extent(max(frames), device)
        return slots, torch.tensor(codes), torch.tensor(frames), most_codes, most_frames

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The condition of each segment's frames from its first, [R, T, content]."""
        slots, codes, frames, most_codes, most_frames = inputs
        width = most_codes.shape[0]
        # Past a row's codes there may be the stop or an older segment's codes; the regulator passes them over.
        drawn = self._decoding.codes[slots, :width].clamp(max=len(self._parts.codec.embeddings) - 1)
        latents = self._decoding.states[slots, :width].float()
        semantic = self._parts.codec.embed_codes(drawn) + self._parts.projection(latents)
        return (self._parts.regulator(semantic, codes, frames, most_frames.shape[0]),)

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        for state, condition in zip(states, outputs[0], strict=True):
            assert state.window is not None
            assert state.stream is not None
            assert state.voice is not None
            prompt, mu, noise = state.stream.flow_inputs(state.window, condition)
            self._flow.begin(state.slot, prompt, mu, state.voice.style, noise)
            state.prompt_frames, state.flow_left = len(prompt), self._flow.steps
            state.stage, state.length = "flow", len(mu)
        return [None] * len(states)


class FlowStep:
    """One Euler step of each window, all at their own time."""

    name = "flow"
    to_host: tuple[int, ...] = ()
    lookahead = True

    def __init__(
        self, flow: Flow, *, max_rows: int, max_units: int, vocoder_frames: int, static: bool
    ) -> None:
        """`static`: shapes follow from the bucket alone."""
        self._vocoder_frames = vocoder_frames
        self.max_rows, self.max_units = max_rows, max_units
        self.buckets = make_buckets(max_rows, max_units, make_lengths(128, flow.max_frames))
        self._flow = flow
        self._static = static

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """slots int64 [R]; extents of the frames, of the frames kept, and one that is 1 if rows are ragged.

        A state whose last step this is wants the vocoder from here on, so that a step launched before this one
        is scattered does not hold it again.
        """
        reach, width = self._flow.reach, bucket.length
        kept = width
        if states and not self._static:
            kept = max(s.length - max(s.prompt_frames - reach, 0) for s in states)
        ragged = self._static or any(state.length != width for state in states)
        slots = padded_slots([state.slot for state in states], bucket.rows, self._flow.spare)
        for state in states:
            state.flow_left -= 1
            if not state.flow_left:
                stretch = state.stretch(self._vocoder_frames)
                state.stage, state.length = "vocode", stretch.end - stretch.begin
        device = self._flow.x.device
        return slots, extent(width, device), extent(min(kept, width), device), extent(int(ragged), device)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Nothing: the mel stays in the slots."""
        slots, width, kept, ragged = inputs
        self._flow.step(slots, width.shape[0], kept.shape[0], ragged=bool(ragged.shape[0]))
        return ()

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        return [None] * len(states)
