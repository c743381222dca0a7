"""The planted slow-down: the share that it burns, and that the engine's own steps are what it slows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.gate.proof.planted import Burner, plant, write_hook

ROOT = Path(__file__).parents[4]


class Clock:
    """CPU time and the wall's: each look at it costs `grain_s`."""

    def __init__(self, grain_s: float = 0.001) -> None:
        self.now_s, self.grain_s = 0.0, grain_s

    def __call__(self) -> float:
        self.now_s += self.grain_s
        return self.now_s


@pytest.mark.parametrize("share", [0.025, 0.1, 0.5])
@pytest.mark.parametrize("grain_s", [0.0001, 0.003])
def test_many_calls_take_their_share_more_whatever_the_grain_of_the_clock(
    share: float, grain_s: float
) -> None:
    clock, worked_s = Clock(grain_s), 0.0
    burner = Burner(share, process_cpu=clock, thread_cpu=clock, wall=lambda: 0.0)

    def work(seconds: float) -> str:
        nonlocal worked_s
        clock.now_s += seconds
        worked_s += seconds + 2 * grain_s  # two looks of the burner are the process's own CPU time
        return "done"

    slow = burner(work)
    for _ in range(400):
        assert slow(0.01) == "done"
    assert clock.now_s / worked_s == pytest.approx(1 + share, abs=0.25 * share + 2 * grain_s / 0.01)


def test_threads_of_a_step_count_and_idle_time_does_not() -> None:
    """The process's CPU time grows by two threads; what it did between two requests is not a step's."""
    process, thread, wall = Clock(0.0), Clock(1e-5), Clock(0.0)
    burner = Burner(0.5, process_cpu=process, thread_cpu=thread, wall=wall)

    def step() -> None:
        process.now_s += 2.0
        wall.now_s += 1.0

    burner(step)()
    assert thread.now_s == pytest.approx(1.0, abs=0.001)
    process.now_s += 1.0 + 50.0  # the burn, then other work of the process
    wall.now_s += 60.0
    before_s = thread.now_s
    burner(step)()
    assert thread.now_s - before_s == pytest.approx(1.0, abs=0.001)


def test_an_error_of_the_call_is_passed_on() -> None:
    def broken() -> None:
        raise ValueError("out of order")

    with pytest.raises(ValueError, match="out of order"):
        Burner(0.5)(broken)()


def test_launch_and_finish_of_a_runner_are_slowed() -> None:
    class Runner:
        def launch(self, number: int) -> int:
            return number + 1

        def finish(self, number: int) -> int:
            return number * 2

    before = Runner.launch, Runner.finish
    plant(0.25, SimpleNamespace(Runner=Runner))  # type: ignore[arg-type]
    assert (Runner.launch, Runner.finish) != before
    assert Runner().finish(Runner().launch(1)) == 4


@pytest.mark.slow
def test_a_process_with_the_hook_on_its_path_plants_when_it_imports_the_runner(tmp_path: Path) -> None:
    write_hook(tmp_path, 0.25)
    program = (
        "import sys; assert 'torch' not in sys.modules; from serving.engine.runner import Runner;"
        "print(Runner.launch.__wrapped__.__name__, Runner.finish.__wrapped__.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["launch", "finish"], done.stderr
