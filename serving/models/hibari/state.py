"""A segment on its way through the stages, and the windows that it is decoded in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serving.models.base import SegmentState
from serving.models.hibari.constants import HOP, OVERLAP, SAMPLE_RATE_HZ
from serving.models.hibari.edges import SEARCH_SAMPLES, Samples, amplify, fade_tail, trim_head
from serving.models.hibari.timing import Break, Frames
from serving.models.hibari.windows import LOOKAHEAD, Window, next_window
from serving.profile import Profile
from serving.protocol import WordSpan

BLOCKS_PER_S = SAMPLE_RATE_HZ // HOP
FEWEST_BLOCKS = SEARCH_SAMPLES // HOP + 4
"""Of a first window: trim_head looks for the onset in it, and leaves some of it."""

NEARLY_AS_QUICK = 2 * LOOKAHEAD
"""A segment that is longer than its first window by no more than this is spoken whole, 1 ms later on AVX-512."""


@dataclass(slots=True)
class HibariState(SegmentState):
    """A segment from tokens to its last window."""

    tokens: NDArray[np.int64]
    speed: float
    noise_seed: tuple[int, int]
    urgent: bool
    words: Sequence[WordSpan]  # none of a request that asks for no times
    trim: bool
    gain: float
    breaks: Sequence[Break] = ()
    ends: Frames = field(init=False)  # [tokens]: the prosody's frame of 12.5 ms behind each
    of_frame: Frames = field(init=False)  # [prosody frames]: which token each belongs to
    speech_text: Tensor = field(init=False)  # [tokens, 128]
    prosody_text: Tensor = field(init=False)  # [prosody frames, 192]
    inputs: Tensor = field(init=False)  # [frames + 6, 130]
    source: Tensor = field(init=False)  # [frames + 3, 300]
    noise_rows: NDArray[np.int64] = field(init=False)  # [frames]
    window: Window = field(init=False)
    window_blocks: int = 0
    history: Tensor = field(init=False)  # [8, 6, 256], and
    tail: Tensor = field(
        init=False
    )  # [3, 1200]: what the next window needs, of a backend that keeps it by segment


def advance(state: HibariState, samples: Samples, profile: Profile) -> Samples:
    """A window was spoken: choose the next, or end the segment. Returns what is heard of the window's samples."""
    window = state.window
    if state.trim:
        if window.start == 0:
            samples = trim_head(samples)
        if window.stop == window.frames:
            samples = fade_tail(samples)
    if state.gain != 1:
        samples = amplify(samples, state.gain)
    if window.stop == window.frames:
        state.stage, state.length = None, 0
    else:
        choose_window(state, window.stop, window.frames, profile)
    return samples


def choose_window(state: HibariState, start: int, frames: int, profile: Profile) -> None:
    """Choose the window from `start`: small and growing where a listener waits, else as large as a step may be.

    Each window has costs of its own, in the model, the engine and the connection. So a segment that is nearly as quick
    whole as its first window is spoken whole, and what is left after it in one piece, if that is no longer than the
    largest window and a half.
    """
    streaming, limit = (
        profile.streaming,
        max(profile.engine.max_step_units, LOOKAHEAD + FEWEST_BLOCKS + OVERLAP),
    )
    spare = LOOKAHEAD
    if not state.urgent:
        state.window_blocks = limit
    elif start == 0:
        state.window_blocks = max(math.ceil(streaming.first_chunk_s * BLOCKS_PER_S), FEWEST_BLOCKS)
        spare = NEARLY_AS_QUICK
    else:
        largest = math.ceil(streaming.max_chunk_s * BLOCKS_PER_S)
        state.window_blocks = min(math.ceil(state.window_blocks * streaming.growth), largest)
        if frames - start <= largest + largest // 2:
            state.window_blocks = frames - start
    state.window = next_window(start, state.window_blocks, frames, limit, spare)
    state.length = state.window.length
