"""The planted slow-down: the share that it burns, and that the engine's own steps are what it slows."""

from __future__ import annotations

import pytest
import torch

from bench.gate.planted import plant, slow_down
from serving.engine.runner import Runner
from serving.models import load_frontend, load_model
from serving.profile import load_profile
from serving.protocol import SpeechParams
from serving.text import read


class Clock:
    """CPU time of a thread: each look at the clock costs a millisecond."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_call_takes_its_share_more(share: float) -> None:
    clock = Clock()

    def work(seconds: float) -> str:
        clock.now_s += seconds
        return "done"

    assert slow_down(work, share, clock)(2.0) == "done"
    assert clock.now_s == pytest.approx(2.0 * (1 + share), abs=0.01)


def test_an_error_of_the_call_is_passed_on() -> None:
    def broken() -> None:
        raise ValueError("out of order")

    with pytest.raises(ValueError, match="out of order"):
        slow_down(broken, 0.5, Clock())()


def test_every_step_of_an_engine_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    burnt: list[str] = []

    def note(call: object, share: float) -> object:
        def noted(*args: object) -> object:
            burnt.append(f"{call.__name__} {share:g}")  # type: ignore[attr-defined]
            return call(*args)  # type: ignore[operator]

        return noted

    # plant() changes the class: monkeypatch puts the methods back afterwards.
    for name in ("launch", "finish"):
        monkeypatch.setattr(Runner, name, getattr(Runner, name))
    monkeypatch.setattr("bench.gate.planted.slow_down", note)
    plant(0.25)
    profile = load_profile("default", ["model.name=tone"])
    frontend, device = load_frontend(profile), torch.device("cpu")
    model = load_model(profile, device, torch.float32)
    runner = Runner(model, profile.engine, device)
    params = SpeechParams(voice=frontend.spec.default_voice, seed=1, fields=frontend.spec.fields())
    state = model.open(params, next(iter(frontend.segments(read("One."), params))), 0, urgent=True)
    assert state.stage is not None
    runner.finish(runner.launch(state.stage, [state]))
    assert burnt == ["launch 0.25", "finish 0.25"]
