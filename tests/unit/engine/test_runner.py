"""The runner with the tone model: devices, buckets, counters, and that padding changes no row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from serving.engine.graphs import BucketMiss
from serving.engine.runner import DeviceError, Runner, pick_device, pick_workers
from serving.models.base import Bucket
from serving.models.tone.model import ToneModel, ToneState, expected_samples
from serving.models.tone.options import Fields, Options
from serving.profile import EngineProfile
from serving.protocol import InputError, Segment, SpeechParams

CPU = torch.device("cpu")
OPTIONS = Options(samples_per_token=16)
ENGINE = EngineProfile()
PARAMS = SpeechParams(voice="low", seed=0, fields=Fields())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(engine: EngineProfile = ENGINE, options: Options = OPTIONS) -> tuple[ToneModel, Runner]:
    model = ToneModel(options, engine, CPU)
    return model, Runner(model, engine, CPU)


def open_rows(model: ToneModel, *texts: str, urgent: bool = False) -> list[ToneState]:
    segments = [Segment(index=0, tokens=[ord(c) for c in text]) for text in texts]
    return [model.open(PARAMS, segment, slot, urgent=urgent) for slot, segment in enumerate(segments)]


def speak(runner: Runner, states: list[ToneState]) -> list[np.ndarray]:
    """Run all states together to their end."""
    spoken: list[list[np.ndarray]] = [[] for _ in states]
    while active := [row for row, state in enumerate(states) if state.stage is not None]:
        stage = states[active[0]].stage
        assert stage is not None
        samples = runner.finish(runner.launch(stage, [states[row] for row in active]))
        for row, made in zip(active, samples, strict=True):
            if made is not None:
                spoken[row].append(made)
    return [np.concatenate(rows) for rows in spoken]


def test_devices() -> None:
    assert pick_device(EngineProfile(device="cpu")) == CPU
    for name in ("tpu", "meta", "cuda:99" if torch.cuda.is_available() else "cuda"):
        with pytest.raises(DeviceError, match=r"^engine\.device"):
            pick_device(EngineProfile(device=name))
    with pytest.raises(DeviceError, match=r"^engine\.cuda_graphs"):
        pick_device(EngineProfile(device="cpu", cuda_graphs=True))


def test_rows_of_unlike_length_are_spoken_as_if_alone() -> None:
    texts = ("a", "hello there", "medium")
    model, runner = make()
    together = speak(runner, open_rows(model, *texts))
    for text, samples in zip(texts, together, strict=True):
        alone_model, alone_runner = make()
        (alone,) = speak(alone_runner, open_rows(alone_model, text))
        np.testing.assert_array_equal(samples, alone)
        np.testing.assert_allclose(
            samples, expected_samples([ord(c) for c in text], "low", OPTIONS), atol=1e-5
        )


def test_windows_of_an_urgent_segment_join_without_a_seam() -> None:
    model, runner = make(options=Options(samples_per_token=16, window_tokens=2, max_window_tokens=8))
    (samples,) = speak(runner, open_rows(model, "a sentence of some length", urgent=True))
    assert runner.steps == {"embed": 1, "render": 5}, "2, 4, 8, 8 and the 3 that are left"
    expected = expected_samples([ord(c) for c in "a sentence of some length"], "low", OPTIONS)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [EngineProfile(compile=True), EngineProfile(cuda_graphs=True)])
def test_a_stage_without_buckets_runs_as_it_is(engine: EngineProfile) -> None:
    """Neither warmed nor compiled nor captured nor padded, and no miss; nothing here touches a GPU."""
    model, _ = make()
    for stage in (model.stages["embed"], model.stages["render"]):
        stage.buckets = ()
    runner = Runner(model, engine, CPU)
    reports: list[tuple[str, int, int]] = []
    assert [name for name, stage in model.stages.items() if runner._forward[name] != stage.forward] == []
    if engine.compile:
        runner.warm(lambda *report: reports.append(report))
        assert reports == [("warm", 0, 0)]
    (samples,) = speak(runner, open_rows(model, "hello"))
    np.testing.assert_allclose(
        samples, expected_samples([ord(c) for c in "hello"], "low", OPTIONS), atol=1e-5
    )
    assert not runner.padded_units.total()
    assert not runner.bucket_misses.total()


def test_counters() -> None:
    model, runner = make()
    states = open_rows(model, "abc", "abcdefgh")
    runner.finish(runner.launch("embed", states))
    assert runner.steps == {"embed": 1, "render": 0}
    assert runner.rows == {"embed": 2, "render": 0}
    assert runner.padded_units == {"embed": 5, "render": 0}
    assert runner.copies_to_host == 0
    runner.finish(runner.launch("render", states))
    assert runner.copies_to_host == 1
    assert runner.busy_s > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_compiled_steps_use_buckets_and_say_the_same() -> None:
    model, eager = make()
    states = open_rows(model, "hello")
    eager.finish(eager.launch("embed", states))
    # One stage of one bucket keeps the compiler's share of this test small.
    render = model.stages["render"]
    render.buckets = (Bucket(2, 8),)
    model.stages = {"render": render}
    runner = Runner(model, EngineProfile(compile=True), CPU)
    reports: list[tuple[str, int, int]] = []
    runner.warm(lambda what, done, total: reports.append((what, done, total)))
    assert reports == [("render 2x8", 0, 1), ("warm", 1, 1)]
    assert runner.steps == {"render": 0}
    (samples,) = speak(runner, states)
    np.testing.assert_allclose(
        samples, expected_samples([ord(c) for c in "hello"], "low", OPTIONS), atol=1e-5
    )
    assert runner.padded_units == {"render": 11}
    assert runner.bucket_misses == {"render": 0}
    states = open_rows(model, "longer than eight")
    states[0].stage, states[0].length = "render", 17
    runner.finish(runner.launch("render", states))
    assert runner.bucket_misses == {"render": 1}, "without graphs a miss is counted and served"


def test_under_graphs_a_miss_is_an_error() -> None:
    engine = EngineProfile(cuda_graphs=True)
    model, runner = make(engine)
    for stage in model.stages.values():
        stage.buckets = (Bucket(2, 8),)
    with pytest.raises(BucketMiss, match="no bucket holds 1 rows of 17 units"):
        runner.launch("embed", open_rows(model, "longer than eight"))
    assert runner.bucket_misses["embed"] == 1


def test_the_largest_bucket_holds_any_step() -> None:
    model, _ = make(EngineProfile(max_slots=6, max_step_units=700))
    for stage in model.stages.values():
        assert list(stage.buckets) == sorted(stage.buckets, key=lambda bucket: bucket.units)
        for rows in range(1, stage.max_rows + 1):
            for length in {1, 512 if rows == 1 else min(512, stage.max_units // rows)}:
                assert any(b.rows >= rows and b.length >= length for b in stage.buckets), (rows, length)


def test_a_segment_that_cannot_be_spoken() -> None:
    model, _ = make()
    with pytest.raises(InputError, match="0 tokens"):
        model.open(PARAMS, Segment(index=0, tokens=[]), 0, urgent=False)


def test_workers_and_threads_share_the_cores() -> None:
    def picked(workers: int = 0, threads: int = 0) -> tuple[int, int]:
        return pick_workers(EngineProfile(workers=workers, threads=threads), CPU, cores=8)

    assert picked() == (8, 1)
    assert picked(threads=2) == (4, 2)
    assert picked(workers=2) == (2, 4)
    assert picked(workers=3, threads=1) == (3, 1)
    assert picked(threads=16) == (1, 16)
    assert pick_workers(EngineProfile(workers=4), torch.device("cuda"), cores=8) == (1, 8)
