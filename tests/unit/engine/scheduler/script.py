"""Segments that run scripted stages, on scripted clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.engine.requests import Part, Plan, Speech, StageLimits
from serving.engine.scheduler import Scheduler
from serving.models.base import SegmentState
from serving.protocol import Segment, SpeechParams, Submit

RATE_HZ = 1000
PARAMS = SpeechParams(voice="v", seed=0)


@dataclass(slots=True)
class Script(SegmentState):
    """A segment that runs `stages` in turn and speaks `samples` at each."""

    stages: list[str]
    samples: int


def submit(
    scheduler: Scheduler,
    name: str,
    now: float,
    segments: int = 1,
    *,
    streaming: bool = True,
    timeout_s: float = 99,
) -> None:
    pieces = [Segment(index=index, tokens=[index]) for index in range(segments)]
    scheduler.submit(
        Submit(
            request_id=name,
            params=PARAMS,
            streaming=streaming,
            timeout_s=timeout_s,
            segments=pieces,
            last=True,
        ),
        now,
    )


def open_all(
    scheduler: Scheduler, now: float, stages: str = "r", length: int = 1, samples: int = 100
) -> list[Part]:
    """Open what may be opened; each letter of `stages` is one step of the stage of that name."""
    opened = []
    while (part := scheduler.open_next(now)) is not None:
        part.state = Script(part.slot, stages[0], length, list(stages[1:]), samples)
        opened.append(part)
    return opened


def step(scheduler: Scheduler, plan: Plan, now: float) -> None:
    samples = []
    for part in plan.parts:
        state = part.state
        assert isinstance(state, Script)
        samples.append(np.full(state.samples, part.segment.index, np.float32))
        state.stage = state.stages.pop(0) if state.stages else None
    scheduler.complete(plan, samples, now)


def make(
    max_slots: int = 8,
    max_rows: int = 8,
    max_units: int = 64,
    join_s: float = float("inf"),
    max_hungry: int | None = None,
) -> Scheduler:
    limits = StageLimits(max_rows, max_units)
    ahead = StageLimits(max_rows, max_units, lookahead=True)
    return Scheduler(
        {"r": limits, "s": limits, "d": ahead},
        max_slots=max_slots,
        sample_rate_hz=RATE_HZ,
        join_s=join_s,
        max_hungry=max_hungry,
    )


def ids(plan: Plan | None) -> list[str]:
    assert plan is not None
    return [part.request.request_id for part in plan.parts]


def spoken(scheduler: Scheduler, name: str) -> list[int]:
    """Segment indices of a request's chunks, in the order in which they left."""
    return [int(m.samples[0]) for m in scheduler.outbox if isinstance(m, Speech) and m.request_id == name]
