"""How many threads a step gets: all cores where it is alone, of a model that spreads, else its worker's share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from serving.engine.loop import EngineLoop
from serving.engine.runner import Launched, Runner
from serving.models.base import Model, SegmentState
from serving.models.tone.model import ToneModel, ToneState
from serving.models.tone.options import Options
from serving.profile import EngineProfile, ModelProfile, Profile
from serving.protocol import Finished, FromEngine, Segment, Shutdown, SpeechParams, Submit, ToEngine

WORKERS = 3
CPU = torch.device("cpu")


class SpreadingTone(ToneModel):
    spreads = True


class Watched(Runner):
    """Notes the threads of every step."""

    def __init__(self, model: Model, engine: EngineProfile) -> None:
        super().__init__(model, engine, CPU)
        self.seen: list[int] = []

    def launch(self, name: str, states: Sequence[SegmentState]) -> Launched:
        self.seen.append(torch.get_num_threads())
        return super().launch(name, states)


class Client:
    """At the engine's end of the socket: requests that come at once, and the end when all are finished."""

    def __init__(self, texts: Sequence[str], listener: str = "") -> None:
        """`listener`: a text that somebody listens to; it comes after the others."""
        params = SpeechParams(voice="low", seed=0, fields={})
        self._todo: list[ToEngine] = [
            Submit(
                request_id=text,
                params=params,
                streaming=text == listener,
                timeout_s=60.0,
                segments=[Segment(index=0, tokens=[ord(c) for c in text])],
                last=True,
            )
            for text in (*texts, *([listener] if listener else []))
        ]
        self._listener = listener
        self._open = 0
        self.on_finished: Callable[[str], None] = lambda _: None

    def receive(self) -> Sequence[ToEngine]:
        at_once = len(self._todo) - bool(self._listener) or len(self._todo)
        messages, self._todo = self._todo[:at_once], self._todo[at_once:]
        self._open += len(messages)
        return messages if self._open else [Shutdown()]

    def wait(self, timeout_s: float | None) -> None: ...

    def send(self, message: FromEngine) -> None:
        assert isinstance(message, Finished)
        self._open -= 1
        self.on_finished(message.request_id)

    def send_chunk(self, request_id: str, samples: NDArray[np.float32]) -> None:
        assert len(samples)


class Held(Runner):
    """A step of a text that begins with z ends once another text has been spoken."""

    def __init__(self, model: ToneModel, engine: EngineProfile) -> None:
        super().__init__(model, engine, CPU)
        self.spoken = threading.Event()

    def launch(self, name: str, states: Sequence[SegmentState]) -> Launched:
        [state] = states
        assert isinstance(state, ToneState)
        if state.tokens[0] == ord("z"):
            assert self.spoken.wait(10)
        return super().launch(name, states)


def threads_of(texts: Sequence[str], *, spreads: bool) -> list[int]:
    """Threads of each step that speaks the texts."""
    options = Options(samples_per_token=16, window_tokens=2, max_window_tokens=2)
    profile = Profile(name="test", model=ModelProfile(name="tone"))
    model = (SpreadingTone if spreads else ToneModel)(options, profile.engine, CPU)
    runner = Watched(model, profile.engine)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        EngineLoop(profile, Client(texts), model, runner, WORKERS).run()
    finally:
        torch.set_num_threads(before)
    return runner.seen


@pytest.mark.parametrize(("spreads", "expected"), [(True, WORKERS), (False, 1)])
def test_a_request_alone(spreads: bool, expected: int) -> None:
    seen = threads_of(["one alone"], spreads=spreads)
    assert len(seen) >= 3
    assert set(seen) == {expected}


def test_requests_side_by_side_have_a_thread_each_until_one_is_left() -> None:
    seen = threads_of(
        ["abcdefgh", "abcdefgh " * 24], spreads=True
    )  # long, for a busy machine may hold the first back
    assert seen[:2] == [1, 1]
    assert seen[-1] == WORKERS
    assert set(seen) == {1, WORKERS}


def test_a_newcomer_is_stepped_beside_as_many_steps_as_there_are_workers() -> None:
    profile = Profile(name="test", model=ModelProfile(name="tone"))
    model = ToneModel(
        Options(samples_per_token=16, window_tokens=2, max_window_tokens=2), profile.engine, CPU
    )
    for stage in model.stages.values():
        stage.max_rows = 1
    runner = Held(model, profile.engine)
    client = Client(["zebra", "zoo"], listener="new")
    finished: list[str] = []

    def on_finished(text: str) -> None:
        finished.append(text)
        runner.spoken.set()

    client.on_finished = on_finished
    EngineLoop(profile, client, model, runner, 2).run()
    assert finished[0] == "new"
    assert sorted(finished) == ["new", "zebra", "zoo"]
