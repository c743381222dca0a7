"""Windows of the embedded voice: every frame once in each layer, and indices that find what they should."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.models.hibari.constants import OVERLAP
from serving.models.hibari.state import NEARLY_AS_QUICK, HibariState, choose_window
from serving.models.hibari.windows import (
    FIRST,
    HISTORY,
    INSIDE,
    LAST,
    LAYERS,
    LOOKAHEAD,
    REACH,
    SECOND_TO_LAST,
    Window,
    next_window,
    plan,
)
from serving.profile import Profile, StreamingProfile

LIMIT = 64


def windows_of(frames: int, blocks: list[int], spare: int = LOOKAHEAD) -> list[Window]:
    """The windows of a segment when the steps ask for these numbers of blocks, over and over."""
    windows: list[Window] = []
    while not windows or windows[-1].stop < frames:
        start = windows[-1].stop if windows else 0
        windows.append(next_window(start, blocks[len(windows) % len(blocks)], frames, LIMIT, spare))
    return windows


segments = st.builds(
    windows_of,
    st.integers(6, 200),
    st.lists(st.integers(2, 100), min_size=1, max_size=5),
    st.sampled_from([LOOKAHEAD, NEARLY_AS_QUICK]),
)


@given(segments)
def test_every_layer_computes_every_frame_once_and_every_block_comes_out_once(windows: list[Window]) -> None:
    frames = list(range(windows[0].frames))
    for layer in range(-1, LAYERS):
        assert [frame for window in windows for frame in window.new(layer)] == frames
    assert [block for window in windows for block in window.blocks] == frames


@given(segments)
def test_no_window_costs_more_than_the_limit_or_less_than_it_computes(windows: list[Window]) -> None:
    for window in windows:
        assert max(len(window.new(layer)) for layer in range(-1, LAYERS)) == window.length <= LIMIT


def test_a_segment_that_fits_is_one_window_and_no_layer_runs_ahead() -> None:
    window = next_window(0, LIMIT, LIMIT, LIMIT)
    assert window == Window(0, LIMIT, LIMIT)
    assert all(len(window.new(layer)) == LIMIT for layer in range(-1, LAYERS))


def test_a_first_window_needs_its_lookahead_and_two_frames_for_the_overlap() -> None:
    window = next_window(0, 20, 1000, 1024)
    assert window.stop == 22
    assert list(window.blocks) == list(range(20))
    assert len(window.new(-1)) == window.length == 22 + LOOKAHEAD


def heard_as(frames: int, *, urgent: bool, growth: float = 4.0, max_chunk_s: float = 3.0) -> list[int]:
    """Where the windows of a segment end."""
    state = HibariState(
        slot=0,
        stage="decode",
        length=1,
        tokens=np.zeros(1, np.int64),
        speed=1.0,
        noise_seed=(0, 0),
        urgent=urgent,
        words=[],
        trim=True,
        gain=1.0,
    )
    profile = Profile(name="test", streaming=StreamingProfile(growth=growth, max_chunk_s=max_chunk_s))
    stops = [0]
    while stops[-1] < frames:
        choose_window(state, stops[-1], frames, profile)
        stops.append(state.window.stop)
    return stops[1:]


def test_a_listener_hears_a_sentence_in_two_windows_and_a_word_in_one() -> None:
    assert heard_as(22 + NEARLY_AS_QUICK, urgent=True) == [22 + NEARLY_AS_QUICK]
    assert heard_as(22 + NEARLY_AS_QUICK + 1, urgent=True) == [22, 22 + NEARLY_AS_QUICK + 1]
    assert heard_as(22 + 360, urgent=True) == [22, 382]
    assert heard_as(22 + 361, urgent=True) == [22, 102, 383]
    assert heard_as(1000, urgent=True) == [22, 102, 342, 582, 822, 1000]
    assert heard_as(1000, urgent=False) == [1000]


def test_a_profile_with_small_windows_gets_small_windows() -> None:
    sizes = np.diff([0, *heard_as(300, urgent=True, growth=1.0, max_chunk_s=0.25)])
    assert sizes.max() <= 22 + LOOKAHEAD


@settings(max_examples=30, deadline=None)
@given(st.lists(segments, min_size=1, max_size=4), st.integers(0, 2), st.booleans(), st.integers(0))
def test_the_plan_streams_a_batch_as_if_each_segment_were_computed_alone_and_at_once(
    rows: list[list[Window]], inert: int, static: bool, seed: int
) -> None:
    """In integers: 9 layers that add up 7 neighbours, then 4 overlapping parts of frames that add up to
    blocks.
    """
    batch = len(rows) + inert
    random = np.random.default_rng(seed)
    signals = [random.integers(100, size=windows[0].frames) for windows in rows]
    histories = random.integers(100, size=(LAYERS, len(rows), HISTORY))  # what others left there
    tails = random.integers(100, size=(len(rows), OVERLAP - 1, OVERLAP))
    spoken: list[list[int]] = [[] for _ in rows]
    for number in range(max(map(len, rows))):
        active = [row for row, windows in enumerate(rows) if number < len(windows)]
        windows = [rows[row][number] for row in active]
        length = max(window.length for window in windows) if static else None
        planned = plan(windows, batch, length)
        spans = [
            np.pad(signals[row], REACH)[window.new(0).start : window.new(0).stop + HISTORY]
            for row, window in zip(active, windows, strict=True)
        ]
        x = add_neighbours(np.concatenate(spans))
        for layer in range(1, LAYERS):
            held = np.zeros((batch, HISTORY), np.int64)
            held[: len(active)] = histories[layer, active]
            taken = np.concatenate((held.ravel(), [0], x))[planned.takes[layer - 1]]
            for place, row in enumerate(active):
                end = planned.ends[layer - 1, place]
                histories[layer, row] = taken[end - HISTORY : end]
            x = add_neighbours(taken)
        frames = x[planned.heads][:, None] * (1, 10, 100, 1000)
        held = np.zeros((batch, OVERLAP - 1, OVERLAP), np.int64)
        held[: len(active)] = tails[active]
        frames = np.concatenate((held.reshape(-1, OVERLAP), np.zeros((1, OVERLAP), np.int64), frames))
        tails[active] = frames[planned.tails[: len(active)]]
        blocks = frames.ravel()[planned.overlaps].sum(1)
        at = 0
        for row, window in zip(active, windows, strict=True):
            spoken[row] += blocks[at : at + len(window.blocks)].tolist()
            at += len(window.blocks)
        if length is not None:
            assert planned.takes[0].size == batch * (length + HISTORY)
    for signal, streamed in zip(signals, spoken, strict=True):
        whole = signal
        for _ in range(LAYERS):
            whole = add_neighbours(np.pad(whole, REACH))
        # Block m adds frames m-1 to m+2, the later ones with their earlier parts.
        parts = np.pad(whole, (1, 2))
        expected = parts[3:] + 10 * parts[2:-1] + 100 * parts[1:-2] + 1000 * parts[:-3]
        assert streamed == expected.tolist()


def add_neighbours(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """[frames] to [frames - 6]: the sum of each frame and three on either side."""
    return np.convolve(x, np.ones(2 * REACH + 1, np.int64), mode="valid")


def test_the_ends_of_a_segment_have_their_own_window_sums() -> None:
    planned = plan([Window(0, 10, 10)], 1, None)
    assert planned.tapers.tolist() == [FIRST, *[INSIDE] * 7, SECOND_TO_LAST, LAST]
