"""When a window begins, and which rows share a step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.policy import FULL, MARGIN_S, SAFETY, LongSteps, fill, speaks_now
from serving.engine.requests import Part, Plan, Request, StageLimits
from serving.engine.scheduler import Scheduler
from serving.models.base import SegmentState
from serving.protocol import Segment, SpeechParams, Submit


def test_a_listener_with_enough_in_hand_waits_for_a_larger_window() -> None:
    assert not speaks_now(1.0, 0.1)
    assert speaks_now(SAFETY * 0.1 + MARGIN_S, 0.1)
    assert speaks_now(-0.5, 0.0)


def test_the_first_sound_never_waits() -> None:
    assert speaks_now(None, 10.0)


@given(now_s=st.floats(-5, 5), later_s=st.floats(0, 5), speaking_s=st.floats(0, 5))
def test_who_speaks_now_would_speak_with_less_in_hand(
    now_s: float, later_s: float, speaking_s: float
) -> None:
    assert speaks_now(now_s - later_s, speaking_s) or not speaks_now(now_s, speaking_s)


@pytest.mark.parametrize(
    ("rows", "run"), [(1, 1), (3, 3), (4, 4), (5, 4), (6, 6), (9, 8), (12, 12), (16, 16)]
)
def test_a_shape_is_filled_or_the_smaller_one_is_taken(rows: int, run: int) -> None:
    assert fill(rows, (1, 2, 4, 8, 16)) == run


@given(st.integers(1, 64))
def test_without_shapes_all_rows_run(rows: int) -> None:
    assert fill(rows, ()) == rows
    assert FULL * fill(rows, (1, 2, 4, 8, 16, 32, 64)) <= rows


@dataclass(slots=True)
class Drawing(SegmentState):
    """A segment that has something to offer."""

    def take_offer(self) -> None:
        self.stage, self.offer_s = "speak", 0.0


def test_an_offer_is_taken_when_the_buffer_runs_low_and_not_before() -> None:
    limits = StageLimits(4, 64)
    scheduler = Scheduler({"draw": limits, "speak": limits}, max_slots=2, sample_rate_hz=1000)
    params = SpeechParams(voice="v", seed=0)
    submit = Submit(
        request_id="a",
        params=params,
        streaming=True,
        timeout_s=99,
        segments=[Segment(index=0, tokens=[1])],
        last=True,
    )
    scheduler.submit(submit, 0.0)
    part = scheduler.open_next(0.0)
    assert part is not None
    state = part.state = Drawing(part.slot, "draw", 1)
    part.request.first_chunk_s, part.request.samples = 0.0, 2000
    state.offer_s = 0.7
    asked = []
    for now in (0.0, 0.5, 1.9):
        plan = scheduler.plan(now)
        assert plan is not None
        asked.append(plan.stage)
        scheduler.complete(plan, [None], now)
    assert asked == ["draw", "draw", "speak"]


def one_row(stage: str, length: int) -> Plan:
    """A step of one row of a stage."""
    request = Request("a", SpeechParams(voice="v", seed=0), True, False, 0.0, expires_s=99.0)
    part = Part(request, Segment(index=0, tokens=[1]), 0, False)
    part.state = SegmentState(0, stage, length)
    return Plan(stage, [part])


def test_a_long_step_of_one_row_is_known_by_what_such_steps_took() -> None:
    steps = LongSteps({"whole": StageLimits(1, 1024), "windows": StageLimits(8, 1024)})
    short, long, wide = one_row("whole", 10), one_row("whole", 400), one_row("windows", 400)
    assert not steps.would_be(long.parts[0]), "nothing is known yet"
    for plan, took_s in ((short, 0.002), (wide, 0.2)):
        steps.begin(plan, 0.0)
        assert not steps.runs
        steps.end(plan, took_s)
    assert steps.would_be(long.parts[0])
    assert not steps.would_be(short.parts[0])
    assert not steps.would_be(wide.parts[0]), "a load is made of steps of many rows"
    steps.begin(long, 1.0)
    assert steps.runs
    steps.end(long, 1.1)
    assert not steps.runs


def test_the_last_worker_is_kept_for_short_steps_while_a_long_one_runs() -> None:
    scheduler = Scheduler({"whole": StageLimits(1, 1024)}, max_slots=4, sample_rate_hz=1000)
    lengths = [10, 400, 400, 20]
    for number in range(len(lengths)):
        submit = Submit(
            request_id=str(number),
            params=SpeechParams(voice="v", seed=0),
            streaming=True,
            timeout_s=99,
            segments=[Segment(index=0, tokens=[1])],
            last=True,
        )
        scheduler.submit(submit, number / 1000)
    while (part := scheduler.open_next(0.0)) is not None:
        part.state = SegmentState(part.slot, "whole", lengths[int(part.request.request_id)])

    def planned(workers: int) -> Plan:
        plan = scheduler.plan(0.0, workers=workers)
        assert plan is not None
        return plan

    first = planned(2)
    first.parts[0].ended = True
    scheduler.complete(first, [None], 0.002)
    long, beside = planned(2), planned(1)
    assert [plan.parts[0].request.request_id for plan in (first, long, beside)] == ["0", "1", "3"]
    beside.parts[0].ended = True
    scheduler.complete(beside, [None], 0.004)
    assert scheduler.plan(0.0, workers=1) is None, "the worker waits for a newcomer"
    assert planned(2).parts[0].request.request_id == "2", "where another is idle it is no newcomer's last"
    scheduler.complete(long, [None], 0.08)
