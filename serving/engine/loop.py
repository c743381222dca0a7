"""The engine's loop: messages in, plan a step, run it, messages out; in a process or in a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import torch

from serving.engine.life.watchdog import Steps
from serving.engine.policy import HUNGRY
from serving.engine.requests import Part, Plan, Speech
from serving.engine.runner import Launched, Runner
from serving.engine.scheduler import Scheduler
from serving.engine.workers import BUSY_S, Outcome, Workers, next_steps, start_workers
from serving.models.base import Model, SegmentState
from serving.observe.words import described
from serving.profile import Profile
from serving.protocol import (
    Abort,
    Extend,
    FromEngine,
    GetStats,
    InputError,
    Shutdown,
    Stats,
    Submit,
    ToEngine,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

NEWCOMER_S = 0.001
"""While a worker is idle, messages are looked for this often."""
IN_FLIGHT = 2
"""Steps of a lane that were launched and are not complete: one runs, and the next waits behind it on the device."""
CPU_JOIN_S = 0.25
"""Scheduler.join_s on the CPU, where the time of a step grows with its units."""


class DeviceLost(RuntimeError):
    """A step has broken the device for this process; the engine must end and be started again."""


class Pair(Protocol):
    """The engine's end of the connection to its client: a socket (transport.py), or an offline caller."""

    def receive(self) -> Sequence[ToEngine]:
        """What came since the last call; does not wait."""
        ...

    def wait(self, timeout_s: float | None) -> None:
        """Wait for something to come, at most this long."""
        ...

    def send(self, message: FromEngine) -> None: ...

    def send_chunk(self, request_id: str, samples: NDArray[np.float32]) -> None: ...


