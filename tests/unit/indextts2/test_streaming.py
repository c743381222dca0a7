"""Streaming inside a segment: the plan of windows, and its distance from the offline segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from serving.models.driver import step
from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.stages.mel import MelParts
from serving.models.indextts2.stages.state import SpeechState
from serving.models.indextts2.stages.streaming import StreamingOptions, Window, next_window
from serving.profile import StreamingProfile
from serving.protocol import Segment
from tests.unit.indextts2.support import begin, frame_noise, make, params, target_mel

pytestmark = pytest.mark.slow

MEL = MelConfig()
OPTIONS = StreamingOptions(mel=MEL, first_s=0.3, growth=1.5, max_s=0.8, history_s=0.5)
CODES = 80


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def plan(options: StreamingOptions, codes: int, drawn_at_once: int) -> list[Window]:
    """All windows of a segment whose codes arrive drawn_at_once at a time."""
    windows: list[Window] = []
    spoken = drawn = 0
    while True:
        finished = drawn >= codes
        window = next_window(
            options, options.window_codes(len(windows)), spoken, min(drawn, codes), finished=finished
        )
        if window is None:
            if finished:
                return windows
            drawn += drawn_at_once
            continue
        windows.append(window)
        spoken = window.codes - (0 if window.is_final else options.lookahead_codes)


@given(
    codes=st.integers(0, 400),
    drawn_at_once=st.integers(1, 50),
    first_s=st.floats(0.05, 2.0),
    growth=st.floats(1.0, 3.0),
    lookahead_s=st.floats(0.0, 0.5),
)
def test_windows_speak_every_frame_once(
    codes: int, drawn_at_once: int, first_s: float, growth: float, lookahead_s: float
) -> None:
    options = StreamingOptions(mel=MEL, first_s=first_s, growth=growth, lookahead_s=lookahead_s)
    windows = plan(options, codes, drawn_at_once)
    frames = [frame for window in windows for frame in range(window.first, window.last)]
    assert frames == list(range(target_frames(codes)))
    assert [window.is_final for window in windows] == [False] * (len(windows) - 1) + [True] * bool(windows)
    assert all(window.last <= window.end <= target_frames(codes) for window in windows)


def test_the_first_window_waits_for_its_codes_and_its_lookahead_only() -> None:
    needed = OPTIONS.window_codes(0) + OPTIONS.lookahead_codes
    assert next_window(OPTIONS, OPTIONS.window_codes(0), 0, needed - 1, finished=False) is None
    window = next_window(OPTIONS, OPTIONS.window_codes(0), 0, needed, finished=False)
    assert window is not None
    assert (window.last - window.first) * 256 / 22050 == pytest.approx(OPTIONS.first_s, abs=0.03)


class Speech(NamedTuple):
    """What a segment came to: its mel [frames, M], its samples, and the sample at which each later chunk begins."""

    mel: Tensor
    samples: Tensor
    seams: list[int]


@pytest.fixture(scope="module")
def model() -> IndexTts2Model:
    windows = StreamingProfile(first_chunk_s=0.3, growth=1.0, max_chunk_s=0.3)
    return make(streaming=windows, kernels="torch", max_codes=CODES, min_codes=CODES)[1]


def speak(model: IndexTts2Model, seed: int, *, urgent: bool) -> tuple[Speech, SpeechState]:
    """A segment in slot 0, stage by stage; urgent: in windows."""
    segment = Segment(index=0, tokens=list(range(5, 20)))
    state = model.open(params(seed=seed), segment, 0, urgent=urgent)
    chunks = []
    while state.stage is not None:
        (samples,) = step(model.stages[state.stage], [state])
        if samples is not None:
            chunks.append(torch.from_numpy(samples))
    assert state.stream is not None
    seams = torch.tensor([len(chunk) for chunk in chunks]).cumsum(0)[:-1].tolist()
    return Speech(state.stream.mel, torch.cat(chunks), seams), state


def in_one_piece(model: IndexTts2Model, state: SpeechState) -> Speech:
    """What the networks make of the codes that were drawn in slot 0, without stages and streams."""
    voice, parts, count = state.voice, model.mel_parts, state.codes
    assert voice is not None
    frames, prompt = target_frames(count), model.whole.prompt_frames
    assert isinstance(parts, MelParts)
    semantic = parts.codec.embed_codes(model.decoding.codes[0, :count])
    semantic = semantic + parts.projection(model.decoding.states[0, :count])
    condition = parts.regulator(semantic[None], torch.tensor([count]), torch.tensor([frames]), frames)[0]
    mu = torch.cat([voice.prompt_condition[-prompt:], condition])
    flow = Flow(model.flow.estimator, 1, len(mu), iterations=model.flow.iterations)
    noise = frame_noise(state.sampling.seed, frames, MEL.n_mels)
    begin(flow, 0, voice.reference_mel.mT[-prompt:], mu, voice.style, noise)
    for _ in range(flow.iterations):
        flow.iterate(torch.tensor([0]), len(mu), len(mu), ragged=False)
    mel = target_mel(flow, 0)
    return Speech(mel, model.vocoder(mel.T[None])[0], [])


def test_one_window_is_the_segment_in_one_piece(model: IndexTts2Model) -> None:
    speech, state = speak(model, 3, urgent=False)
    plain = in_one_piece(model, state)
    assert speech.seams == []
    torch.testing.assert_close(speech.mel, plain.mel, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(speech.samples, plain.samples, atol=1e-6, rtol=1e-5)


def test_windows_stay_near_the_whole(model: IndexTts2Model) -> None:
    """As many samples, a mel near the whole one, and no jump at a seam that speech does not take elsewhere."""
    whole, other = (speak(model, seed, urgent=False)[0] for seed in (3, 4))
    stream, _ = speak(model, 3, urgent=True)
    assert len(stream.seams) >= 3
    assert stream.samples.shape == whole.samples.shape
    distance = (stream.mel - whole.mel).abs().mean()
    assert 0 < distance < 0.02 * (other.mel - whole.mel).abs().mean()
    jumps = stream.samples.diff().abs()
    at_seams = torch.stack([jumps[seam - 257 : seam + 1].max() for seam in stream.seams])
    assert at_seams.max() <= 1.1 * whole.samples.diff().abs().max()
