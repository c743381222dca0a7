"""The stages before decode, the same for every backend. Shapes and limits come from the profile.

encode gives the durations of the phonemes, prosody the inputs of the decoder for the whole segment; decode, a stage of
the backend's own, turns windows of its frames to samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.models.base import Bucket, SegmentTimes
from serving.models.buckets import make_buckets
from serving.models.hibari.backend import Backend
from serving.models.hibari.constants import (
    INPUT_CHANNELS,
    MIN_F0_HZ,
    NOISE_ROWS,
    OVERLAP,
    PROSODY_CHANNELS,
    SPEECH_CHANNELS,
)
from serving.models.hibari.edges import Samples
from serving.models.hibari.pieces import MAX_PHONEMES
from serving.models.hibari.state import HibariState, choose_window
from serving.models.hibari.timing import (
    Energy,
    Places,
    edit,
    find_breaks,
    lengthen,
    onset_s,
    word_times,
)
from serving.models.hibari.windows import REACH
from serving.profile import Profile

MAX_TOKENS = MAX_PHONEMES + 2
MAX_PROSODY_FRAMES = 4096
"""Of 25 ms. A segment that would be longer has its longest phonemes cut: 400 phonemes at 10 frames and
more.
"""
DECODE = "decode"
"""Name of the backend's stage."""


def rows_before_decode(profile: Profile, device: torch.device) -> int:
    """Rows of an encode or prosody step: one on the CPU.

    The pulse source adds up the pitch over the whole segment, so a pitch that differs in its last bits, as
    that of a row in a larger matrix product does, ends in audible-scale differences of 1e-4. A CPU gains
    little from these rows: one sentence fills its matrix products. A GPU gains much.
    """
    return 1 if device.type == "cpu" else profile.engine.max_slots


