"""Steps that run beside each other: on a CPU in threads, each with its share of the cores; on CUDA in streams."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Protocol

import torch

from serving.engine.requests import Plan
from serving.engine.runner import Launched, Runner
from serving.engine.scheduler import Scheduler

POLL_S = 20e-6
"""The streams of a device are asked this often whether a step is complete; asleep in between."""

Outcome = tuple[Plan, Launched | Exception]
"""A step that was run, or why it could not be."""
BUSY_S = 0.003
"""While every worker is busy, messages of newcomers are looked for this often: a look costs the others their time."""
AHEAD = 1
"""Short steps handed out before a worker is free. On 2 cores of a Zen 5 (8 clients, short texts) 0.10 of a core less is
idle by it, and 9 % more is spoken."""
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
    then puts those back, and nobody waits for the end of a long step. And AHEAD steps more are handed out than there
    are workers: they wait in a queue, so that who has ended a step has another at once, not after the loop's turn.
    """
    plans: list[Plan] = []
    idle = count + (AHEAD if apart else 0) - workers.running
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


class Streams:
    """Steps that the device runs beside each other, each lane of Runner.lanes in a stream of its own.

    They are launched from the caller's thread, but for a stage whose launch works on the host: that has a thread.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._pool = ThreadPoolExecutor(1, "launch", initializer=runner.enter_thread)
        self._under_way: list[tuple[Plan, Future[Launched] | Launched | Exception]] = []

    @property
    def running(self) -> int:
        return len(self._under_way)

    @property
    def plans(self) -> Sequence[Plan]:
        return [plan for plan, _ in self._under_way]

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def start(self, plan: Plan, shares: int = 1, *, behind: bool = False) -> None:
        states = [part.state for part in plan.parts]
        if self._runner.works_on_host(plan.stage):
            self._under_way.append((plan, self._pool.submit(self._runner.launch, plan.stage, states)))
            return
        try:
            self._under_way.append((plan, self._runner.launch(plan.stage, states)))
        except Exception as error:
            self._under_way.append((plan, error))

    def ended(self, wait_s: float | None) -> list[Outcome]:
        """Those of a lane end in the order in which they were started."""
        until_s = float("inf") if wait_s is None else time.monotonic() + wait_s
        while True:
            outcomes: list[Outcome] = []
            left: list[tuple[Plan, Future[Launched] | Launched | Exception]] = []
            held: set[frozenset[str]] = set()
            for plan, begun in self._under_way:
                lane = self._runner.lane_of(plan.stage)
                launched = _launched(begun)
                if lane in held or launched is None or not _is_complete(launched):
                    held.add(lane)
                    left.append((plan, launched or begun))
                else:
                    outcomes.append((plan, launched))
            self._under_way = left
            if outcomes or time.monotonic() >= until_s:
                return outcomes
            time.sleep(POLL_S)


def _launched(begun: Future[Launched] | Launched | Exception) -> Launched | Exception | None:
    """What was launched, or why it could not be; None while a thread is at it."""
    if not isinstance(begun, Future):
        return begun
    if not begun.done():
        return None
    error = begun.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error or begun.result()


def _is_complete(launched: Launched | Exception) -> bool:
    """Whether the device is through with it. Raises what a fault of the device has left."""
    if isinstance(launched, Exception) or launched.copied is None:
        return True
    complete: bool = launched.copied.query()  # type: ignore[no-untyped-call]
    return complete


def start_workers(runner: Runner, count: int) -> Workers:
    """What runs the steps of a device."""
    return Streams(runner) if runner.overlaps else Threads(runner, count)
