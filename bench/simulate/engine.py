"""The engine in virtual time: the real loop, scheduler, runner and model; only the clock and the costs are a table's.

Every step is really computed, by the model itself or by a toy of it with the same windows, and billed what the table
says.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from bench.simulate.costs import CostTable, ServerCost
from bench.simulate.machine import Lane, Machine
from serving.engine.graphs import Forward, pick_bucket
from serving.engine.requests import Plan, StageLimits
from serving.engine.runner import Launched, Runner
from serving.engine.workers import Outcome
from serving.models.base import Bucket, Model
from serving.profile import EngineProfile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


BEHIND = 335 / 1024
"""Weight of a thread that is nice by 5 against one that is not: Linux's own table."""


@dataclass(frozen=True, slots=True)
class Hollow:
    """Stages whose values decide nothing: what they answer, in the right shapes, is not computed."""

    answers: Mapping[str, Forward]

    def of(self, name: str, forward: Forward) -> Forward:
        """The forward of a stage, or its hollow answer."""
        return self.answers.get(name, forward)


class VirtualRunner(Runner):
    """A runner whose steps take virtual time: on a device of their own where the table overlaps, else on a core."""

    def __init__(
        self,
        model: Model,
        engine: EngineProfile,
        table: CostTable,
        machine: Machine,
        *,
        padded: bool,
        hollow: Hollow = Hollow({}),
    ) -> None:
        """`padded`: steps are billed as the bucket that a graph would have been captured for.

        `hollow` stages are billed alone.
        """
        super().__init__(model, engine, torch.device("cpu"))
        self._table = table
        self._machine = machine
        self._padded = padded
        self._forward = {name: hollow.of(name, forward) for name, forward in self._forward.items()}

    @property
    def overlaps(self) -> bool:
        return self._table.overlaps

    def limits(self) -> dict[str, StageLimits]:
        """As of the device's runner, which captures these shapes."""

        def rows(name: str) -> tuple[int, ...]:
            return (
                tuple(sorted({bucket.rows for bucket in self._stages[name].buckets})) if self._padded else ()
            )

        return {name: limits._replace(rows=rows(name)) for name, limits in super().limits().items()}

    def spreads(self, name: str) -> bool:
        """Whether the table says what a step of this stage takes on all cores."""
        return name in self._table.spread

    def cost_s(self, name: str, states: Sequence[Any], *, spread: bool = False) -> float:
        """What the table says of a step over `states`, on all cores if it is `spread` and the table knows of that.

        Raises KeyError for a stage that it does not know.
        """
        stages = {**self._table.stages, **self._table.spread} if spread else self._table.stages
        rows, longest = len(states), max(state.length for state in states)
        stage = self._stages[name]
        if not self._table.padded:
            return stages[name].of(rows, sum(state.length for state in states))
        bucket = Bucket(rows, longest)
        if self._padded and stage.buckets:
            bucket = pick_bucket(stage.buckets, rows, longest) or bucket
        return stages[name].of(bucket.rows, bucket.units)

    def launch(self, name: str, states: Sequence[Any]) -> Launched:
        """On a device VirtualStreams bills the step."""
        if not self.overlaps:
            self.spend(self.cost_s(name, states) + self._table.server.turn_s)
        return super().launch(name, states)

    def finish(self, launched: Launched) -> list[NDArray[np.float32] | None]:
        if (cost := self._table.finishes.get(launched.stage.name)) is not None:
            self.spend(cost.of(len(launched.states), sum(state.length for state in launched.states)))
        return super().finish(launched)

    def spend(self, cpu_s: float) -> None:
        """The engine's own thread is busy for so long."""
        self._machine.spend(cpu_s)


@dataclass(slots=True)
class _Pool:
    """Threads that take steps from one queue, as those of serving.engine.workers.Threads."""

    asleep: int
    """Threads with nothing to do."""
    queue: deque[Callable[[], None]] = field(default_factory=deque)


