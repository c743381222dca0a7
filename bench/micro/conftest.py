"""What the micro-benchmarks share: the voice, its states after real steps, and synchronised timing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.workload import texts
from serving.engine.runner import pick_device
from serving.models import load_frontend, load_model
from serving.models.base import Bucket, Frontend, Model, SegmentState
from serving.profile import Profile, load_profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

Timer = Callable[[Callable[[], Any]], None]
TEXTS = texts("short", 16, 3)


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile("default")


@pytest.fixture(scope="session")
def device(profile: Profile) -> torch.device:
    return pick_device(profile.engine)


@pytest.fixture(scope="session")
def frontend(profile: Profile) -> Frontend:
    return load_frontend(profile)


@pytest.fixture(scope="session")
def params(frontend: Frontend) -> SpeechParams:
    return SpeechParams(voice=frontend.spec.default_voice, seed=1, fields=frontend.spec.fields())


@pytest.fixture(scope="session")
def segments(frontend: Frontend, params: SpeechParams) -> list[Segment]:
    """The first segment of each text."""
    return [next(iter(frontend.segments(read(text), params))) for text in TEXTS]


@pytest.fixture(scope="session")
def model(profile: Profile, device: torch.device) -> Model:
    """On one thread: threads wait for each other, and a neighbour on one core would slow them all."""
    torch.set_num_threads(1)
    return load_model(profile, device, getattr(torch, profile.engine.dtype))


@pytest.fixture
def timed(benchmark: BenchmarkFixture, device: torch.device) -> Timer:
    """Time a function, waiting for the device inside, and keep the 95th percentile too."""

    def timer(function: Callable[[], Any]) -> None:
        def synchronised() -> None:
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        with torch.inference_mode():
            benchmark(synchronised)
        assert benchmark.stats is not None
        data = sorted(benchmark.stats.stats.data)
        benchmark.extra_info["p95_s"] = data[int(0.95 * (len(data) - 1))]

    return timer


@dataclass(frozen=True)
class Step:
    """A step that is ready to run, on real states."""

    states: list[SegmentState]
    inputs: tuple[torch.Tensor, ...]


Prepare = Callable[[str, int], Step]


@pytest.fixture
def prepare(model: Model, segments: list[Segment], params: SpeechParams) -> Prepare:
    """Bring `rows` segments, each alone, to where they want a stage, and collate them."""

    def bring(stage: str, rows: int) -> Step:
        states = []
        for slot in range(rows):
            segment = segments[slot % len(segments)]
            state = model.open(params, segment, slot, urgent=False)
            while state.stage != stage:
                run_step(model, state)
            states.append(state)
        return Step(states, collate(model, stage, states))

    return bring


def collate(model: Model, stage: str, states: list[SegmentState]) -> tuple[torch.Tensor, ...]:
    bucket = Bucket(len(states), max(state.length for state in states))
    return model.stages[stage].collate(states, bucket)


@torch.inference_mode()
def run_step(model: Model, state: SegmentState) -> int:
    """One step of the stage that a state wants; returns its number of samples."""
    assert state.stage is not None
    stage = model.stages[state.stage]
    [samples] = stage.scatter([state], stage.forward(*collate(model, stage.name, [state])))
    return 0 if samples is None else len(samples)


def audio_s(model: Model, segment: Segment, params: SpeechParams) -> float:
    """Seconds of audio of a whole segment."""
    state = model.open(params, segment, 0, urgent=False)
    samples = 0
    while state.stage is not None:
        samples += run_step(model, state)
    return samples / model.spec.sample_rate_hz
