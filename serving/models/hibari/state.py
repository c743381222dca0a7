"""A segment on its way through the stages, and the windows that it is decoded in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serving.models.base import SegmentState
from serving.models.hibari.constants import HOP, SAMPLE_RATE_HZ
from serving.models.hibari.windows import LOOKAHEAD, Window, next_window
from serving.profile import Profile

Samples = NDArray[np.float32]

BLOCKS_PER_S = SAMPLE_RATE_HZ // HOP


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
    window_blocks: int = 0
    history: Tensor = field(init=False)  # [8, 6, 256], and
    tail: Tensor = field(
        init=False
    )  # [3, 1200]: what the next window needs, of a backend that keeps it by segment


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
