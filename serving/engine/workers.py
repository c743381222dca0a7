"""Steps that run side by side on a CPU, each in a thread with its share of the cores."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Protocol

import torch

from serving.engine.requests import Plan
from serving.engine.runner import Launched, Runner

Outcome = tuple[Plan, Launched | Exception]
"""A step that was run, or why it could not be."""


class Workers(Protocol):
    """What the loop hands steps to."""

    @property
    def running(self) -> int:
        """Steps that were started and not yet given back by ended()."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, plan: Plan, shares: int = 1) -> None:
        """Begin a step, with the cores of so many workers."""
        ...

    def ended(self, wait_s: float | None) -> list[Outcome]:
        """The steps that have ended; waits for the first, at most wait_s. Call it while some are running."""
        ...


class Threads:
    """Workers that are threads. A step's kernels let go of the interpreter lock."""

    def __init__(self, runner: Runner, count: int) -> None:
        self._runner = runner
        self._pool = ThreadPoolExecutor(
            count, "step", initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
        )
        self._threads = torch.get_num_threads()
        self._plans: dict[Future[Launched], Plan] = {}

    @property
    def running(self) -> int:
        return len(self._plans)

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def start(self, plan: Plan, shares: int = 1) -> None:
        self._plans[self._pool.submit(self._launch, plan, shares * self._threads)] = plan

    def _launch(self, plan: Plan, threads: int) -> Launched:
        """In a thread of the pool: the count of threads is that thread's own."""
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return self._runner.launch(plan.stage, [part.state for part in plan.parts])

    def ended(self, wait_s: float | None) -> list[Outcome]:
        done, _ = wait(self._plans, wait_s, FIRST_COMPLETED)
        outcomes: list[Outcome] = []
        for future in done:
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            outcomes.append((self._plans.pop(future), error or future.result()))
        return outcomes
