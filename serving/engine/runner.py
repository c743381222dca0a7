"""Batches to tensors and back: the only place that touches a device, compiles or captures."""

from __future__ import annotations

import bisect
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serving.engine.graphs import BucketMiss, Forward, StageGraphs, pick_bucket
from serving.engine.requests import StageLimits
from serving.models.base import Bucket, Model, ModelError, SegmentState, SegmentTimes, Stage
from serving.profile import EngineProfile
from serving.protocol import STEP_BUCKETS_S

logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
"""Called with what is being warmed, how much of it is done, and how much there is."""


class DeviceError(ValueError):
    """The profile asks for what this machine cannot do; the message names the key."""


def pick_device(engine: EngineProfile) -> torch.device:
    """The device of a profile, made this thread's own: streams, events and captures take no other.

    Raises DeviceError, for engine.device or engine.cuda_graphs."""
    name = engine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"engine.device: {name!r} is none of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"engine.device: {name!r} is none of auto, cpu, cuda, cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"engine.device: {name!r} is asked for, but torch finds no CUDA device here")
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"engine.device: there is no {name!r}; {torch.cuda.device_count()} devices here"
            )
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    elif engine.cuda_graphs:
        raise DeviceError("engine.cuda_graphs: needs a CUDA device, and engine.device is the CPU here")
    return device


