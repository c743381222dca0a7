"""What is heard of the embedded voice: where it begins and ends, its pauses, pace and loudness, the words' times."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import torch
from numpy.typing import NDArray

from serving.models import load_frontend, load_model
from serving.models.base import Frontend, Model
from serving.models.driver import speak, step
from serving.models.hibari import Fields
from serving.models.hibari.constants import SAMPLE_RATE_HZ, VOICE_LUFS
from serving.models.hibari.state import HibariState
from serving.profile import ModelProfile, Profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

pytestmark = pytest.mark.slow

SENTENCES = (Path(__file__).parents[2] / "speech_sentences.txt").read_text(encoding="utf-8").splitlines()
ONSETS = (
    "People like it.", "Big dogs bark.", "Take the bus.", "Do come in.", "Keep it.", "Go home now.", "Very well.",
    "This is it.", "Some did.", "Zip it up.", "Should we go?", "Charles left.", "Just wait.", "How nice!", "My turn.",
    "Nobody came.", "Let me see.", "Rain again.", "What is it?", "You know it.", "Stop that.", "Eight of them.",
)  # fmt: skip
"""Each begins with another sound. Those of f and th rise from -55 to -45 dBFS in up to 60 ms: see the next."""
SOFT_ONSETS = ("Four of us.", "Thunder rolled.", "Fish swim.")
QUIET_DBFS, SILENT_DBFS = -45, -55
Samples = NDArray[np.float32]


def make(**options: object) -> Model:
    torch.set_num_threads(1)
    profile = Profile(name="test", model=ModelProfile(options=options))
    return load_model(profile, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return make()


@pytest.fixture(scope="module")
def untrimmed() -> Model:
    return make(trim=False)


@functools.cache
def frontend() -> Frontend:
    return load_frontend(Profile(name="test"))


def segment_of(text: str) -> Segment:
    (segment,) = frontend().segments(read(text), params())
    return segment


def params(speed: float = 1.0) -> SpeechParams:
    return SpeechParams(voice="heart", seed=0, timestamps="word", fields=Fields(speed=speed))


def speech(model: Model, text: str, speed: float = 1.0) -> Samples:
    return np.concatenate(speak(model, [(params(speed), segment_of(text))])[0])


def state_of(model: Model, text: str, speed: float = 1.0) -> tuple[HibariState, Segment, Samples]:
    """A segment's state after its last window, and its samples; its times are there before the first."""
    segment = segment_of(text)
    state = model.open(params(speed), segment, 0, urgent=False)
    assert isinstance(state, HibariState)
    chunks: list[Samples] = []
    while state.stage is not None:
        if state.stage == "decode":
            assert state.times is not None
        chunks += [part for part in step(model.stages[state.stage], [state]) if part is not None]
    return state, segment, np.concatenate(chunks)


def levels(samples: Samples, window_s: float = 0.01, hop_s: float = 0.01) -> NDArray[np.float64]:
    """Level of each window, dBFS."""
    size, hop = round(window_s * SAMPLE_RATE_HZ), round(hop_s * SAMPLE_RATE_HZ)
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[::hop]
    return np.asarray(10 * np.log10(np.square(windows).mean(1) + 1e-12))


def heard_s(samples: Samples) -> float:
    """From the first to behind the last 10 ms that are not quiet."""
    loud = np.flatnonzero(levels(samples, hop_s=0.001) > QUIET_DBFS)
    return float(loud[-1] - loud[0] + 10) / 1000


@pytest.mark.parametrize("text", ONSETS)
def test_sound_begins_and_ends_with_the_samples(model: Model, text: str) -> None:
    level = levels(speech(model, text)) > QUIET_DBFS
    assert level.argmax() <= 3
    assert level[::-1].argmax() <= 15


