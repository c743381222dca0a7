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
    core: int = 0
    """Whose queue it stands in."""
    rate: float = 0.0
    """CPU seconds per second, as things are."""


@dataclass(slots=True)
class Machine:
    """Cores with a queue each, and a clock that only `advance` moves.

    `speeds[k - 1]` is how fast each of k busy cores runs, against one alone: two hardware threads of one core
    are slower together. As in Linux a task stands in the queue of one core and shares it with that queue's others, by
    their weights: it begins on an idle core, else on the next in turn, for where its thread ran last is as good as
    chance; and a core that has nothing to do takes one from the longest queue. So what presses may wait beside what
    presses while another core has only what steps back.
    `device_speeds` says how fast a device beside the cores is, for tasks in streams of its own, which share it all.
    """

    speeds: Sequence[float]
    device_speeds: Sequence[float] = (1.0,)
    now_s: float = 0.0
    busy_s: float = 0.0
    """Seconds that the cores were busy, all together."""
    _tasks: list[_Task] = field(default_factory=list)
    _moments: list[tuple[float, int, Action]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _turns: count[int] = field(default_factory=count)

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
        task = _Task(max(cpu_s, 0.0), then, weight, on_device)
        if not on_device:
            queues = self._queues()
            idle = next((core for core, queue in enumerate(queues) if not queue), None)
            task.core = next(self._turns) % len(queues) if idle is None else idle
        self._tasks.append(task)

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

    def _queues(self) -> list[list[_Task]]:
        queues: list[list[_Task]] = [[] for _ in self.speeds]
        for task in self._tasks:
            if not task.on_device:
                queues[task.core].append(task)
        return queues

    def _share(self) -> None:
        """Let idle cores take what waits elsewhere, then give each task its rate."""
        queues = self._queues()
        for core, queue in enumerate(queues):
            longest = max(queues, key=len)
            if not queue and len(longest) > 1:
                queue.append(longest.pop())
                queue[0].core = core
        speed = self.speeds[max(1, sum(map(bool, queues))) - 1]
        for queue in queues:
            weight = sum(task.weight for task in queue)
            for task in queue:
                task.rate = speed * task.weight / weight
        streams = [task for task in self._tasks if task.on_device]
        for task in streams:
            task.rate = self.device_speeds[min(len(streams), len(self.device_speeds)) - 1] * min(
                1.0, len(self.device_speeds) / len(streams)
            )


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
