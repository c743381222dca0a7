"""The decode stage in torch operations: the windows of a step in one batch, in static shapes where those are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.hibari.constants import CHANNELS, HOP, INPUT_CHANNELS, N_FFT, OVERLAP
from serving.models.hibari.edges import Samples
from serving.models.hibari.stages import DECODE
from serving.models.hibari.state import HibariState, advance
from serving.models.hibari.torch.network import Decoder
from serving.models.hibari.torch.synthesis import Synthesis
from serving.models.hibari.windows import HISTORY, LAYERS, REACH, plan
from serving.profile import Profile

CACHED_FRAMES = 48


class Decode(nn.Module):
    """Rows of 12.5 ms frames, a window each, to samples. Keeps what the next window needs in buffers by
    slot.
    """

    name = DECODE
    next_stages: tuple[str, ...] = (DECODE,)
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
            samples.append(advance(state, blocks[at : at + count].reshape(-1).clip(-1, 1), self.profile))
            at += count
        return samples

    def _join(self, rows: list[Tensor], size: int | None, channels: int) -> Tensor:
        if size is not None:
            missing = size - sum(len(row) for row in rows)
            rows = [*rows, torch.zeros(missing, channels, device=self.device)]
        return torch.cat(rows)


def _fill(array: NDArray[np.int64], size: int | None) -> NDArray[np.int64]:
    return array if size is None else np.pad(array, (0, size - array.size))
