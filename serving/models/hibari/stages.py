"""The three stages of the embedded voice, as the engine runs them. Shapes and limits come from the
profile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serving.models.base import Bucket, SegmentState
from serving.models.buckets import make_buckets
from serving.models.hibari.cpu.layers import Pulses
from serving.models.hibari.cpu.network import CpuEncoder, CpuProsodyNet
from serving.models.hibari.frontend import MAX_PHONEMES, SAMPLE_RATE_HZ
from serving.models.hibari.torch.network import (
    CHANNELS,
    INPUT_CHANNELS,
    PROSODY_CHANNELS,
    SPEECH_CHANNELS,
    Decoder,
    Encoder,
    ProsodyNet,
)
from serving.models.hibari.torch.synthesis import HOP, N_FFT, NOISE_ROWS, OVERLAP, PulseSource, Synthesis
from serving.models.hibari.windows import HISTORY, LAYERS, LOOKAHEAD, REACH, Window, next_window, plan
from serving.profile import Profile

Samples = NDArray[np.float32]

BLOCKS_PER_S = SAMPLE_RATE_HZ // HOP
MAX_TOKENS = MAX_PHONEMES + 2
MAX_PROSODY_FRAMES = 4096
"""Of 25 ms. A segment that would be longer has its longest phonemes cut: 400 phonemes at 10 frames and
more.
"""

CACHED_FRAMES = 48


@dataclass(slots=True)
class HibariState(SegmentState):
    """A segment from tokens to its last window."""

    tokens: NDArray[np.int64]
    speed: float
    noise_seed: tuple[int, int]
    urgent: bool
    speech_text: Tensor = field(init=False)  # [prosody frames, 128]
    prosody_text: Tensor = field(init=False)  # [prosody frames, 192]
    inputs: Tensor = field(init=False)  # [frames + 6, 130]
    source: Tensor = field(init=False)  # [frames + 3, 300]
    noise_rows: NDArray[np.int64] = field(init=False)  # [frames]
    window: Window = field(init=False)
    history: Tensor = field(init=False)  # of CpuDecode alone: [8, 6, 256]
    tail: Tensor = field(init=False)  # likewise: [3, 1200]
    window_blocks: int = 0


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

    def __init__(self, profile: Profile, encoder: Encoder | CpuEncoder, device: torch.device) -> None:
        super().__init__()
        self.max_rows, self.max_units = rows_before_decode(profile, device), profile.engine.max_step_units
        self.buckets = make_buckets(self.max_rows, self.max_units, (32, 64, 128, 256, MAX_TOKENS))
        self.encoder = encoder
        self.device = device

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
    next_stages: tuple[str, ...] = ("decode",)
    to_host: tuple[int, ...] = ()
    lookahead = False

    def __init__(self, profile: Profile, net: ProsodyNet | CpuProsodyNet, device: torch.device) -> None:
        super().__init__()
        self.max_rows, self.max_units = rows_before_decode(profile, device), profile.engine.max_step_units
        lengths = [2**power for power in range(5, MAX_PROSODY_FRAMES.bit_length())]
        self.buckets = make_buckets(self.max_rows, self.max_units, lengths)
        self.net = net
        self.pulses = PulseSource() if isinstance(net, ProsodyNet) else Pulses(PulseSource())
        self.profile = profile
        self.device = device

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
        heard = torch.cat((text, pitch.unsqueeze(2), energy.unsqueeze(2)), dim=2)
        heard = functional.pad(heard * inside.repeat_interleave(2, dim=1), (0, 0, REACH, REACH))
        return heard, self.pulses(f0, 2 * lengths), f0

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        inputs, source, _ = outputs
        for row, state in enumerate(states):
            frames = 2 * state.length
            state.inputs = inputs[row, : frames + 2 * REACH].clone()
            state.source = source[row, : frames + OVERLAP - 1].clone()
            state.noise_rows = np.random.default_rng(state.noise_seed).integers(NOISE_ROWS, size=frames)
            del state.speech_text, state.prosody_text
            state.stage = Decode.name
            choose_window(state, 0, frames, self.profile)
        return [None] * len(states)

    def _pad(self, rows: list[Tensor], bucket: Bucket, channels: int) -> Tensor:
        if len(rows) == bucket.rows == 1 and len(rows[0]) == bucket.length:
            return rows[0].unsqueeze(0)
        out = torch.zeros(bucket.rows, bucket.length, channels, device=self.device)
        for row, values in enumerate(rows):
            out[row, : len(values)] = values
        return out


class Decode(nn.Module):
    """Rows of 12.5 ms frames, a window each, to samples. Keeps what the next window needs in buffers by
    slot.
    """

    name = "decode"
    next_stages: tuple[str, ...] = ("decode",)
    to_host: tuple[int, ...] = (0,)
    lookahead = False

    histories: Tensor
    tails: Tensor

    def __init__(self, profile: Profile, decoder: Decoder, device: torch.device) -> None:
        super().__init__()
        self.max_rows, self.max_units = profile.engine.max_slots, profile.engine.max_step_units
        lengths = [32, 64, 128, 192, 256]
        while lengths[-1] < self.max_units:
            lengths.append(2 * lengths[-1])
        self.buckets = make_buckets(self.max_rows, self.max_units, lengths)
        self.decoder = decoder
        self.synthesis = Synthesis()
        self.profile = profile
        self.device = device
        self.static = profile.engine.compile or profile.engine.cuda_graphs
        # Fifteen spectra a frame pass through the synthesis: in eager CPU code, as many frames as the cache holds.
        self.piece = CACHED_FRAMES if device.type == "cpu" and not self.static else 1 << 30
        self.spare_slot = profile.engine.max_slots  # rows beyond the states write here
        slots = profile.engine.max_slots + 1
        self.register_buffer("histories", torch.zeros(LAYERS - 1, slots, HISTORY, CHANNELS))
        self.register_buffer("tails", torch.zeros(slots, OVERLAP - 1, N_FFT))

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, ...]:
        """Inputs, source, noise rows and slots of the rows' windows, then the parts of their Plan.

        Under compile or CUDA graphs their sizes depend on the bucket alone; else rows are packed without
        padding.
        """
        # No states: the engine warms up, and an empty batch has no shape of its own.
        size = bucket.units if self.static or not states else None
        inputs, source, noise = [], [], [np.empty(0, np.int64)]
        for state in states:
            window = state.window
            first = window.new(0)
            inputs.append(state.inputs[first.start : first.stop + 2 * REACH])
            frames = state.source.as_strided((window.frames, N_FFT), (HOP, 1))
            source.append(frames[window.start : window.stop])
            noise.append(state.noise_rows[window.start : window.stop])
        slots = np.full(bucket.rows, self.spare_slot, np.int64)
        slots[: len(states)] = [state.slot for state in states]
        windows = [state.window for state in states]
        indices = [
            _fill(np.concatenate(noise), size),
            slots,
            *plan(windows, bucket.rows, None if size is None else bucket.length).parts(),
        ]
        # One copy to the device for all of them.
        joined = torch.from_numpy(np.concatenate([part.ravel() for part in indices])).to(self.device)
        parts = torch.split(joined, [part.size for part in indices])
        return (
            self._join(inputs, None if size is None else size + bucket.rows * 2 * REACH, INPUT_CHANNELS),
            self._join(source, size, N_FFT),
            *(part.view(like.shape) for part, like in zip(parts, indices, strict=True)),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """To the blocks that these windows complete, [blocks, 300], row after row."""
        frames_in, source, noise_rows, slots, *takes, ends, heads, overlaps, kinds, last = inputs
        histories = self.histories.index_select(1, slots)
        features, kept = self.decoder(frames_in, histories.unbind(0), takes, ends, heads)
        self.histories.index_copy_(1, slots, torch.stack(kept))
        frames = self._synthesise(features, source, noise_rows)
        return (self.overlap_add(frames, slots, overlaps, kinds, last),)

    def _synthesise(self, features: Tensor, source: Tensor, noise_rows: Tensor) -> Tensor:
        """Features [frames, 256] to windowed frames [frames, 1200]."""
        pieces = [
            self.synthesis(self.decoder.parameters_of(part), *rest)
            for part, *rest in zip(
                *(torch.split(whole, self.piece) for whole in (features, source, noise_rows)), strict=True
            )
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def overlap_add(
        self, frames: Tensor, slots: Tensor, overlaps: Tensor, kinds: Tensor, last: Tensor
    ) -> Tensor:
        """Windowed frames [frames, 1200] to blocks [blocks, 300]; keeps each row's last three frames."""
        tails = self.tails.index_select(0, slots).flatten(0, 1)
        frames = torch.cat((tails, frames.new_zeros(1, N_FFT), frames))
        kept = frames.index_select(0, last.flatten()).view(-1, OVERLAP - 1, N_FFT)
        self.tails.index_copy_(0, slots, kept)
        blocks = functional.embedding_bag(overlaps, frames.view(-1, HOP), mode="sum")
        return blocks * self.synthesis.tapers.index_select(0, kinds)

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        blocks = outputs[0].numpy()
        samples: list[Samples | None] = []
        at = 0
        for state in states:
            window = state.window
            count = len(window.blocks)
            samples.append(blocks[at : at + count].reshape(-1).clip(-1, 1))
            at += count
            advance(state, self.profile)
        return samples

    def _join(self, rows: list[Tensor], size: int | None, channels: int) -> Tensor:
        if size is not None:
            missing = size - sum(len(row) for row in rows)
            rows = [*rows, torch.zeros(missing, channels, device=self.device)]
        return torch.cat(rows)


def advance(state: HibariState, profile: Profile) -> None:
    """A window was spoken: choose the next, or end the segment."""
    window = state.window
    if window.stop == window.frames:
        state.stage, state.length = None, 0
    else:
        choose_window(state, window.stop, window.frames, profile)


def choose_window(state: HibariState, start: int, frames: int, profile: Profile) -> None:
    """Choose the window from `start`: small and growing where a listener waits, else as large as a step may
    be.
    """
    streaming, limit = profile.streaming, max(profile.engine.max_step_units, LOOKAHEAD + 8)
    if not state.urgent:
        state.window_blocks = limit
    elif start == 0:
        state.window_blocks = math.ceil(streaming.first_chunk_s * BLOCKS_PER_S)
    else:
        largest = math.ceil(streaming.max_chunk_s * BLOCKS_PER_S)
        state.window_blocks = min(math.ceil(state.window_blocks * streaming.growth), largest)
    state.window = next_window(start, state.window_blocks, frames, limit)
    state.length = state.window.length


def _fill(array: NDArray[np.int64], size: int | None) -> NDArray[np.int64]:
    return array if size is None else np.pad(array, (0, size - array.size))
