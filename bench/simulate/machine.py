"""A machine in virtual time: tasks that share cores, and moments at which something happens. No real clock."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from bench.simulate.costs import Crowd

Action = Callable[[], None]


@dataclass(slots=True, eq=False)
class _Task:
    left_s: float
    """CPU seconds to go, of a core that nobody else uses."""
    then: Action
    weight: float = 1.0
    on_device: bool = False
    rate: float = 0.0
    """CPU seconds per second, as things are."""


@dataclass(slots=True)
class Machine:
    """Cores that are shared fairly, and a clock that only `advance` moves.

    `speeds[k - 1]` is how fast each of k busy cores runs, against one alone: two hardware threads of one core
    are slower together. More tasks than cores share them all by their weights, and none has more than one core.
    `device_speeds` says the same of a device beside the cores, for tasks in streams of its own.
    """

    speeds: Sequence[float]
    device_speeds: Sequence[float] = (1.0,)
    now_s: float = 0.0
    busy_s: float = 0.0
    """Seconds that the cores were busy, all together."""
    _tasks: list[_Task] = field(default_factory=list)
    _moments: list[tuple[float, int, Action]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def clock(self) -> float:
        """The virtual time."""
        return self.now_s

    def crowd(self) -> Crowd:
        """Who has the cores now, the device aside."""
        weights = [task.weight for task in self._tasks if not task.on_device]
        if len(weights) < len(self.speeds):
            return "idle"
        return "pressing" if sum(weight >= 1.0 for weight in weights) >= len(self.speeds) else "behind"

    def work(self, cpu_s: float, then: Action, weight: float = 1.0, *, on_device: bool = False) -> None:
        """A task begins now and calls `then` when it has had cpu_s of a core, or of the device."""
        self._tasks.append(_Task(max(cpu_s, 0.0), then, weight, on_device))

    def at(self, moment_s: float, then: Action) -> None:
        """Call `then` at a moment, now at the earliest."""
        heapq.heappush(self._moments, (max(moment_s, self.now_s), next(self._numbers), then))

    def advance(self, until_s: float, stop: Callable[[], bool]) -> None:
        """Let time pass until `stop()` holds or until_s, whichever is first. Infinite until_s needs a stop that comes.

        Raises RuntimeError if nothing is left that could happen before an infinite until_s.
        """
        while not stop():
            self._share()
            task = min(self._tasks, key=lambda task: task.left_s / task.rate, default=None)
            task_s = self.now_s + task.left_s / task.rate if task is not None else float("inf")
            moment_s = self._moments[0][0] if self._moments else float("inf")
            next_s = min(task_s, moment_s, until_s)
            if next_s == float("inf"):
                raise RuntimeError("virtual time stands still: nothing runs and nothing is due")
            passed_s, self.now_s = next_s - self.now_s, next_s
            on_cores = sum(not one.on_device for one in self._tasks)
            self.busy_s += passed_s * min(on_cores, len(self.speeds))
            for one in self._tasks:
                one.left_s -= passed_s * one.rate
            if task is not None and task_s <= min(moment_s, until_s):
                self._tasks.remove(task)
                task.then()
            elif moment_s <= until_s:
                heapq.heappop(self._moments)[2]()
            else:
                return

    def spend(self, cpu_s: float) -> None:
        """The caller has a task of its own, and waits for its end."""
        done: list[bool] = []
        self.work(cpu_s, lambda: done.append(True))
        self.advance(float("inf"), lambda: bool(done))

    def sleep(self, wait_s: float) -> None:
        """Let so much time pass."""
        if wait_s > 0:
            self.advance(self.now_s + wait_s, lambda: False)

    def _share(self) -> None:
        """Give each task its rate: the heaviest first, for what is more than a whole core goes to the others."""
        for speeds, on_device in ((self.speeds, False), (self.device_speeds, True)):
            tasks = [task for task in self._tasks if task.on_device == on_device]
            if not tasks:
                continue
            speed = speeds[min(len(tasks), len(speeds)) - 1]
            weight = sum(task.weight for task in tasks)
            share = float(len(speeds))
            for task in sorted(tasks, key=lambda task: -task.weight):
                part = min(1.0, share * task.weight / weight)
                task.rate = part * speed
                share, weight = share - part, weight - task.weight


@dataclass(slots=True)
class Lane:
    """A process of one thread, or a stream of a device: one thing after another, in the order in which they came."""

    machine: Machine
    on_device: bool = False
    _waiting: deque[tuple[float, Action]] = field(default_factory=deque)
    _busy: bool = False

    def do(self, cpu_s: float, then: Action) -> None:
        """Queue a piece of work; `then` is called at its end."""
        self._waiting.append((cpu_s, then))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        cpu_s, then = self._waiting.popleft()
        self._busy = True

        def end() -> None:
            self._busy = False
            then()
            self._next()

        self.machine.work(cpu_s, end, on_device=self.on_device)
