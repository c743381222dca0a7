"""Windows that follow the listener: whenever an offer is taken, every frame is spoken once."""

from __future__ import annotations

import dataclasses

import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.stages.streaming import SegmentStream, StreamingOptions, Window

OPTIONS = StreamingOptions(mel=MelConfig(), first_s=0.3, growth=1.5, max_s=2.0, follow=True)


def windows(codes: int, takes: list[bool], options: StreamingOptions = OPTIONS) -> list[Window]:
    """All windows of a segment whose codes come one by one, where offers are taken as `takes` says, in turn."""
    mel = torch.zeros(10, 80)
    stream = SegmentStream(options, mel, mel, 0, reach=4)
    found: list[Window] = []
    drawn = offers = 0
    while True:
        window = stream.next(drawn, finished=drawn == codes)
        if window is None and drawn < codes:
            window = stream.offered(drawn)
            if window is not None:
                offers += 1
                window = window if takes[offers % len(takes)] else None
        if window is not None:
            found.append(window)
            stream.index += 1
            stream.spoken_codes = window.codes - (0 if window.is_final else options.lookahead_codes)
        elif drawn == codes:
            return found
        else:
            drawn += 1


@given(codes=st.integers(0, 300), takes=st.lists(st.booleans(), min_size=1, max_size=40))
def test_every_frame_is_spoken_once(codes: int, takes: list[bool]) -> None:
    found = windows(codes, takes)
    frames = [frame for window in found for frame in range(window.first, window.last)]
    assert frames == list(range(target_frames(codes)))
    assert [window.is_final for window in found] == [False] * (len(found) - 1) + [True] * bool(found)


def test_offers_taken_at_once_are_the_windows_that_follow_nobody() -> None:
    spoken = [window.last - window.first for window in windows(300, [True])]
    least = [OPTIONS.frames(OPTIONS.window_codes(index)) for index in range(len(spoken))]
    assert all(abs(frames - fewest) <= 1 for frames, fewest in zip(spoken[:-2], least, strict=False))


def test_offers_never_taken_are_the_largest_windows() -> None:
    assert len(windows(250, [False])) == 3
    assert max(window.last - window.first for window in windows(250, [False])[:-1]) == OPTIONS.frames(
        OPTIONS.most_codes
    )


@given(codes=st.integers(0, 60), takes=st.lists(st.booleans(), min_size=1, max_size=10))
def test_a_lookahead_of_less_than_a_code_loses_no_frame(codes: int, takes: list[bool]) -> None:
    """As in IndexTTS2.5 at half the speed, where a code lasts 80 ms."""
    options = dataclasses.replace(OPTIONS, frames_per_code=2, stretch=2.0, lookahead_s=0.03)
    found = windows(codes, takes, options)
    frames = [frame for window in found for frame in range(window.first, window.last)]
    assert frames == list(range(target_frames(codes, 2, 2.0)))
    assert [window.is_final for window in found] == [False] * (len(found) - 1) + [True] * bool(found)
