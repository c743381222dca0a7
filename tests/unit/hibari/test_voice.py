"""The embedded voice's stages: streamed, batched, padded and seeded speech is the same speech."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from serving.models import load_frontend, load_model
from serving.models.base import Bucket
from serving.models.driver import speak, step
from serving.models.hibari import Fields
from serving.models.hibari.model import HibariModel
from serving.models.hibari.stages import MAX_TOKENS
from serving.models.hibari.state import HibariState
from serving.profile import EngineProfile, ModelProfile, Profile
from serving.protocol import InputError, Segment, SpeechParams
from serving.text import read

TEXTS = (
    "No.",
    "Hello there.",
    "What a wonderful surprise this is!",
    "Could you tell me where the nearest pharmacy is?",
    "She sells sea shells by the sea shore every summer.",
    "I have never been to Iceland, although I would like to go.",
    "Please meet me at the station at half past seven tonight.",
    "Our train leaves from platform nine in about twenty minutes.",
    "Remember to bring your passport, two photographs and a pen.",
    "Music helps me to concentrate when I am working late at night.",
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "Rain is expected in the north, while the south stays mostly dry.",
    "There are many ways to cook an egg, but only one way to boil water.",
    "The server answered within ten milliseconds, which surprised us all.",
    "It was a bright cold day in April, and the clocks were striking thirteen.",
    "He opened the door slowly, looked around the room, and saw nothing at all.",
    "Doctor Smith arrived late, so the meeting was moved to Thursday afternoon at four.",
    "On the third of March, twelve hundred people paid nine dollars each to hear it read.",
    "The committee has decided to postpone the decision until more evidence becomes available.",
    "Thank you very much for listening, and good night.",
)
TOLERANCE = 1e-4
PARAMS = SpeechParams(voice="heart", seed=11, fields=Fields())
Samples = NDArray[np.float32]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sentences() -> list[Segment]:
    frontend = load_frontend(Profile(name="test"))
    return [segment for text in TEXTS for segment in frontend.segments(read(text), PARAMS)]


@pytest.fixture(scope="module", params=["native", "torch"])
def kernels(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kernels: str) -> HibariModel:
    return make_model(kernels)


@pytest.fixture(scope="module")
def torch_model() -> HibariModel:
    return make_model("torch")


@pytest.fixture(scope="module")
def offline(model: HibariModel, sentences: list[Segment]) -> list[Samples]:
    """Each sentence alone and at once."""
    return [speech(model, sentence) for sentence in sentences]


def make_model(
    kernels: str, dtype: torch.dtype = torch.float32, engine: EngineProfile | None = None
) -> HibariModel:
    torch.set_num_threads(1)
    options = ModelProfile(options={"kernels": kernels})
    profile = Profile(name="test", model=options, engine=engine or EngineProfile())
    model = load_model(profile, torch.device("cpu"), dtype)
    assert isinstance(model, HibariModel)
    return model


def speech(
    model: HibariModel, segment: Segment, params: SpeechParams = PARAMS, *, urgent: bool = False
) -> Samples:
    return np.concatenate(speak(model, [(params, segment)], urgent=urgent)[0])


def distance(one: Samples, other: Samples) -> float:
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def test_streamed_equals_offline(
    model: HibariModel, sentences: list[Segment], offline: list[Samples]
) -> None:
    for sentence, whole in zip(sentences, offline, strict=True):
        chunks = speak(model, [(PARAMS, sentence)], urgent=True)[0]
        assert len(chunks) > 1 or whole.size < 23000
        assert distance(np.concatenate(chunks), whole) <= TOLERANCE


def test_first_window_is_small_and_windows_grow(model: HibariModel, sentences: list[Segment]) -> None:
    seconds = [chunk.size / 24000 for chunk in speak(model, [(PARAMS, sentences[18])], urgent=True)[0]]
    assert 0.15 < seconds[0] <= 0.25  # the window is of 0.25 s; the silence before the onset is cut from it
    assert len(seconds) == 3
    assert seconds[1] == 1.0
    assert 3.0 < seconds[2] <= 4.5  # the rest at once, no longer than the largest window and a half


def test_a_ragged_batch_equals_each_row_alone(
    model: HibariModel, sentences: list[Segment], offline: list[Samples]
) -> None:
    for first in range(0, len(sentences), 8):
        batch = sentences[first : first + 8]
        spoken = speak(model, [(PARAMS, sentence) for sentence in batch])
        for chunks, whole in zip(spoken, offline[first:], strict=False):
            assert distance(np.concatenate(chunks), whole) <= TOLERANCE


def test_rows_that_join_and_leave_disturb_nobody(
    model: HibariModel, sentences: list[Segment], offline: list[Samples]
) -> None:
    """Streams start at different times, share steps at different windows, one is dropped, its slot is
    reused.
    """
    pending = list(range(6, 16))
    free = [0, 1, 2]
    active: list[tuple[int, HibariState, list[Samples]]] = []
    dropped, finished, turn = {8}, set(), 0
    while pending or active:
        if free and pending:
            number = pending.pop(0)
            active.append(
                (number, model.open(PARAMS, sentences[number], free.pop(0), urgent=number % 2 == 0), [])
            )
        for name, stage in model.stages.items():
            waiting = [entry for entry in active if entry[1].stage == name][: stage.max_rows]
            if waiting:
                for entry, samples in zip(
                    waiting, step(stage, [state for _, state, _ in waiting]), strict=True
                ):
                    if samples is not None:
                        entry[2].append(samples)
        for entry in list(active):
            number, state, chunks = entry
            if state.stage is None or (number in dropped and len(chunks) == 1):
                if state.stage is None:
                    finished.add(number)
                    assert distance(np.concatenate(chunks), offline[number]) <= TOLERANCE
                model.close(state)
                free.append(state.slot)
                active.remove(entry)
        turn += 1
    assert finished == set(range(6, 16)) - dropped


def test_padding_to_a_bucket_changes_nothing(torch_model: HibariModel, sentences: list[Segment]) -> None:
    """The static shapes of compile and CUDA graphs, with inert rows and slack."""
    static = make_model("torch", engine=EngineProfile(compile=True))
    states = [static.open(PARAMS, sentences[number], slot, urgent=True) for slot, number in enumerate((2, 7))]
    chunks: list[list[Samples]] = [[], []]
    for stage in static.stages.values():
        outputs = stage.forward(*stage.collate([], Bucket(2, 40)))
        assert all(bool(torch.isfinite(output).all()) for output in outputs)
    while any(state.stage for state in states):
        for name, stage in static.stages.items():
            waiting = [row for row in (0, 1) if states[row].stage == name][: stage.max_rows]
            if waiting:
                slack = 9 if name == "decode" else 0  # a longer prosody row has another last bit of pitch
                bucket = Bucket(4, max(states[row].length for row in waiting) + slack)
                shapes = [part.shape for part in stage.collate([], bucket)]
                live = [states[row] for row in waiting]
                assert [part.shape for part in stage.collate(live, bucket)] == shapes
                for row, samples in zip(waiting, step(stage, live, bucket), strict=True):
                    if samples is not None:
                        chunks[row].append(samples)
    for number, spoken in zip((2, 7), chunks, strict=True):
        assert distance(np.concatenate(spoken), speech(torch_model, sentences[number])) <= TOLERANCE


def test_long_segments_respect_the_step_limit(
    kernels: str, sentences: list[Segment], offline: list[Samples]
) -> None:
    bounded = make_model(kernels, engine=EngineProfile(max_step_units=100, max_slots=2))
    state = bounded.open(PARAMS, sentences[18], 1, urgent=False)
    chunks: list[Samples] = []
    while state.stage:
        if state.stage == "decode":
            assert state.length <= 100
        chunks += [samples for samples in step(bounded.stages[state.stage], [state]) if samples is not None]
    assert len(chunks) > 3
    assert distance(np.concatenate(chunks), offline[18]) <= TOLERANCE


def test_every_step_within_the_limits_has_a_bucket(model: HibariModel) -> None:
    for stage in model.stages.values():
        for rows in range(1, stage.max_rows + 1):
            length = min(stage.max_units // rows, MAX_TOKENS if stage.name == "encode" else stage.max_units)
            assert any(bucket.rows >= rows and bucket.length >= length for bucket in stage.buckets)


def test_the_seed_fixes_the_samples(
    model: HibariModel, sentences: list[Segment], offline: list[Samples]
) -> None:
    other = SpeechParams(voice="heart", seed=12, fields=Fields())
    np.testing.assert_array_equal(speech(model, sentences[3]), offline[3])
    assert distance(speech(model, sentences[3], other), offline[3]) > 1e-3
    later = Segment(index=1, tokens=sentences[3].tokens)
    assert distance(speech(model, later), offline[3]) > 1e-3


def test_bfloat16_is_close(torch_model: HibariModel, sentences: list[Segment]) -> None:
    """The same timing and pitch (both float32), and an error 20 dB below the speech."""
    half = make_model("torch", torch.bfloat16)
    for number in (3, 10):
        exact = speech(torch_model, sentences[number])
        error = speech(half, sentences[number]) - exact
        assert np.square(error).mean() < 0.01 * np.square(exact).mean()


def test_a_segment_of_a_wrong_size_is_refused(model: HibariModel) -> None:
    for tokens in ([], [0] * (MAX_TOKENS + 1)):
        with pytest.raises(InputError, match="tokens"):
            model.open(PARAMS, Segment(index=0, tokens=tokens), 0, urgent=False)


def test_the_longest_segment_can_be_spoken(model: HibariModel) -> None:
    """400 open vowels at half speed: whatever the durations, the frames stay within the buckets."""
    segment = Segment(index=0, tokens=[0, *[43] * (MAX_TOKENS - 2), 0])
    spoken = speech(model, segment, SpeechParams(voice="heart", seed=0, fields=Fields(speed=0.5)))
    assert np.isfinite(spoken).all()
    assert 0.01 < spoken.std() < 0.5
