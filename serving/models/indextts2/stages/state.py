"""A segment in flight, and what it does next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serving.models.base import SegmentState
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.stages.streaming import SegmentStream, StreamingOptions, Window
from serving.models.indextts2.voice.conditioning import VoiceConditioning
from serving.models.indextts2.voice.store import EmotionKey

Samples = NDArray[np.float32]

LATENTS_AT_ONCE = 256
"""Longest stretch of codes that the second pass takes in one step."""


def after_codes(*, second_pass: bool) -> tuple[str, ...]:
    """The stages that SpeechState.choose may choose."""
    return ("decode", "latents", "prepare") if second_pass else ("decode", "prepare")


class Stretch(NamedTuple):
    """Frames first .. last - 1 of a window's mel are wanted, and begin .. end - 1 are vocoded for them."""

    first: int
    last: int
    begin: int
    end: int


@dataclass(slots=True)
class SpeechState(SegmentState):
    """A segment from its text to its last samples."""

    text: list[int]
    sampling: Sampling
    voice_key: str
    emotion_key: EmotionKey
    windows: StreamingOptions
    second_pass: bool
    """Its latents come from the second pass (official positions)."""

    voice: VoiceConditioning | None = None
    emovec: Tensor | None = None
    """[1280]."""
    other_emotion: Tensor | None = None
    """[1280], of the other voice that it takes its emotion from."""
    recordings: tuple[str, ...] = ()
    """Content keys that its condition step encodes."""
    stream: SegmentStream | None = None
    codes: int = 0
    """Codes that the host has seen, the stop left out."""
    is_finished: bool = False
    """The stop was seen, or as many codes as it may have."""
    latents: int = 1
    """Latents that are ready, under official positions; the first comes with the prefill."""
    window: Window | None = None
    prompt_frames: int = 0
    """Frames before the target in the window's flow."""
    iterations_left: int = 0
    """Euler iterations of the window not launched yet."""
    mel: Tensor | None = None
    """What the vocoder reads for the window, [frames, mels]."""
    wave: Tensor | None = None
    """Samples of `mel` as far as they are made, float32 on the host [frames * hop]."""
    vocoded_frames: int = 0
    """Frames of `mel` whose samples are made."""

    def take_code(self, code: int, stop_code: int) -> None:
        """Take note of a drawn code; those after the stop mean nothing."""
        if self.is_finished:
            return
        if code == stop_code:
            self.is_finished = True
            return
        self.codes += 1
        self.is_finished = self.codes == self.sampling.max_codes

    def stretch(self, at_once: int) -> Stretch:
        """What the vocoder makes next of the window: all of it, or `at_once` frames with its reach around."""
        assert self.stream is not None
        assert self.window is not None
        frames, first, last = self.stream.vocoder_span(self.window)
        reach = self.stream.reach
        if frames <= at_once + 2 * reach:
            return Stretch(first, last, 0, frames)
        first = max(first, self.vocoded_frames)
        last = min(last, first + at_once)
        return Stretch(first, last, max(0, first - reach), min(frames, last + reach))

    def choose(self) -> None:
        """Choose the stage it wants next: a window if enough codes are drawn, else more codes, else nothing."""
        assert self.stream is not None
        if self.window is None:
            self.window = self.stream.next(self.codes, finished=self.is_finished)
        self.offer_s = 0.0
        if self.window is None:
            self.stage, self.length = (None, 0) if self.is_finished else ("decode", 1)
            if not self.is_finished and (offered := self.stream.offered(self.codes)) is not None:
                mel = self.stream.options.mel
                self.offer_s = (offered.last - offered.first) * mel.hop_length / mel.sample_rate_hz
        elif self.second_pass and self.window.codes > self.latents:
            self.stage, self.length = "latents", min(self.window.codes - self.latents, LATENTS_AT_ONCE)
        else:
            # The condition is computed from the segment's first frame on, the flow from its prompt on.
            _, _, frames = self.stream.flow_frames(self.window)
            self.stage, self.length = "prepare", max(self.window.end, frames)

    def take_offer(self) -> None:
        """Speak a window of all that is drawn."""
        assert self.stream is not None
        self.window = self.stream.offered(self.codes)
        self.choose()
