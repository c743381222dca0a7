"""A segment in windows, spoken while its codes are still being drawn.

The flow is bidirectional and the vocoder looks to both sides, so a window is an approximation of the whole:

- its flow is prompted by the reference mel and by the mel already spoken, up to `history_s` of it;
- it is drawn a little past what is spoken (`lookahead_s`), so that its last frames have a right context, and
  the next window draws those frames again;
- its noise is the noise that the whole segment would see at the same frames;
- its vocoder window reaches back by the receptive field, and it is cross-faded into the one before.

Lengths in codes and frames follow the same floor as the whole segment's (regulator.target_frames), so the
streamed audio has as many samples as the offline audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.mel.regulator import MEL_FRAMES, target_frames


@dataclass(frozen=True, slots=True)
class StreamingOptions:
    """Sizes of the windows: seconds of audio, which the rates of `mel` turn into frames and codes."""

    mel: MelConfig
    first_s: float = 0.5
    growth: float = 2.0
    max_s: float = 4.0
    lookahead_s: float = 0.16
    history_s: float = 2.0
    prompt_s: float = 15.0
    """Seconds of the reference that prompt the flow, its end; the official reference is at most 15."""
    frames_per_code: int = 1
    """CodecConfig.frames_per_code."""
    follow: bool = False
    """StreamingProfile.follow."""
    stretch: float = 1.0
    """How much longer than its codes say the speech is."""

    @property
    def fade_samples(self) -> int:
        """Length of the cross-fade at a seam: a frame."""
        return self.mel.hop_length

    @property
    def prompt_frames(self) -> int:
        """Frames of prompt_s."""
        return self.mel.frames(self.prompt_s)

    @property
    def history_frames(self) -> int:
        """Frames of history_s."""
        return self.mel.frames(self.history_s)

    def codes(self, seconds: float) -> int:
        """Codes of this many seconds of audio, rounded."""
        per_code = self.frames_per_code * MEL_FRAMES * self.stretch
        return round(seconds * (self.mel.sample_rate_hz / self.mel.hop_length / per_code))

    def frames(self, codes: int) -> int:
        """Mel frames of the first `codes` codes of a segment."""
        return target_frames(codes, self.frames_per_code, self.stretch)

    def window_codes(self, index: int) -> int:
        """Codes spoken by the window of this index; the fewest of it, where windows follow the listener."""
        return max(1, self.codes(min(self.first_s * self.growth**index, self.max_s)))

    @property
    def most_codes(self) -> int:
        """Most codes that a window speaks."""
        return max(1, self.codes(self.max_s))

    @property
    def lookahead_codes(self) -> int:
        """Codes drawn past the ones spoken."""
        return max(1, self.codes(self.lookahead_s))


class Window(NamedTuple):
    """A stretch of a segment: frames first .. last - 1 are spoken, frames up to `end` are drawn."""

    codes: int
    """Codes that its flow reads, from the segment's start."""
    first: int
    last: int
    end: int
    is_final: bool


