"""What the engine's steps cost on this machine, timed in this process without a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.indextts2.offline import Streams
from bench.simulate.costs import Step, StepCost, fit
from bench.simulate.listeners import TIMEOUT_S
from bench.simulate.speeches import speeches
from serving.engine.loop import EngineLoop
from serving.engine.runner import Launched, Runner, pick_device, pick_workers
from serving.models import load_model
from serving.models.base import Frontend, Model
from serving.native.cores import usable_cores
from serving.profile import EngineProfile, Profile
from serving.protocol import Submit, ToEngine

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

LOADS = ((1, "short", 6), (1, "long", 1), (8, "short", 2), (5, "long", 1))
"""(streams, mix, texts of each stream): steps of one row and of many, a worker idle and none."""

LEAST_STEPS = 20


class TimedRunner(Runner):
    """A runner that notes the CPU time of each launch and finish, in the thread that runs it."""

    def __init__(self, model: Model, engine: EngineProfile, device: torch.device) -> None:
        super().__init__(model, engine, device)
        self.launches: list[Step] = []
        self.finishes: list[Step] = []
        self._lock = threading.Lock()

    def launch(self, name: str, states: Sequence[Any]) -> Launched:
        units = sum(state.length for state in states)
        began_s = time.thread_time()
        launched = super().launch(name, states)
        seconds = time.thread_time() - began_s
        with self._lock:
            self.launches.append(Step(name, len(states), units, seconds, torch.get_num_threads()))
        return launched

    def finish(self, launched: Launched) -> list[NDArray[np.float32] | None]:
        name, rows = launched.stage.name, len(launched.states)
        units = sum(state.length for state in launched.states)
        began_s = time.thread_time()
        samples = super().finish(launched)
        self.finishes.append(Step(name, rows, units, time.thread_time() - began_s))
        return samples


@dataclass(slots=True)
class _Counted:
    """A pair that counts how often the loop looks for messages."""

    pair: Streams
    looks: int = 0

    def receive(self) -> Sequence[ToEngine]:
        self.looks += 1
        return self.pair.receive()

    def wait(self, timeout_s: float | None) -> None:
        self.pair.wait(timeout_s)

    def __getattr__(self, name: str) -> Callable[..., None]:
        method: Callable[..., None] = getattr(self.pair, name)
        return method


@dataclass(frozen=True, slots=True)
class _Load:
    """One load: CPU seconds, steps, and looks for messages that found no step ended."""

    steps: int
    idle_looks: int
    loop_s: float
    """Of the loop's thread, without finishes; of a single worker without launches too."""
    workers_s: float
    """Of the workers' threads, without launches."""
    saturated: bool
    """No worker was idle for long."""