class EngineLoop:
    """One model on one device, and the requests that it speaks."""

    def __init__(
        self,
        profile: Profile,
        pair: Pair,
        model: Model,
        runner: Runner,
        workers: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        start_workers: Callable[[Runner, int], Workers] = start_workers,
        steps: Steps | None = None,
    ) -> None:
        """`clock` and `start_workers` are others in virtual time alone."""
        self._workers = workers
        self._spreads = getattr(model, "spreads", False)
        self._inbox: list[ToEngine] = []
        self._clock = clock
        self._start_workers = start_workers
        self._steps: Steps = {} if steps is None else steps
        self._pair, self._model, self._runner = pair, model, runner
        rows_alone = all(limit.max_rows == 1 for limit in runner.limits().values())
        self._apart = rows_alone and profile.engine.pressing_first
        self._scheduler = Scheduler(
            runner.limits(),
            max_slots=profile.engine.max_slots,
            sample_rate_hz=model.spec.sample_rate_hz,
            join_s=float("inf") if runner.overlaps else CPU_JOIN_S,
            max_hungry=HUNGRY * workers if rows_alone else None,
            window_s=profile.streaming.window_s if runner.overlaps else 0.0,
            first_s=profile.streaming.first_chunk_s,
        )
        self._chunks = 0

    def run(self) -> None:
        """Serve until Shutdown. Raises what breaks the device for good."""
        if self._runner.overlaps:
            self._run_in_lanes()
        elif self._workers > 1:
            self._run_side_by_side()
        else:
            self._run_one_by_one()

    def _run_one_by_one(self) -> None:
        """One step at a time, in this thread."""
        while self._begin_turn():
            plan = self._scheduler.plan(self._clock())
            if plan is None:
                self._deliver()
                self._sleep()
                continue
            launched = self._launch(plan)
            if launched is not None:
                self._finish(plan, launched)
            self._deliver()

    def _run_side_by_side(self) -> None:
        """Several steps at once: cores that share no step never wait for each other. One alone may take all."""
        with self._start_workers(self._runner, self._workers) as workers:
            while self._begin_turn():
                plans = next_steps(self._scheduler, workers, self._workers, self._apart, self._clock)
                shares = self._workers if self._spreads and len(plans) == 1 and not workers.running else 1
                for plan in plans:
                    self._steps[id(plan)] = time.monotonic()
                    workers.start(plan, shares, behind=self._apart and not plan.pressing)
                full = workers.running >= self._workers
                self._end_turn(workers, None if full and not self._apart else BUSY_S if full else NEWCOMER_S)

    def _run_in_lanes(self) -> None:
        """Streams of a device beside each other; in each a step is launched while the one before it runs."""
        lanes = self._runner.lanes
        with self._start_workers(self._runner, len(lanes)) as workers:
            while self._begin_turn():
                full = True
                for stages in lanes:
                    under_way = [plan for plan in workers.plans if plan.stage in stages]
                    beside = workers.running > len(under_way)
                    while len(under_way) < IN_FLIGHT and (
                        plan := self._scheduler.plan(
                            self._clock(), after=under_way, stages=stages, beside=beside
                        )
                    ):
                        self._steps[id(plan)] = time.monotonic()
                        workers.start(plan)
                        under_way.append(plan)
                    full = full and len(under_way) == IN_FLIGHT
                self._end_turn(workers, None if full else NEWCOMER_S)

    def _end_turn(self, workers: Workers, wait_s: float | None) -> None:
        """Take what the workers have done once a step has ended, or a message has come, for which is looked every
        wait_s; with nothing under way, wait for messages.
        """
        if not workers.running:
            self._deliver()
            self._sleep()
            return
        ended: list[Outcome] = []
        while not self._inbox and not (ended := workers.ended(wait_s)):
            self._inbox += self._pair.receive()
        for plan, launched in ended:
            del self._steps[id(plan)]
            if isinstance(launched, Exception):
                self._launch_failed(plan, launched)
            else:
                self._finish(plan, launched)
        self._deliver()

    def _begin_turn(self) -> bool:
        """Take the messages that came, drop what is too late, fill the slots. False after Shutdown."""
        self._steps["turn"] = time.monotonic()
        messages, self._inbox = [*self._inbox, *self._pair.receive()], []
        for message in messages:
            if isinstance(message, Shutdown):
                return False
            self._take(message)
        self._scheduler.expire(self._clock())
        self._open_segments()
        return True

    def _take(self, message: ToEngine) -> None:
        now = self._clock()
        match message:
            case Submit():
                self._submit(message, now)
            case Extend():
                self._scheduler.extend(message, now)
            case Abort(request_id=request_id):
                self._scheduler.abort(request_id, now)
            case GetStats():
                self._pair.send(self._stats())

    def _submit(self, message: Submit, now: float) -> None:
        """Take in a request, with the model's own fields as the struct that the model reads."""
        fields = msgspec.convert(message.params.fields, self._model.spec.fields)
        params = msgspec.structs.replace(message.params, fields=fields)
        if (pinned := getattr(self._model, "pinned", None)) is not None:
            try:
                params = pinned(params)
            except Exception:
                logger.exception("pinned failed; what the params name is looked up when a segment begins")
        self._scheduler.submit(msgspec.structs.replace(message, params=params), now)

    def _close(self, state: SegmentState) -> None:
        """Close a state; a model that fails here harms nobody, for its segment has ended."""
        try:
            self._model.close(state)
        except torch.AcceleratorError:
            raise
        except Exception:
            logger.exception("close failed; the segment had ended")

    def _open_segments(self) -> None:
        """Close what has ended, then give the free slots to waiting segments."""
        while True:
            while self._scheduler.closing:
                self._close(self._scheduler.closing.popleft())
            part = self._scheduler.open_next(self._clock())
            if part is None:
                return
            try:
                part.state = self._model.open(
                    part.request.params, part.segment, part.slot, urgent=part.urgent
                )
                self._runner.check_state(part.state, "open")
            except InputError as error:
                self._scheduler.fail(part, f"{error.field}: {error}", self._clock(), error.field)
            except Exception as error:
                self._fail_parts("open", [part], error)

    def _launch(self, plan: Plan) -> Launched | None:
        """Start a step; None if it failed, and its requests with it."""
        try:
            return self._runner.launch(plan.stage, [part.state for part in plan.parts])
        except Exception as error:
            self._launch_failed(plan, error)
            return None

    def _launch_failed(self, plan: Plan, error: Exception) -> None:
        self._fail_parts(plan.stage, plan.parts, error)
        self._scheduler.complete(plan, [], self._clock())

    def _finish(self, plan: Plan, launched: Launched) -> None:
        samples: list[NDArray[np.float32] | None] = []
        try:
            samples = self._runner.finish(launched)
        except Exception as error:
            self._fail_parts(plan.stage, plan.parts, error)
        self._scheduler.complete(plan, samples, self._clock())

    def _fail_parts(self, what: str, parts: Sequence[Part], error: Exception) -> None:
        """A step harms the requests in it and no other, unless the device itself is lost."""
        if isinstance(error, torch.AcceleratorError):
            raise error
        try:
            self._runner.check_device()
        except Exception as lost:
            raise DeviceLost(f"{what} left the device unusable: {type(lost).__name__}: {lost}") from error
        ids = ", ".join(sorted({part.request.request_id for part in parts}))
        if isinstance(error, InputError):
            logger.warning("%s failed for %s: %s: %s", what, ids, error.field, described(error))
            for part in parts:
                self._scheduler.fail(part, f"{error.field}: {error}", self._clock(), error.field)
            return
        logger.error("%s failed for %s", what, ids, exc_info=error)
        for part in parts:
            self._scheduler.fail(part, f"{what}: {type(error).__name__}: {error}", self._clock())

    def _deliver(self) -> None:
        outbox = self._scheduler.outbox
        while outbox:
            message = outbox.popleft()
            if isinstance(message, Speech):
                self._chunks += 1
                self._pair.send_chunk(message.request_id, message.samples)
            else:
                self._pair.send(message)

    def _sleep(self) -> None:
        self._steps.pop("turn", None)
        expiry_s = self._scheduler.next_expiry_s()
        self._pair.wait(None if expiry_s is None else expiry_s - self._clock())

    def _stats(self) -> Stats:
        runner, scheduler = self._runner, self._scheduler
        return Stats(
            requests=dict(scheduler.outcomes),
            steps=dict(runner.steps),
            rows=dict(runner.rows),
            padded_units=dict(runner.padded_units),
            bucket_misses=dict(runner.bucket_misses),
            chunks=self._chunks,
            copies_to_host=runner.copies_to_host,
            busy_s=runner.busy_s,
            slots_used=scheduler.slots_used,
            slots=scheduler.max_slots,
            waiting_segments=scheduler.waiting_segments,
            in_flight=scheduler.in_flight,
            max_rows={name: stage.max_rows for name, stage in self._model.stages.items()},
            step_times={name: list(counts) for name, counts in runner.step_times.items()},
            step_s=dict(runner.step_s),
        )