@pytest.mark.parametrize("text", ONSETS + SOFT_ONSETS)
def test_no_onset_is_cut(model: Model, untrimmed: Model, text: str) -> None:
    """Nothing before the first sample is louder than -55 dBFS in the speech that was not cut."""
    cut, whole = speech(model, text), speech(untrimmed, text)
    piece = cut[:6000]
    spectrum = np.fft.rfft(whole, 1 << 18) * np.conj(np.fft.rfft(piece, 1 << 18))
    begin = int(np.fft.irfft(spectrum)[: len(whole)].argmax())
    before = levels(whole[:begin], hop_s=0.001)
    assert before.size
    assert before.max() <= SILENT_DBFS
    assert levels(whole[begin - 240 : begin + 2400]).max() > QUIET_DBFS
    difference = whole[begin : begin + 6000] - piece
    assert (
        np.square(difference).mean() < 0.02 * np.square(piece).mean()
    )  # the decoder saw less of the silence before


def test_the_first_window_has_sound(model: Model) -> None:
    for text in ("However, it rained.", "Sixty people came to see it that night."):
        first = speak(model, [(params(), segment_of(text))], urgent=True)[0][0]
        assert levels(first)[:6].max() > QUIET_DBFS


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.1, 1.3, 1.4, 1.75, 2.0])
def test_the_pace_is_proportional(model: Model, speed: float) -> None:
    texts = SENTENCES[4:12]
    own = sum(heard_s(speech(model, text)) for text in texts)
    paced = sum(heard_s(speech(model, text, speed)) for text in texts)
    assert own / paced == pytest.approx(speed, rel=0.03)


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("He bought apples, pears and figs.", 0.16),
        ("In the end, Peter came too.", 0.16),
        ("There are three things: bread and salt and water.", 0.28),
        ("Maybe today; maybe tomorrow.", 0.28),
    ],
)
@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_pauses_are_those_of_the_profile(model: Model, text: str, pause_s: float, speed: float) -> None:
    quiet = levels(speech(model, text, speed), window_s=0.005, hop_s=0.001) < QUIET_DBFS
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    longest_s = max(b - a for a, b in edges if a > 50 and b < len(quiet) - 50) / 1000
    assert longest_s == pytest.approx(pause_s / speed, abs=0.045)


def test_words_are_heard_when_they_are_said_to_be(model: Model) -> None:
    text = "Please wait, Peter: it costs $5 today; take two."
    state, segment, samples = state_of(model, text)
    assert state.times is not None
    words = [text[word.start : word.end] for word in segment.words]
    assert words == ["Please", "wait,", "Peter:", "it", "costs", "$5", "today;", "take", "two."]
    begins, ends = np.array(state.times.words).T
    assert (begins[1:] >= ends[:-1]).all()
    assert (ends > begins).all()
    assert state.times.end_s == ends[-1]
    level = levels(samples, window_s=0.005, hop_s=0.005)
    loud, audible = (np.flatnonzero(level > limit) * 0.005 for limit in (QUIET_DBFS, SILENT_DBFS))
    assert begins[0] == pytest.approx(loud[0], abs=0.03)
    assert ends[-1] == pytest.approx(audible[-1], abs=0.06)
    for mark in (1, 2, 6):  # around a pause
        middle = (ends[mark] + begins[mark + 1]) / 2
        assert ends[mark] == pytest.approx(audible[audible < middle][-1], abs=0.06)
        assert begins[mark + 1] == pytest.approx(loud[loud > middle][0], abs=0.06)


def test_words_of_a_fast_voice_come_sooner(model: Model) -> None:
    slow, fast = (state_of(model, SENTENCES[6], speed)[0].times for speed in (1.0, 2.0))
    assert slow is not None
    assert fast is not None
    np.testing.assert_allclose(np.array(fast.words), np.array(slow.words) / 2, atol=0.08)


def test_the_loudness_is_that_of_the_options(model: Model) -> None:
    meter = pyloudnorm.Meter(SAMPLE_RATE_HZ)

    def loudness(model: Model) -> float:
        said = np.concatenate([speech(model, text) for text in SENTENCES if "." in text[-1]])
        assert np.abs(said).max() <= 1
        return float(meter.integrated_loudness(said.astype(np.float64)))

    assert loudness(model) == pytest.approx(VOICE_LUFS, abs=0.3)
    assert loudness(make(loudness_lufs=-18.0)) == pytest.approx(-18, abs=0.3)