def next_window(
    options: StreamingOptions, size: int, spoken_codes: int, codes: int, *, finished: bool
) -> Window | None:
    """The window of `size` codes after `spoken_codes`, given that `codes` are drawn and whether the stop is among them.

    None while too few are drawn. The last window takes what is left if that is less than half a window more.
    """
    lookahead = options.lookahead_codes
    last = spoken_codes + size
    if finished and codes <= last + max(lookahead, size // 2):
        if codes <= spoken_codes:
            return None
        first, end = options.frames(spoken_codes), options.frames(codes)
        return Window(codes=codes, first=first, last=end, end=end, is_final=True)
    if codes < last + lookahead:
        return None
    return Window(
        codes=last + lookahead,
        first=options.frames(spoken_codes),
        last=options.frames(last),
        end=options.frames(last + lookahead),
        is_final=False,
    )


class SegmentStream:
    """The state of one segment that is spoken in windows: its mel so far and the samples held back.

    For each window: run the flow on the frames that flow_frames says, give its target to add_mel, run the
    vocoder on vocoder_input, and give its wave to emit.
    """

    def __init__(
        self,
        options: StreamingOptions,
        reference_mel: Tensor,
        prompt_condition: Tensor,
        seed: int,
        *,
        reach: int,
    ) -> None:
        """reference_mel [P, M] and prompt_condition [P, content] of the voice; `reach` of the vocoder, in
        frames."""
        self.options = options
        self.reference_mel = reference_mel[-options.prompt_frames :]
        self.prompt_condition = prompt_condition[-options.prompt_frames :]
        self.seed = seed
        self.reach = reach
        self.hop_samples = options.mel.hop_length
        self.mel = reference_mel.new_zeros(0, reference_mel.shape[1])
        """Frames spoken, and after them those drawn as lookahead."""
        self.overlap = reference_mel.new_zeros(0)
        """The last fade_samples before the seam, as the window before it spoke them."""
        self.index = 0
        self.spoken_codes = 0

    def next(self, codes: int, *, finished: bool) -> Window | None:
        """The next window if enough codes are drawn; see next_window.

        One that follows the listener is all that is left, or as large as windows are; before, it is an offer.
        """
        options = self.options
        size = options.most_codes if options.follow else options.window_codes(self.index)
        return next_window(options, size, self.spoken_codes, codes, finished=finished)

    def offered(self, codes: int) -> Window | None:
        """All that could be spoken now of a window which follows the listener; None while that is too little."""
        options = self.options
        size = codes - options.lookahead_codes - self.spoken_codes
        if not options.follow or size < options.window_codes(self.index):
            return None
        return next_window(options, size, self.spoken_codes, codes, finished=False)

    def flow_frames(self, window: Window) -> tuple[int, int, int]:
        """First frame of what was spoken that prompts the window's flow, frames of the prompt, and of all."""
        first = max(0, window.first - self.options.history_frames)
        prompt = len(self.reference_mel) + window.first - first
        return first, prompt, prompt + window.end - window.first

    def add_mel(self, window: Window, target: Tensor) -> None:
        """Keep the window's mel, frames window.first .. window.end - 1."""
        self.mel = torch.cat([self.mel[: window.first], target])

    def vocoder_input(self, window: Window) -> Tensor:
        """Mel [frames, M] to vocode: the window, its lookahead, and the vocoder's reach before it."""
        return self.mel[max(0, window.first - self._context) : window.end]

    def vocoder_span(self, window: Window) -> tuple[int, int, int]:
        """Frames of vocoder_input, and of these the first and the one past the last whose samples emit
        takes."""
        context = min(window.first, self._context)
        overlap = -(-len(self.overlap) // self.hop_samples)
        return context + window.end - window.first, context - overlap, context + window.last - window.first

    def emit(self, window: Window, wave: Tensor) -> Tensor:
        """Samples that follow those emitted before, from the wave of vocoder_input; then move on.

        All but the final window keep fade_samples back for the next seam.
        """
        hop, fade = self.hop_samples, self.options.fade_samples
        start = min(window.first, self._context) * hop
        stop = start + (window.last - window.first) * hop
        begin = start - len(self.overlap)
        samples = wave[begin:stop].clone()
        if len(self.overlap):
            ramp = (torch.arange(len(self.overlap), device=wave.device) + 0.5) / len(self.overlap)
            samples[: len(self.overlap)] = torch.lerp(self.overlap, samples[: len(self.overlap)], ramp)
        kept = 0 if window.is_final else min(fade, len(samples))
        self.overlap = samples[len(samples) - kept :]
        self.index += 1
        self.spoken_codes = window.codes - (0 if window.is_final else self.options.lookahead_codes)
        return samples[: len(samples) - kept]

    @property
    def _context(self) -> int:
        """Frames before the window that its vocoder reads: its reach, and the frames that hold the fade."""
        return self.reach - (-self.options.fade_samples // self.hop_samples)