def pick_workers(engine: EngineProfile, device: torch.device, cores: int) -> tuple[int, int]:
    """Steps at once, and torch threads of each, for a machine of `cores` cores."""
    if device.type == "cuda":
        return 1, engine.threads or cores
    workers = engine.workers or max(1, cores // max(engine.threads, 1))
    return workers, engine.threads or max(1, cores // workers)


@dataclass(slots=True)
class Launched:
    """A step that runs, or has run, on the device."""

    stage: Stage
    states: Sequence[Any]
    outputs: tuple[torch.Tensor, ...]
    begun: torch.cuda.Event | None
    """Passed when the device begins the step; None on the CPU."""
    copied: torch.cuda.Event | None
    """Passed when the host copies have arrived; None on the CPU."""
    padded_units: int
    """Units of the shape that ran which no row wanted."""
    started_s: float
    busy_s: float = 0.0
    """Time of the step alone, once it is finished: of the device, without what it waited for others."""


def lanes_of(model: Model, *, beside: bool) -> tuple[frozenset[str], ...]:
    """The stages of a model in groups that may run beside each other; one group, unless `beside` asks for more.

    Raises ModelError if the model names a stage twice, or one that it has not.
    """
    named = [frozenset(lane) for lane in getattr(model, "lanes", ())] if beside else []
    seen = Counter(stage for lane in named for stage in lane)
    for stage, times in seen.items():
        if times > 1 or stage not in model.stages:
            raise ModelError(
                f"lanes: the stage {stage!r} is in {times} lanes; there are {', '.join(model.stages)}"
            )
    rest = frozenset(model.stages).difference(seen)
    return (*named, rest) if rest else tuple(named)


class Runner:
    """Runs steps of one model on one device, and counts what they cost."""

    def __init__(self, model: Model, engine: EngineProfile, device: torch.device) -> None:
        self._engine = engine
        self._device = device
        self._stages = model.stages
        self._forward: dict[str, Forward] = {name: stage.forward for name, stage in model.stages.items()}
        if engine.compile:
            # One dynamic kernel per stage on the CPU; on CUDA each bucket gets its own, tuned to its shape.
            dynamic = device.type == "cpu"
            # Past this limit torch would run a shape uncompiled without a word.
            shapes = sum(len(stage.buckets) for stage in model.stages.values())
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 2 * shapes)
            self._forward = {
                name: torch.compile(f, dynamic=dynamic) if model.stages[name].buckets else f
                for name, f in self._forward.items()
            }
        self._graphs: dict[str, StageGraphs] = {}
        self.lanes = lanes_of(model, beside=engine.side_streams)
        """Stages whose steps follow each other; where the device overlaps, those of two lanes run beside each other."""
        self._streams = {lane: torch.cuda.Stream(device) for lane in self.lanes if device.type == "cuda"}  # type: ignore[no-untyped-call]
        self.steps: Counter[str] = Counter(dict.fromkeys(model.stages, 0))
        self.rows: Counter[str] = Counter(dict.fromkeys(model.stages, 0))
        self.padded_units: Counter[str] = Counter(dict.fromkeys(model.stages, 0))
        self.bucket_misses: Counter[str] = Counter(dict.fromkeys(model.stages, 0))
        self.step_times = {name: [0] * (len(STEP_BUCKETS_S) + 1) for name in model.stages}
        self.step_s = dict.fromkeys(model.stages, 0.0)
        self.copies_to_host = 0
        self.busy_s = 0.0

    @property
    def overlaps(self) -> bool:
        """A step may be launched while the one before it runs."""
        return self._device.type == "cuda"

    def lane_of(self, name: str) -> frozenset[str]:
        """The lane of a stage."""
        return next(lane for lane in self.lanes if name in lane)

    def works_on_host(self, name: str) -> bool:
        """Whether a launch may take long and wait for the device; then another lane must not wait for it."""
        return not self._stages[name].buckets and len(self.lanes) > 1

    def enter_thread(self) -> None:
        """Call it in a thread that is to launch steps."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def limits(self) -> dict[str, StageLimits]:
        """What the scheduler has to know of each stage."""

        def limits_of(stage: Stage) -> StageLimits:
            captured = {bucket.rows for bucket in stage.buckets} if self._engine.cuda_graphs else set()
            units = min(stage.max_units, self._engine.max_step_units)
            return StageLimits(stage.max_rows, units, stage.lookahead, tuple(sorted(captured)))

        return {name: limits_of(stage) for name, stage in self._stages.items()}

    @torch.inference_mode()
    def warm(self, report: Report) -> None:
        """Run, compile and capture every shape that serving needs, with inert rows only."""
        todo: list[tuple[str, Stage, Bucket]] = []
        for name, stage in self._stages.items():
            descending = sorted(stage.buckets, key=lambda bucket: bucket.units, reverse=True)
            if not (self._engine.compile or self._engine.cuda_graphs):
                descending = descending[-1:]
            todo += [(name, stage, bucket) for bucket in descending]
        # Graphs of one lane never run at once, so they may share memory, and those of two must not.
        pools = {lane: torch.cuda.graph_pool_handle() for lane in self.lanes if self._engine.cuda_graphs}
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        for done, (name, stage, bucket) in enumerate(todo):
            report(f"{name} {bucket.rows}x{bucket.length}", done, len(todo))
            lane = self.lane_of(name)
            with self._in_lane(lane):
                inputs = self._to_device(stage.collate([], bucket))
                self._forward[name](*inputs)
                if lane in pools:
                    graphs = self._graphs.setdefault(
                        name, StageGraphs(name, self._forward[name], self._device)
                    )
                    graphs.capture(bucket, inputs, pools[lane], self._streams[lane])
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        report("warm", len(todo), len(todo))

    @torch.inference_mode()
    def launch(self, name: str, states: Sequence[Any]) -> Launched:
        """Start a step. On the CPU it is done when this returns; elsewhere finish() waits for it.

        Several threads may each launch a step of other states, on CUDA those of lanes of their own.

        Raises BucketMiss under engine.cuda_graphs for a step that no captured shape holds, and whatever the
        model raises.
        """
        started_s = time.perf_counter()
        stage = self._stages[name]
        lengths = [state.length for state in states]
        bucket = self._bucket(name, stage, len(states), max(lengths))
        with self._in_lane(self.lane_of(name)):
            begun = self._mark()
            inputs = self._to_device(stage.collate(states, bucket))
            graphs = self._graphs.get(name)
            outputs = self._forward[name](*inputs) if graphs is None else graphs.run(bucket, inputs)
            if self._device.type == "cuda":
                outputs = self._to_host(stage, outputs)
            copied = self._mark()
        padding = bucket.rows * bucket.length - sum(lengths)
        return Launched(stage, states, outputs, begun, copied, padding, started_s)

    @torch.inference_mode()
    def finish(self, launched: Launched) -> list[NDArray[np.float32] | None]:
        """Wait for a step, let its states move on, and count it; the samples of each state, in order.

        Raises ModelError if scatter broke a rule of serving.models.base, and whatever the model raises.
        """
        name = launched.stage.name
        if launched.copied is not None and launched.begun is not None:
            launched.copied.synchronize()
            # A step that is launched early waits for the one before it: the host's clock would count that twice.
            launched.busy_s = 1e-3 * launched.begun.elapsed_time(launched.copied)
        samples = launched.stage.scatter(launched.states, launched.outputs)
        self._check(launched, samples)
        if launched.copied is None:
            launched.busy_s = time.perf_counter() - launched.started_s
        self.busy_s += launched.busy_s
        self.step_s[name] += launched.busy_s
        self.step_times[name][bisect.bisect_left(STEP_BUCKETS_S, launched.busy_s)] += 1
        self.copies_to_host += len(launched.stage.to_host)
        self.steps[name] += 1
        self.rows[name] += len(launched.states)
        self.padded_units[name] += launched.padded_units
        return samples

    def check_device(self) -> None:
        """Wait for the device. Raises what a fault of any step so far has left it in; never on the CPU.

        A context that a kernel has killed fails every later call, and by no means each of these as an
        AcceleratorError: Triton and cuBLAS raise plain RuntimeErrors.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextlib.contextmanager
    def _in_lane(self, lane: frozenset[str]) -> Iterator[None]:
        """Work of a lane: on its stream, after what scatter has done so far, which is on the thread's own stream.

        One lane waits for another by the host alone: a state changes lanes in scatter, when its step is complete.
        """
        if not self._streams:
            yield
            return
        stream = self._streams[lane]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            yield

    def _mark(self) -> torch.cuda.Event | None:
        """A moment in the device's order of work; None on the CPU."""
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _check(self, launched: Launched, samples: Sequence[object]) -> None:
        """What the scheduler relies on: one entry of samples per state, and states that want a stage that exists."""
        name = launched.stage.name
        if len(samples) != len(launched.states):
            raise ModelError(
                f"stage {name}: scatter gave {len(samples)} samples for {len(launched.states)} states"
            )
        for made in samples:
            if made is not None and not (
                isinstance(made, np.ndarray) and made.ndim == 1 and made.dtype.kind == "f"
            ):
                raise ModelError(
                    f"stage {name}: scatter gave samples that are no float array [n]: {_shape(made)}"
                )
            if made is not None and not np.isfinite(made).all():
                raise ModelError(f"stage {name}: scatter gave samples that are no finite numbers")
        for state in launched.states:
            self.check_state(state, f"stage {name}: scatter")

    def check_state(self, state: SegmentState, what: str) -> None:
        """Raise ModelError, which names `what` left the state so, unless its stage and length can be planned."""
        if state.times is not None and not _are_times(state.times):
            raise ModelError(f"{what} left times that are no SegmentTimes of plain numbers")
        if state.stage is None:
            return
        if state.stage not in self._stages:
            raise ModelError(
                f"{what} sent a segment to the stage {state.stage!r}; there are {', '.join(self._stages)}"
            )
        length: object = state.length
        if not isinstance(length, int) or length < 0:
            raise ModelError(f"{what} left a segment of length {length!r}")

    def _bucket(self, name: str, stage: Stage, rows: int, length: int) -> Bucket:
        if not stage.buckets or not (self._engine.compile or self._engine.cuda_graphs):
            return Bucket(rows, length)
        bucket = pick_bucket(stage.buckets, rows, length)
        if bucket is not None:
            return bucket
        self.bucket_misses[name] += 1
        if self._engine.cuda_graphs:
            raise BucketMiss(f"stage {name}: no bucket holds {rows} rows of {length} units")
        return Bucket(rows, length)

    def _to_device(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if self._device.type == "cpu":
            return inputs
        return tuple(
            value.pin_memory().to(self._device, non_blocking=True) if value.device.type == "cpu" else value
            for value in inputs
        )

    def _to_host(self, stage: Stage, outputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Start the copies that scatter needs. Fresh pinned memory each time: samples may be views of it."""
        moved = list(outputs)
        for index in stage.to_host:
            host = torch.empty(outputs[index].shape, dtype=outputs[index].dtype, pin_memory=True)
            moved[index] = host.copy_(outputs[index], non_blocking=True)
        return tuple(moved)


def _shape(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__


def _are_times(times: SegmentTimes) -> bool:
    """Whether they can be sent: a model may have left numbers of an array library."""
    try:
        moments = [
            times.start_s,
            times.end_s,
            *(moment for start, end in times.words for moment in (start, end)),
        ]
    except (AttributeError, TypeError, ValueError):
        return False
    return all(type(moment) in (int, float) for moment in moments)
