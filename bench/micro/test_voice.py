"""The parts of the voice. Group `stage` is the breakdown of one sentence; extra_info tells its audio."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hibari import Hibari
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import TEXTS, Prepare, Timer, audio_s, run_step
from serving.models.base import Frontend, Model
from serving.models.driver import speak
from serving.protocol import Segment, SpeechParams
from serving.text import read

ROWS = (1, 2, 4, 8, 16)


@pytest.mark.benchmark(group="frontend")
def test_phonemize(timed: Timer, frontend: Frontend, params: SpeechParams) -> None:
    """16 texts of 60 characters to segments."""
    timed(lambda: [list(frontend.segments(read(text), params)) for text in TEXTS])


@pytest.mark.benchmark(group="stage")
def test_phonemizer(
    timed: Timer, benchmark: BenchmarkFixture, frontend: Frontend, model: Model, segments: list[Segment],
    params: SpeechParams,
) -> None:  # fmt: skip
    benchmark.extra_info["audio_s"] = audio_s(model, segments[0], params)
    timed(lambda: list(frontend.segments(read(TEXTS[0]), params)))


@pytest.mark.benchmark(group="stage")
@pytest.mark.parametrize("stage", ["encode", "prosody"])
def test_acoustic(
    stage: str, timed: Timer, benchmark: BenchmarkFixture, prepare: Prepare, model: Model,
    segments: list[Segment], params: SpeechParams,
) -> None:  # fmt: skip
    benchmark.extra_info["audio_s"] = audio_s(model, segments[0], params)
    step = prepare(stage, 1)
    timed(lambda: model.stages[stage].forward(*step.inputs))


@pytest.mark.benchmark(group="stage")
@pytest.mark.parametrize("part", ["decoder", "synthesis"])
def test_decode_part(
    part: str, timed: Timer, benchmark: BenchmarkFixture, prepare: Prepare, model: Model
) -> None:
    """The two halves of a decode step, on the tensors that they get inside it."""
    step = prepare("decode", 1)
    decode: Any = model.stages["decode"]
    module: torch.nn.Module = getattr(decode, part)
    seen: list[tuple[Any, ...]] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    benchmark.extra_info["audio_s"] = run_step(model, step.states[0]) / model.spec.sample_rate_hz
    hook.remove()
    timed(lambda: module(*seen[0]))


@pytest.mark.benchmark(group="decode at batch sizes")
@pytest.mark.parametrize("rows", ROWS)
def test_decode(rows: int, timed: Timer, prepare: Prepare, model: Model) -> None:
    """A whole decode step, first windows of `rows` segments."""
    step = prepare("decode", rows)
    timed(lambda: model.stages["decode"].forward(*step.inputs))


@pytest.mark.benchmark(group="16 sentences offline on one thread")
@pytest.mark.parametrize("by", ["model", "package"])
def test_sentences(
    by: str, timed: Timer, benchmark: BenchmarkFixture, model: Model, segments: list[Segment],
    params: SpeechParams,
) -> None:  # fmt: skip
    """Phonemes to samples: this voice as the engine runs it, and the package hibari-tts (onnxruntime, int8)."""
    package = Hibari(threads=1)
    benchmark.extra_info["audio_s"] = sum(audio_s(model, segment, params) for segment in segments)

    def ours() -> None:
        for segment in segments:
            speak(model, [(params, segment)])

    def theirs() -> None:
        for segment in segments:
            package.from_ids(segment.tokens)

    timed(ours if by == "model" else theirs)
