"""Mel to samples: the vocoder over stretches of a window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.networks import MelVocoder
from serving.models.indextts2.stages.shapes import make_lengths
from serving.models.indextts2.stages.state import Samples, SpeechState, after_codes
from serving.models.indextts2.wave.vocoder import reach_frames


class Vocode:
    """Stretches of mel to samples; the last one of a window ends the window."""

    name = "vocode"
    to_host: tuple[int, ...] = (0,)
    lookahead = False

    def __init__(
        self,
        vocoder: MelVocoder,
        flow: Flow,
        *,
        max_rows: int,
        max_units: int,
        at_once: int,
        static: bool,
        second_pass: bool = False,
        fine: bool = False,
    ) -> None:
        """`at_once`: longest stretch in frames; `static`: shapes follow from the bucket alone; `fine`: see Options."""
        longest = at_once + 2 * reach_frames(vocoder.config)
        # Many rows at once save little, for time grows with frames, and whoever begins to speak would wait for them.
        self.max_rows, self.max_units = max_rows, min(max_units, 2 * longest) if static else max_units
        self.next_stages: tuple[str, ...] = (self.name, *after_codes(second_pass=second_pass))
        self.buckets = make_buckets(
            max_rows, self.max_units, make_lengths(min(64 if fine else 96, longest), longest, fine=fine)
        )
        self._vocoder = vocoder
        self._flow = flow
        self._at_once = at_once
        self.static = static
        self._dtype = vocoder.dtype

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """mel [R, M, T] and its live frames int64 [R]; without frames if every row is T long."""
        mels = self._vocoder.config.num_mels
        rows = torch.zeros(bucket.rows, bucket.length, mels, device=self._flow.x.device)
        for row, state in enumerate(states):
            if state.mel is None:
                self._take_mel(state)
            assert state.mel is not None
            stretch = state.stretch(self._at_once)
            rows[row, : state.length] = state.mel[stretch.begin : stretch.end]
        lengths = [*(state.length for state in states), *[1] * (bucket.rows - len(states))]
        if not self.static and states and min(lengths) == bucket.length:
            lengths = []
        return rows.mT, torch.tensor(lengths, dtype=torch.int64)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Samples, float32 [R, T * hop]."""
        mel, lengths = inputs
        return (self._vocoder(mel.to(self._dtype), lengths if len(lengths) else None).float(),)

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        hop = self._vocoder.config.hop_length
        spoken: list[Samples | None] = []
        for state, wave in zip(states, outputs[0], strict=False):
            stretch = state.stretch(self._at_once)
            assert state.mel is not None
            if state.wave is None:
                state.wave = torch.zeros(len(state.mel) * hop)
            made = slice((stretch.first - stretch.begin) * hop, (stretch.last - stretch.begin) * hop)
            state.wave[stretch.first * hop : stretch.last * hop] = wave[made]
            state.vocoded_frames = stretch.last
            spoken.append(self._end(state) if self._is_done(state) else None)
        return spoken

    def _take_mel(self, state: SpeechState) -> None:
        """The flow's target out of its slot, which the next window will overwrite, into the stream."""
        window, stream, prompt = state.window, state.stream, state.prompt_frames
        assert window is not None
        assert stream is not None
        frames = window.end - window.first
        stream.add_mel(window, self._flow.x[state.slot, prompt : prompt + frames])
        state.mel, state.wave, state.vocoded_frames = stream.vocoder_input(window), None, 0

    def _is_done(self, state: SpeechState) -> bool:
        assert state.window is not None
        assert state.stream is not None
        if state.vocoded_frames == state.stream.vocoder_span(state.window)[2]:
            return True
        stretch = state.stretch(self._at_once)
        state.length = stretch.end - stretch.begin
        return False

    def _end(self, state: SpeechState) -> Samples:
        """The window's samples; the state goes on to its next window, its next code or its end."""
        assert state.stream is not None
        assert state.window is not None
        assert state.wave is not None
        samples: Samples = state.stream.emit(state.window, state.wave).numpy()
        state.mel = state.wave = state.window = None
        state.choose()
        return samples
