"""Speaking a segment in windows while its codes are still being drawn.

The flow is bidirectional and the vocoder looks to both sides, so a window is an approximation of the whole:

- its flow is prompted by the reference mel and by the mel already spoken, up to `history_s` of it;
- it is drawn a little past what is spoken (`lookahead_s`), so that its last frames have a right context, and
  the next window draws those frames again;
- its noise is the noise that the whole segment would see at the same frames;
- its vocoder window reaches back by the receptive field, and it is cross-faded into the one before.

Lengths in codes and frames follow the same floor(1.72 n) as the whole segment, so the streamed audio has as
many samples as the offline audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from serving.models.indextts2.mel.flow import frame_noise
from serving.models.indextts2.mel.regulator import target_frames

_CODES_PER_S = 22050 / 256 / 1.72


@dataclass(frozen=True, slots=True)
class StreamingOptions:
    """Sizes of the windows, in seconds of audio."""

    first_s: float = 0.5
    growth: float = 2.0
    max_s: float = 4.0
    lookahead_s: float = 0.16
    history_s: float = 2.0
    prompt_s: float = 15.0
    """Seconds of the reference that prompt the flow, its end; the official reference is at most 15."""
    fade_samples: int = 256

    def window_codes(self, index: int) -> int:
        """Codes spoken by the window of this index."""
        return max(1, round(min(self.first_s * self.growth**index, self.max_s) * _CODES_PER_S))

    @property
    def lookahead_codes(self) -> int:
        """Codes drawn past the ones spoken."""
        return round(self.lookahead_s * _CODES_PER_S)


class Window(NamedTuple):
    """A stretch of a segment: frames first .. last - 1 are spoken, frames up to `end` are drawn."""

    codes: int
    """Codes that its flow reads, from the segment's start."""
    first: int
    last: int
    end: int
    is_final: bool


def next_window(
    options: StreamingOptions, index: int, spoken_codes: int, codes: int, *, finished: bool
) -> Window | None:
    """The window after `spoken_codes`, given that `codes` are drawn and whether the stop is among them.

    None while too few are drawn. The last window takes what is left if that is less than half a window more.
    """
    size, lookahead = options.window_codes(index), options.lookahead_codes
    last = spoken_codes + size
    if finished and codes <= last + max(lookahead, size // 2):
        if codes <= spoken_codes:
            return None
        first, end = target_frames(spoken_codes), target_frames(codes)
        return Window(codes=codes, first=first, last=end, end=end, is_final=True)
    if codes < last + lookahead:
        return None
    return Window(
        codes=last + lookahead,
        first=target_frames(spoken_codes),
        last=target_frames(last),
        end=target_frames(last + lookahead),
        is_final=False,
    )


class SegmentStream:
    """The state of one segment that is spoken in windows: its mel so far and the samples held back.

    For each window: begin the flow with flow_inputs, give its target to add_mel, run the vocoder on
    vocoder_input, and give its wave to emit.
    """

    def __init__(
        self,
        options: StreamingOptions,
        reference_mel: Tensor,
        prompt_condition: Tensor,
        seed: int,
        *,
        reach: int,
        hop_samples: int = 256,
    ) -> None:
        """reference_mel [P, M] and prompt_condition [P, content] of the voice; `reach` of the vocoder, in
        frames."""
        prompt = round(options.prompt_s * 22050 / hop_samples)
        self.options = options
        self.reference_mel = reference_mel[-prompt:]
        self.prompt_condition = prompt_condition[-prompt:]
        self.seed = seed
        self.reach = reach
        self.hop_samples = hop_samples
        self.history_frames = round(options.history_s * 22050 / hop_samples)
        self.mel = reference_mel.new_zeros(0, reference_mel.shape[1])
        """Frames spoken, and after them those drawn as look-ahead."""
        self.held = reference_mel.new_zeros(0)
        """The last fade_samples before the seam, as the window before it spoke them."""
        self.index = 0
        self.spoken_codes = 0

    def next(self, codes: int, *, finished: bool) -> Window | None:
        """The next window if enough codes are drawn; see next_window."""
        return next_window(self.options, self.index, self.spoken_codes, codes, finished=finished)

    def flow_frames(self, window: Window) -> tuple[int, int, int]:
        """First frame of what was spoken that prompts the window's flow, frames of the prompt, and of all."""
        first = max(0, window.first - self.history_frames)
        prompt = len(self.reference_mel) + window.first - first
        return first, prompt, prompt + window.end - window.first

    def flow_inputs(self, window: Window, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt mel, condition and noise for Flow.begin.

        `condition` [window.end, content] is the regulator's output for the window's codes.
        """
        first, _, _ = self.flow_frames(window)
        prompt = torch.cat([self.reference_mel, self.mel[first : window.first]])
        mu = torch.cat([self.prompt_condition, condition[first : window.end]])
        noise = frame_noise(
            self.seed, window.first, window.end - window.first, prompt.shape[1], prompt.device
        )
        return prompt, mu, noise

    def add_mel(self, window: Window, target: Tensor) -> None:
        """Keep the window's mel, frames window.first .. window.end - 1."""
        self.mel = torch.cat([self.mel[: window.first], target])

    def vocoder_input(self, window: Window) -> Tensor:
        """Mel [frames, M] to vocode: the window, its look-ahead, and the vocoder's reach before it."""
        return self.mel[max(0, window.first - self._context) : window.end]

    def vocoder_span(self, window: Window) -> tuple[int, int, int]:
        """Frames of vocoder_input, and of these the first and the one past the last whose samples emit
        takes."""
        context = min(window.first, self._context)
        held = -(-len(self.held) // self.hop_samples)
        return context + window.end - window.first, context - held, context + window.last - window.first

    def emit(self, window: Window, wave: Tensor) -> Tensor:
        """Samples that follow those emitted before, from the wave of vocoder_input; then move on.

        All but the final window keep fade_samples back for the next seam.
        """
        hop, fade = self.hop_samples, self.options.fade_samples
        start = min(window.first, self._context) * hop
        stop = start + (window.last - window.first) * hop
        begin = start - len(self.held)
        samples = wave[begin:stop].clone()
        if len(self.held):
            ramp = (torch.arange(len(self.held), device=wave.device) + 0.5) / len(self.held)
            samples[: len(self.held)] = torch.lerp(self.held, samples[: len(self.held)], ramp)
        kept = 0 if window.is_final else min(fade, len(samples))
        self.held = samples[len(samples) - kept :]
        self.index += 1
        self.spoken_codes = window.codes - (0 if window.is_final else self.options.lookahead_codes)
        return samples[: len(samples) - kept]

    @property
    def _context(self) -> int:
        """Frames before the window that its vocoder reads: its reach, and the frames that hold the fade."""
        return self.reach - (-self.options.fade_samples // self.hop_samples)