class StepMeter:
    """Times steps in rounds, as often as it is asked to.

    A machine's speed drifts, and what is predicted shall be of the same minutes as what is measured.
    """

    def __init__(self, profile: Profile, frontend: Frontend) -> None:
        """Loads the model. Raises ProfileError."""
        self._profile, self._frontend = profile, frontend
        device = pick_device(profile.engine)
        self.cores = usable_cores()
        self.workers, self._threads = pick_workers(profile.engine, device, self.cores)
        torch.set_num_threads(self._threads)
        self.model = load_model(profile, device, getattr(torch, profile.engine.dtype))
        self._runner = TimedRunner(self.model, profile.engine, device)
        self._runner.warm(lambda *_: None)
        self._alone: list[Step] = []
        self._finishes: list[Step] = []
        self._together: list[Step] = []
        self._lone: list[Step] = []
        self._spread: list[Step] = []
        self._loads: list[_Load] = []
        self._rounds = 0
        self._run(1, *LOADS[0], seed=0)
        self._forget()

    def round(self) -> None:
        """Every load once, by one worker and by as many as the server has. Takes some seconds of all cores."""
        torch.set_num_threads(self._threads)
        self._rounds += 1
        for streams, mix, count in LOADS:
            seed = 100 * self._rounds + streams
            load = self._run(1, streams, mix, count, seed=seed)
            self._alone += self._runner.launches
            self._finishes += self._runner.finishes
            self._forget()
            if self.workers > 1:
                load = self._run(self.workers, streams, mix, count, seed=seed)
                one = [step for step in self._runner.launches if step.threads == self._threads]
                many = [step for step in self._runner.launches if step.threads != self._threads]
                self._spread += many
                if load.saturated:
                    self._together += one
                elif streams == 1 and mix == "short":
                    self._lone += one
                self._forget()
            self._loads.append(load)

    @property
    def timed(self) -> int:
        """Steps so far."""
        return len(self._alone)

    def stages(self) -> dict[str, StepCost]:
        """CPU seconds of a step that has the machine for itself."""
        return dict(fit(self._alone))

    def spread(self) -> dict[str, StepCost]:
        """The same of a step that had the cores of all workers: seconds of the thread that waits for the others."""
        return dict(fit(self._spread))

    def finishes(self) -> dict[str, StepCost]:
        """CPU seconds of what the loop does with its outputs."""
        return dict(fit(self._finishes))

    def speeds(self) -> tuple[float, ...]:
        """Machine.speeds, against steps that follow each other on one core, by the steps of all workers.

        One that has the machine for itself may be the slowest: the workers take turns, and each finds its caches cold.
        """
        stages = self.stages()

        def speed(steps: Sequence[Step]) -> float:
            if len(steps) < LEAST_STEPS:
                return 1.0
            by_table = sum(stages[step.stage].of(step.rows, step.units) for step in steps)
            return by_table / sum(step.seconds for step in steps)

        return (speed(self._lone),) + (speed(self._together),) * (self.cores - 1)

    def loop_s(self) -> tuple[float, float, float]:
        """CPU seconds of the loop for a step, of the loop for a look that finds nothing, and of a worker for a step."""
        table = np.array([[load.steps, load.idle_looks] for load in self._loads], float)
        seconds = np.array([load.loop_s for load in self._loads])
        turn_s, poll_s = np.linalg.lstsq(table, seconds, rcond=None)[0] if self.workers > 1 else (0.0, 0.0)
        if turn_s <= 0 or poll_s <= 0:
            turn_s, poll_s = seconds.sum() / table[:, 0].sum(), 0.0
        # Where no step has all cores: what its helpers do is not known apart.
        full = [load for load in self._loads if load.saturated]
        hand_s = sum(load.workers_s for load in full) / max(1, sum(load.steps for load in full))
        return float(turn_s), float(poll_s), float(hand_s)

    def _forget(self) -> None:
        self._runner.launches, self._runner.finishes = [], []

    def _run(self, workers: int, streams: int, mix: str, count: int, *, seed: int) -> _Load:
        wanted = islice(speeches(self._frontend, mix, seed, self._profile.text.pauses), streams * count)
        prepared = [
            Submit(
                request_id=str(number),
                params=speech.params,
                streaming=True,
                timeout_s=TIMEOUT_S,
                segments=list(speech.segments),
                last=True,
            )
            for number, speech in enumerate(wanted)
        ]
        pair = _Counted(
            Streams(
                waiting=[prepared[stream::streams] for stream in range(streams)],
                rate_hz=self.model.spec.sample_rate_hz,
                streaming=True,
            )
        )
        loop = EngineLoop(self._profile, pair, self.model, self._runner, workers)
        pair.pair.begin()
        own, whole = time.thread_time(), time.process_time()
        loop.run()
        own, whole = time.thread_time() - own, time.process_time() - whole
        launched = sum(step.seconds * step.threads for step in self._runner.launches)
        finished = sum(step.seconds for step in self._runner.finishes)
        steps = len(self._runner.launches)
        if workers == 1:
            return _Load(steps, 0, whole - launched - finished, 0.0, saturated=False)
        return _Load(
            steps,
            max(0, pair.looks - steps),
            own - finished,
            max(0.0, whole - own - launched),
            saturated=streams > 2 * workers,
        )