@dataclass(slots=True)
class VirtualWorkers:
    """serving.engine.workers.Threads whose steps share the machine's cores."""

    runner: VirtualRunner
    machine: Machine
    server: ServerCost
    """Whose turn_s, poll_s, hand_s and wake are the engine's."""
    count: int
    """Threads for steps that press, and as many for those that step back: the rest of them wait their turn."""
    _pools: dict[bool, _Pool] = field(init=False)
    """By whether they step back."""
    _told: bool = False
    """Whether the thread that ended a step last went on with another."""
    _under_way: list[Plan] = field(default_factory=list)
    _ended: deque[Outcome] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._pools = {behind: _Pool(self.count) for behind in (False, True)}

    @property
    def running(self) -> int:
        return len(self._under_way) + len(self._ended)

    @property
    def plans(self) -> Sequence[Plan]:
        """As of Threads and Streams, those too that have ended and were not taken."""
        return [*(plan for plan, _ in self._ended), *self._under_way]

    def __enter__(self) -> VirtualWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end: no thread was started."""

    def start(self, plan: Plan, shares: int = 1, *, behind: bool = False) -> None:
        """Compute the step now; it ends when the virtual machine has worked it off.

        With `shares` it has as many cores, if the table says what that is worth. `behind` others it has less of a core
        that is wanted by them.
        """
        states = [part.state for part in plan.parts]
        cost_s = self.runner.cost_s(plan.stage, states, spread=shares > 1) + self.server.hand_s
        launched = Runner.launch(self.runner, plan.stage, states)
        self._under_way.append(plan)
        weight = BEHIND if behind else 1.0
        pool = self._pools[behind]

        def ended() -> None:
            self._told = bool(pool.queue)
            self._end(plan, launched)
            if pool.queue:
                pool.queue.popleft()()
            else:
                pool.asleep += 1

        def begin() -> None:
            self.machine.work(cost_s, ended, weight)
            if shares > 1 and self.runner.spreads(plan.stage):
                for _ in range(shares - 1):
                    self.machine.work(cost_s, _nothing, weight)

        if pool.asleep:
            pool.asleep -= 1
            self.machine.at(self.machine.now_s + self._wake_s(), begin)
        else:
            pool.queue.append(begin)

    def _wake_s(self) -> float:
        """Until a thread that is woken now has a core."""
        return self.server.wake.of(self.machine.crowd())

    def ended(self, wait_s: float | None) -> list[Outcome]:
        """The steps that have ended, after the time that the loop itself takes for them, and to wake up."""
        if not self._ended:
            until_s = float("inf") if wait_s is None else self.machine.now_s + wait_s
            self.machine.advance(until_s, lambda: bool(self._ended))
            crowd = self.machine.crowd()
            told = self._told and bool(self._ended)
            self.machine.sleep((self.server.told if told else self.server.wake).of(crowd))
        outcomes = list(self._ended)
        self._ended.clear()
        self.runner.spend(self.server.turn_s * len(outcomes) if outcomes else self.server.poll_s)
        return outcomes

    def _end(self, plan: Plan, launched: Launched) -> None:
        self._under_way = [one for one in self._under_way if one is not plan]
        self._ended.append((plan, launched))


class VirtualStreams(VirtualWorkers):
    """serving.engine.workers.Streams on a device that is not here. Streams that are busy at once slow each other."""

    def __init__(self, runner: VirtualRunner, machine: Machine, table: CostTable) -> None:
        super().__init__(runner, machine, table.server, len(runner.lanes))
        self._table = table
        self._lanes = {lane: Lane(machine, on_device=True) for lane in runner.lanes}
        self.busy_s: defaultdict[str, float] = defaultdict(float)
        """Of the device by stage, as if alone; and of the host for launches."""

    def start(self, plan: Plan, shares: int = 1, *, behind: bool = False) -> None:
        """Compute the step now; it ends when its stream has come to it and the device has worked it off."""
        states = [part.state for part in plan.parts]
        cost_s = self.runner.cost_s(plan.stage, states)
        lane = self._lanes[self.runner.lane_of(plan.stage)]
        launched = self.runner.launch(plan.stage, states)
        self._under_way.append(plan)
        self.busy_s[plan.stage] += cost_s
        self.busy_s["launch"] += self._table.launch_s
        host_s = self._table.host_s.get(plan.stage, 0.0)

        def run() -> None:
            lane.do(cost_s, lambda: self._end(plan, launched))

        if self.runner.works_on_host(plan.stage):
            self.machine.at(self.machine.now_s + self._table.launch_s + host_s, run)
        else:
            self.machine.advance(self.machine.now_s + self._table.launch_s + host_s, _never)
            run()


def _never() -> bool:
    return False


def _nothing() -> None:
    """What follows the end of a step's helper."""