class Encode(nn.Module):
    """Rows of tokens to text features and durations."""

    name = "encode"
    next_stages: tuple[str, ...] = ("prosody",)
    to_host: tuple[int, ...] = (2,)
    lookahead = False

    def __init__(self, profile: Profile, backend: Backend) -> None:
        super().__init__()
        self.max_rows, self.max_units = (
            rows_before_decode(profile, backend.device),
            profile.engine.max_step_units,
        )
        self.buckets = make_buckets(self.max_rows, self.max_units, (32, 64, 128, 256, MAX_TOKENS))
        self.encoder = backend.encoder
        self.device = backend.device
        self.pauses = profile.text.pauses

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, Tensor]:
        """ids [rows, tokens] int64, lengths [rows] int64."""
        ids = np.zeros((bucket.rows, bucket.length), np.int64)
        lengths = np.ones(bucket.rows, np.int64)
        for row, state in enumerate(states):
            lengths[row] = state.tokens.size
            ids[row, : lengths[row]] = state.tokens
        return self._put(ids), self._put(lengths)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Features for the decoder, features for the prosody, durations: see Encoder.forward."""
        outputs: tuple[Tensor, ...] = self.encoder(*inputs)
        return outputs

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        speech, prosody, durations = outputs
        for row, state in enumerate(states):
            frames = durations[row, : state.tokens.size].numpy()
            if state.trim:
                state.breaks = find_breaks(state.tokens.tolist(), self.pauses)
                frames = lengthen(frames, state.breaks)
            if frames.sum() > MAX_PROSODY_FRAMES:
                frames = np.minimum(frames, MAX_PROSODY_FRAMES // frames.size)
            state.of_frame = np.repeat(np.arange(frames.size), frames)
            state.speech_text = speech[row, : frames.size].clone()  # the next step may write where it lies
            state.prosody_text = prosody[row].index_select(0, self._put(state.of_frame))
            state.ends = 2 * np.cumsum(frames)
            state.stage, state.length = Prosody.name, int(frames.sum())
        return [None] * len(states)

    def _put(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


class Prosody(nn.Module):
    """Rows of 25 ms frames to the decoder's inputs and the pulse source of the whole segment, without the frames that
    nobody needs.
    """

    name = "prosody"
    next_stages: tuple[str, ...] = (DECODE,)
    to_host: tuple[int, ...] = (2,)
    lookahead = False

    def __init__(self, profile: Profile, backend: Backend) -> None:
        super().__init__()
        self.max_rows, self.max_units = (
            rows_before_decode(profile, backend.device),
            profile.engine.max_step_units,
        )
        lengths = [2**power for power in range(5, MAX_PROSODY_FRAMES.bit_length())]
        self.buckets = make_buckets(self.max_rows, self.max_units, lengths)
        self.net, self.pulses = backend.prosody, backend.pulses
        self.profile = profile
        self.device = backend.device

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, Tensor]:
        """Text features [rows, frames, 192], lengths [rows] int64."""
        lengths = np.full(bucket.rows, 2, np.int64)
        lengths[: len(states)] = [state.length for state in states]
        return (
            self._pad([state.prosody_text for state in states], bucket, PROSODY_CHANNELS),
            torch.from_numpy(lengths).to(self.device),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """To pitch and energy as the decoder wants them [rows, 2 * frames, 2], and f0 in Hz and energy alone."""
        f0, energy = self.net(*inputs)
        return torch.stack((torch.log1p(f0.relu()) / 5, energy), 2), f0, energy

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        pitches: list[Tensor] = []
        for row, state in enumerate(states):
            frames = 2 * state.length
            spoken, f0 = outputs[0][row, :frames], outputs[1][row, :frames]
            energy = outputs[2][row, :frames].numpy()
            places = edit(energy, state.ends, state.breaks, state.speed, trim=state.trim)
            count = len(places)
            if state.words:
                state.times = _times(state, energy, places)
            state.inputs = self._inputs(state, spoken, places)
            pitches.append(_between(f0.unsqueeze(1), places, MIN_F0_HZ).squeeze(1))
            # The noise of a frame does not depend on what is cut before it.
            begin = int(places[0])
            drawn = np.random.default_rng(state.noise_seed).integers(NOISE_ROWS, size=begin + count)
            state.noise_rows = drawn[begin:]
            del state.speech_text, state.prosody_text, state.of_frame
        counts = [len(pitch) for pitch in pitches]
        sources = self.pulses(
            nn.utils.rnn.pad_sequence(pitches, batch_first=True), torch.tensor(counts, device=self.device)
        )
        for state, source, count in zip(states, sources, counts, strict=True):
            state.source = source[: count + OVERLAP - 1]
            state.stage = DECODE
            choose_window(state, 0, count, self.profile)
        return [None] * len(states)

    def _inputs(self, state: HibariState, spoken: Tensor, places: Places) -> Tensor:
        """The decoder's inputs at the places, with zeros on either side: [places + 6, 130]; spoken [frames, 2]."""
        of_frame = state.of_frame[np.arange(len(spoken)) // 2]
        text = _between(state.speech_text, places, of=of_frame)
        inputs = spoken.new_zeros(len(places) + 2 * REACH, INPUT_CHANNELS)
        inputs[REACH:-REACH, :SPEECH_CHANNELS] = text
        inputs[REACH:-REACH, SPEECH_CHANNELS:] = _between(spoken, places)
        return inputs

    def _pad(self, rows: list[Tensor], bucket: Bucket, channels: int) -> Tensor:
        if len(rows) == bucket.rows == 1 and len(rows[0]) == bucket.length:
            return rows[0].unsqueeze(0)
        out = torch.zeros(bucket.rows, bucket.length, channels, device=self.device)
        for row, values in enumerate(rows):
            out[row, : len(values)] = values
        return out


def _times(state: HibariState, energy: Energy, places: Places) -> SegmentTimes:
    words = word_times(state.words, state.tokens.tolist(), state.ends, energy, places)
    cut_s = onset_s(energy, places) if state.trim else 0.0  # edges.trim_head cuts about as much
    words = [(max(start_s - cut_s, 0.0), max(end_s - cut_s, 0.0)) for start_s, end_s in words]
    return SegmentTimes(0.0, words[-1][1], words)


def _between(
    rows: Tensor, places: Places, least: float = -math.inf, of: NDArray[np.int64] | None = None
) -> Tensor:
    """Frames [frames, channels] at places [n] between them: linear, but the nearest where either is not above `least`.

    Frame f is row f, or row of[f].
    """
    before = np.floor(places).astype(np.int64)
    whole = np.array_equal(before, places)
    one = _frames(rows, before, of)
    if whole:
        return one
    last = (len(rows) if of is None else len(of)) - 1
    other = _frames(rows, np.minimum(before + 1, last), of)
    weight = torch.from_numpy((places - before).astype(np.float32)[:, None]).to(rows.device)
    if least > -math.inf:
        weight = torch.where((one > least) & (other > least), weight, weight.round())
    return torch.lerp(one, other, weight)


def _frames(rows: Tensor, frames: NDArray[np.int64], of: NDArray[np.int64] | None) -> Tensor:
    return rows.index_select(0, torch.from_numpy(frames if of is None else of[frames]).to(rows.device))
