"""Steps that run side by side on a CPU, each in a thread with its share of the cores."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Protocol

import torch

from serving.engine.requests import Plan
from serving.engine.runner import Launched, Runner
from serving.engine.scheduler import Scheduler

Outcome = tuple[Plan, Launched | Exception]
"""A step that was run, or why it could not be."""
BUSY_S = 0.003
"""While every worker is busy, messages of newcomers are looked for this often: a look costs the others their time."""
STEPPED_BACK = 5
"""By so much the threads of steps that do not press are nicer (see nice(1)) than the rest of the engine."""


class Workers(Protocol):
    """What the loop hands steps to."""

    @property
    def running(self) -> int:
        """Steps that were started and not yet given back by ended()."""
        ...

    @property
    def plans(self) -> Sequence[Plan]:
        """These steps, in the order in which they were started."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, plan: Plan, shares: int = 1, *, behind: bool = False) -> None:
        """Begin a step, with the cores of so many workers; `behind`: the machine's other work goes first."""
        ...

    def ended(self, wait_s: float | None) -> list[Outcome]:
        """The steps that have ended; waits for the first, at most wait_s. Call it while some are running."""
        ...


def next_steps(
    scheduler: Scheduler, workers: Workers, count: int, apart: bool, clock: Callable[[], float]
) -> list[Plan]:
    """A step for each of `count` workers that is idle.

    Where rows may be stepped `apart` from others, what presses is begun beside `count` other steps too: the machine
    then puts those back, and nobody waits for the end of a long step.
    """
    plans: list[Plan] = []
    idle = count - workers.running
    while len(plans) < idle and (plan := scheduler.plan(clock(), workers=idle - len(plans))):
        plans.append(plan)
    pressing = sum(plan.pressing for plan in (*workers.plans, *plans))
    while apart and pressing < count and (plan := scheduler.plan(clock(), pressing=True)):
        plans.append(plan)
        pressing += 1
    return plans


class Threads:
    """Workers that are threads. A step's kernels let go of the interpreter lock."""

    def __init__(self, runner: Runner, count: int) -> None:
        self._runner = runner
        self._threads = torch.get_num_threads()
        self._count = count
        self._front: SimpleQueue[tuple[Plan, int] | None] = SimpleQueue()
        self._behind: SimpleQueue[tuple[Plan, int] | None] = SimpleQueue()
        self._ended: SimpleQueue[tuple[Plan, Launched | BaseException]] = SimpleQueue()
        self._pool: list[threading.Thread] = []
        self._plans: dict[int, Plan] = {}

    @property
    def running(self) -> int:
        return len(self._plans)

    @property
    def plans(self) -> Sequence[Plan]:
        return list(self._plans.values())

    def __enter__(self) -> Threads:
        for name, queue in (("step", self._front), ("step-behind", self._behind)):
            for number in range(self._count):
                thread = threading.Thread(
                    target=self._work, args=(queue,), name=f"{name}-{number}", daemon=True
                )
                thread.start()
                self._pool.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in (self._front, self._behind):
            for _ in range(self._count):
                queue.put(None)
        for thread in self._pool:
            thread.join()

    def start(self, plan: Plan, shares: int = 1, *, behind: bool = False) -> None:
        self._plans[id(plan)] = plan
        (self._behind if behind else self._front).put((plan, shares * self._threads))

    def _work(self, queue: SimpleQueue[tuple[Plan, int] | None]) -> None:
        """A thread of the pool: the count of threads is that thread's own, and so is its niceness on Linux."""
        if queue is self._behind and sys.platform == "linux":
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + STEPPED_BACK)
        while (job := queue.get()) is not None:
            plan, threads = job
            outcome: Launched | BaseException
            try:
                if torch.get_num_threads() != threads:
                    torch.set_num_threads(threads)
                outcome = self._runner.launch(plan.stage, [part.state for part in plan.parts])
            except BaseException as error:
                outcome = error
            self._ended.put((plan, outcome))

    def ended(self, wait_s: float | None) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            plan, outcome = self._ended.get(timeout=wait_s)
            while True:
                del self._plans[id(plan)]
                if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                    raise outcome
                outcomes.append((plan, outcome))
                plan, outcome = self._ended.get_nowait()
        except Empty:
            return outcomes
