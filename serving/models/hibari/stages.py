"""The stages before decode, the same for every backend. Shapes and limits come from the profile.

encode gives the durations of the phonemes, prosody the inputs of the decoder for the whole segment; decode, a stage of
the backend's own, turns windows of its frames to samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.hibari.backend import Backend
from serving.models.hibari.constants import NOISE_ROWS, OVERLAP, PROSODY_CHANNELS, SPEECH_CHANNELS
from serving.models.hibari.pieces import MAX_PHONEMES
from serving.models.hibari.state import HibariState, Samples, choose_window
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

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, Tensor, Tensor]:
        """ids [rows, tokens] int64, lengths [rows] int64, speeds [rows] float32."""
        ids = np.zeros((bucket.rows, bucket.length), np.int64)
        lengths = np.ones(bucket.rows, np.int64)
        speeds = np.ones(bucket.rows, np.float32)
        for row, state in enumerate(states):
            lengths[row] = state.tokens.size
            ids[row, : lengths[row]] = state.tokens
            speeds[row] = state.speed
        return self._put(ids), self._put(lengths), self._put(speeds)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Features for the decoder, features for the prosody, durations: see Encoder.forward."""
        outputs: tuple[Tensor, ...] = self.encoder(*inputs)
        return outputs

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        speech, prosody, durations = outputs
        for row, state in enumerate(states):
            frames = durations[row, : state.tokens.size].numpy()
            if frames.sum() > MAX_PROSODY_FRAMES:
                frames = np.minimum(frames, MAX_PROSODY_FRAMES // frames.size)
            of_frame = self._put(np.repeat(np.arange(frames.size), frames))
            state.speech_text = speech[row].index_select(0, of_frame)
            state.prosody_text = prosody[row].index_select(0, of_frame)
            state.stage, state.length = Prosody.name, int(frames.sum())
        return [None] * len(states)

    def _put(self, array: NDArray[np.int64] | NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


class Prosody(nn.Module):
    """Rows of 25 ms frames to the decoder's inputs and the pulse source of the whole segment."""

    name = "prosody"
    next_stages: tuple[str, ...] = (DECODE,)
    to_host: tuple[int, ...] = ()
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
        """To decoder inputs [rows, 2 * frames + 6, 130], source blocks [rows, 2 * frames + 3, 300] and f0
        [rows, 2 * frames] in Hz.
        """
        speech, prosody, lengths = inputs
        inside = (torch.arange(speech.shape[1], device=speech.device) < lengths[:, None]).unsqueeze(2)
        f0, energy = self.net(prosody, inside)
        pitch = torch.log1p(f0.relu()) / 5
        text = speech.repeat_interleave(2, dim=1)
        decoded = torch.cat((text, pitch.unsqueeze(2), energy.unsqueeze(2)), dim=2)
        decoded = functional.pad(decoded * inside.repeat_interleave(2, dim=1), (0, 0, REACH, REACH))
        return decoded, self.pulses(f0, 2 * lengths), f0

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        inputs, source, _ = outputs
        for row, state in enumerate(states):
            frames = 2 * state.length
            state.inputs = inputs[row, : frames + 2 * REACH].clone()
            state.source = source[row, : frames + OVERLAP - 1].clone()
            state.noise_rows = np.random.default_rng(state.noise_seed).integers(NOISE_ROWS, size=frames)
            del state.speech_text, state.prosody_text
            state.stage = DECODE
            choose_window(state, 0, frames, self.profile)
        return [None] * len(states)

    def _pad(self, rows: list[Tensor], bucket: Bucket, channels: int) -> Tensor:
        if len(rows) == bucket.rows == 1 and len(rows[0]) == bucket.length:
            return rows[0].unsqueeze(0)
        out = torch.zeros(bucket.rows, bucket.length, channels, device=self.device)
        for row, values in enumerate(rows):
            out[row, : len(values)] = values
        return out
