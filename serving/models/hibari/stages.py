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
from torch.nn import functional

from serving.models.base import Bucket, SegmentTimes
from serving.models.buckets import make_buckets
from serving.models.hibari.backend import Backend
from serving.models.hibari.constants import (
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
    FRAME_S,
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
            of_frame = self._put(np.repeat(np.arange(frames.size), frames))
            state.speech_text = speech[row].index_select(0, of_frame)
            state.prosody_text = prosody[row].index_select(0, of_frame)
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

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, Tensor, Tensor]:
        """Text features [rows, frames, 128] and [rows, frames, 192], lengths [rows] int64."""
        lengths = np.full(bucket.rows, 2, np.int64)
        lengths[: len(states)] = [state.length for state in states]
        return (
            self._pad([state.speech_text for state in states], bucket, SPEECH_CHANNELS),
            self._pad([state.prosody_text for state in states], bucket, PROSODY_CHANNELS),
            torch.from_numpy(lengths).to(self.device),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """To decoder inputs [rows, 2 * frames, 130], f0 in Hz and energy, both [rows, 2 * frames]."""
        speech, prosody, lengths = inputs
        inside = (torch.arange(speech.shape[1], device=speech.device) < lengths[:, None]).unsqueeze(2)
        f0, energy = self.net(prosody, inside)
        pitch = torch.log1p(f0.relu()) / 5
        text = speech.repeat_interleave(2, dim=1)
        decoded = torch.cat((text, pitch.unsqueeze(2), energy.unsqueeze(2)), dim=2)
        return decoded * inside.repeat_interleave(2, dim=1), f0, energy

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        decoded, f0, energies = outputs
        pitches: list[Tensor] = []
        for row, state in enumerate(states):
            frames = 2 * state.length
            energy = energies[row, :frames].numpy()
            places = edit(energy, state.ends, state.breaks, state.speed, trim=state.trim)
            count = len(places)
            state.times = _times(state, energy, places)
            inputs = _between(decoded[row, :frames], places)
            state.inputs = functional.pad(inputs, (0, 0, REACH, REACH))
            pitches.append(_between(f0[row, :frames].unsqueeze(1), places, MIN_F0_HZ).squeeze(1))
            # The noise of a frame does not depend on what is cut before it.
            begin = int(places[0])
            drawn = np.random.default_rng(state.noise_seed).integers(NOISE_ROWS, size=begin + count)
            state.noise_rows = drawn[begin:]
            del state.speech_text, state.prosody_text
        counts = [len(pitch) for pitch in pitches]
        sources = self.pulses(
            nn.utils.rnn.pad_sequence(pitches, batch_first=True), torch.tensor(counts, device=self.device)
        )
        for state, source, count in zip(states, sources, counts, strict=True):
            state.source = source[: count + OVERLAP - 1]
            state.stage = DECODE
            choose_window(state, 0, count, self.profile)
        return [None] * len(states)

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
    return SegmentTimes(0.0, words[-1][1] if words else len(places) * FRAME_S - cut_s, words)


def _between(rows: Tensor, places: Places, least: float = -math.inf) -> Tensor:
    """Rows [frames, channels] at places [n] between them: linear, but the nearest where either is not above `least`."""
    before = np.floor(places).astype(np.int64)
    one = rows.index_select(0, torch.from_numpy(before).to(rows.device))
    if np.array_equal(before, places):
        return one
    behind = np.minimum(before + 1, len(rows) - 1)
    other = rows.index_select(0, torch.from_numpy(behind).to(rows.device))
    weight = torch.from_numpy((places - before).astype(np.float32)[:, None]).to(rows.device)
    if least > -math.inf:
        weight = torch.where((one > least) & (other > least), weight, weight.round())
    return torch.lerp(one, other, weight)
