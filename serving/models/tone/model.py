"""Two stages: `embed` turns tokens into pitches kept in the slot, `render` turns pitches into samples.

Sample i of token n is 0.3 sin(2 pi f i / rate) with f = voice pitch + 4 n Hz; each token starts at phase 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from serving.models.base import Bucket, SegmentState, SegmentTimes, Stage
from serving.models.tone.options import MAX_TOKENS, SAMPLE_RATE_HZ, VOICES_HZ, Options, make_spec
from serving.profile import EngineProfile
from serving.protocol import InputError, Segment, SpeechParams, WordSpan

AMPLITUDE = 0.3
HZ_PER_TOKEN = 4.0


def expected_samples(tokens: Sequence[int], voice: str, options: Options) -> NDArray[np.float32]:
    """What the model must say: float32 [len(tokens) * samples_per_token], by numpy alone."""
    hz = VOICES_HZ[voice] + HZ_PER_TOKEN * np.asarray(tokens, np.float64)
    time_s = np.arange(options.samples_per_token) / SAMPLE_RATE_HZ
    return (AMPLITUDE * np.sin(2 * np.pi * hz[:, None] * time_s)).astype(np.float32).reshape(-1)


@dataclass(slots=True)
class ToneState(SegmentState):
    """`done` tokens are rendered; `length` is the size of the window that the wanted stage runs over."""

    tokens: list[int]
    base_hz: float
    done: int
    words: list[WordSpan]
    window: int
    """Tokens of the next render window, before it is cut at the segment's end."""


class EmbedStage:
    """tokens [R, L] int64, base_hz [R] float32, slot [R] int64 -> pitches written into the slot's row."""

    name = "embed"
    next_stages: tuple[str, ...] = ("render",)
    lookahead = False
    to_host: tuple[int, ...] = ()

    def __init__(self, pitch_hz: torch.Tensor, options: Options, max_rows: int, max_units: int) -> None:
        self.pitch_hz = pitch_hz
        self.options = options
        self.max_rows = max_rows
        self.max_units = max_units
        self.buckets = make_buckets(max_rows, max_units)

    def collate(self, states: Sequence[ToneState], bucket: Bucket) -> tuple[torch.Tensor, ...]:
        tokens = torch.zeros(bucket.rows, bucket.length, dtype=torch.int64)
        base_hz = torch.zeros(bucket.rows)
        # Inert rows write to the spare slot behind the last.
        slot = torch.full((bucket.rows,), self.pitch_hz.shape[0] - 1, dtype=torch.int64)
        for row, state in enumerate(states):
            tokens[row, : state.length] = torch.tensor(state.tokens)
            base_hz[row] = state.base_hz
            slot[row] = state.slot
        return tokens, base_hz, slot

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        tokens, base_hz, slot = inputs
        pitch_hz = base_hz[:, None] + HZ_PER_TOKEN * tokens
        self.pitch_hz[:, : tokens.shape[1]].index_copy_(0, slot, pitch_hz)
        return ()

    def scatter(
        self, states: Sequence[ToneState], outputs: tuple[torch.Tensor, ...]
    ) -> list[NDArray[np.float32] | None]:
        token_s = self.options.samples_per_token / SAMPLE_RATE_HZ
        for state in states:
            words = [(word.first * token_s, word.last * token_s) for word in state.words]
            state.times = SegmentTimes(0.0, len(state.tokens) * token_s, words)
            state.stage = "render"
            state.length = min(state.window, len(state.tokens))
        return [None] * len(states)


class RenderStage:
    """slot [R] int64, start [R] int64, columns [L] int64 -> samples [R, L * samples_per_token] float32."""

    name = "render"
    next_stages: tuple[str, ...] = ("render",)
    lookahead = False
    to_host: tuple[int, ...] = (0,)

    def __init__(self, pitch_hz: torch.Tensor, options: Options, max_rows: int, max_units: int) -> None:
        self.pitch_hz = pitch_hz
        self.options = options
        self.max_rows = max_rows
        self.max_units = max_units
        self.buckets = make_buckets(max_rows, max_units)
        self.time_s = torch.arange(options.samples_per_token, device=pitch_hz.device) / SAMPLE_RATE_HZ

    def collate(self, states: Sequence[ToneState], bucket: Bucket) -> tuple[torch.Tensor, ...]:
        inert = bucket.rows - len(states)
        slot = torch.tensor([state.slot for state in states] + [self.pitch_hz.shape[0] - 1] * inert)
        start = torch.tensor([state.done for state in states] + [0] * inert)
        return slot, start, torch.arange(bucket.length)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        slot, start, columns = inputs
        place = (start[:, None] + columns).clamp(max=MAX_TOKENS - 1)
        hz = self.pitch_hz[slot[:, None], place]
        samples = AMPLITUDE * torch.sin(2 * math.pi * hz[:, :, None] * self.time_s)
        return (samples.flatten(1),)

    def scatter(
        self, states: Sequence[ToneState], outputs: tuple[torch.Tensor, ...]
    ) -> list[NDArray[np.float32] | None]:
        samples = outputs[0].numpy()
        spoken: list[NDArray[np.float32] | None] = []
        for row, state in enumerate(states):
            spoken.append(samples[row, : state.length * self.options.samples_per_token])
            state.done += state.length
            state.window = min(2 * state.window, self.options.max_window_tokens)
            state.length = min(state.window, len(state.tokens) - state.done)
            if state.length == 0:
                state.stage = None
        return spoken


class ToneModel:
    """One row of pitches per slot, and one spare row for what is computed only as padding."""

    first_stages: tuple[str, ...] = ("embed",)

    def __init__(self, options: Options, engine: EngineProfile, device: torch.device) -> None:
        self.spec = make_spec(options)
        self.options = options
        # Pitches up to a kilohertz need float32 whatever the profile's dtype is.
        pitch_hz = torch.zeros(engine.max_slots + 1, MAX_TOKENS, dtype=torch.float32, device=device)
        max_units = max(engine.max_step_units, MAX_TOKENS)
        self.stages: Mapping[str, Stage] = {
            "embed": EmbedStage(pitch_hz, options, engine.max_slots, max_units),
            "render": RenderStage(pitch_hz, options, engine.max_slots, max_units),
        }

    def open(self, params: SpeechParams, segment: Segment, slot: int, *, urgent: bool) -> ToneState:
        """Raises InputError for a segment that is empty or longer than MAX_TOKENS."""
        if not 0 < len(segment.tokens) <= MAX_TOKENS:
            raise InputError(
                "text", f"segment {segment.index} has {len(segment.tokens)} tokens, not 1 to 512"
            )
        return ToneState(
            slot=slot,
            stage="embed",
            length=len(segment.tokens),
            tokens=segment.tokens,
            words=segment.words,
            base_hz=VOICES_HZ[params.voice],
            done=0,
            window=self.options.window_tokens if urgent else self.options.max_window_tokens,
        )

    def close(self, state: ToneState) -> None:
        """Nothing to free: the slot's row is overwritten by its next owner."""


def make_buckets(max_rows: int, max_units: int) -> tuple[Bucket, ...]:
    """Powers of two in both directions that cover every step the limits allow, ascending by units."""
    rows = [1 << power for power in range((max_rows - 1).bit_length() + 1)]
    lengths = [1 << power for power in range(3, (MAX_TOKENS - 1).bit_length() + 1)]
    buckets = (Bucket(r, length) for r in rows for length in lengths)
    # A step of r rows and l units each may round up to twice as much in both directions.
    return tuple(
        sorted((b for b in buckets if b.rows == 1 or b.units <= 4 * max_units), key=lambda b: b.units)
    )
