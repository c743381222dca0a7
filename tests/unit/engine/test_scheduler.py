"""The scheduler's choices, on scripted clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from serving.engine.requests import Part, Plan, Speech, StageLimits
from serving.engine.scheduler import OFFLINE_SLACK_S, Scheduler
from serving.models.base import SegmentState
from serving.protocol import Extend, Failed, Finished, Segment, SpeechParams, Submit

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


def test_rows_that_want_one_stage_run_together() -> None:
    scheduler = make()
    for name in "abc":
        submit(scheduler, name, now=0.0)
    open_all(scheduler, 0.0)
    plan = scheduler.plan(0.0)
    assert ids(plan) == ["a", "b", "c"]
    assert plan is not None
    step(scheduler, plan, 0.1)
    assert scheduler.outcomes["finished"] == 3
    assert scheduler.plan(0.2) is None
    assert scheduler.slots_used == 0


def test_a_new_listener_goes_before_one_who_has_audio() -> None:
    scheduler = make(max_rows=1)
    submit(scheduler, "old", now=0.0)
    open_all(scheduler, 0.0, stages="rr", samples=5 * RATE_HZ)
    plan = scheduler.plan(0.0)
    assert plan is not None
    step(scheduler, plan, 0.1)
    submit(scheduler, "new", now=0.2)
    open_all(scheduler, 0.2)
    assert ids(scheduler.plan(0.2)) == ["new"]


def test_a_listener_who_runs_dry_goes_before_a_newcomer() -> None:
    scheduler = make(max_rows=1)
    submit(scheduler, "old", now=0.0)
    open_all(scheduler, 0.0, stages="rr", samples=RATE_HZ)
    plan = scheduler.plan(0.0)
    assert plan is not None
    step(scheduler, plan, 0.1)
    submit(scheduler, "new", now=2.0)
    open_all(scheduler, 2.0)
    assert ids(scheduler.plan(2.0)) == ["old"]


def test_a_request_without_a_listener_ages_into_urgency() -> None:
    scheduler = make(max_rows=1)
    submit(scheduler, "offline", now=0.0, streaming=False)
    submit(scheduler, "listener", now=OFFLINE_SLACK_S - 0.1)
    open_all(scheduler, OFFLINE_SLACK_S)
    assert ids(scheduler.plan(OFFLINE_SLACK_S)) == ["listener"]
    submit(scheduler, "late", now=OFFLINE_SLACK_S + 0.1)
    open_all(scheduler, OFFLINE_SLACK_S)
    assert ids(scheduler.plan(OFFLINE_SLACK_S)) == ["offline"]


def test_the_most_urgent_segment_picks_the_stage() -> None:
    scheduler = make()
    submit(scheduler, "one", now=1.0)
    open_all(scheduler, 1.0, stages="r")
    submit(scheduler, "two", now=0.0)
    open_all(scheduler, 1.0, stages="s")
    plan = scheduler.plan(1.0)
    assert plan is not None
    assert (plan.stage, ids(plan)) == ("s", ["two"])


def test_limits_of_a_step() -> None:
    scheduler = make(max_rows=3, max_units=20)
    for name in "abcd":
        submit(scheduler, name, now=0.0)
    open_all(scheduler, 0.0, length=10)
    assert ids(scheduler.plan(0.0)) == ["a", "b"]
    scheduler = make(max_rows=3, max_units=20)
    for name in "abcd":
        submit(scheduler, name, now=0.0)
    open_all(scheduler, 0.0, length=2)
    assert ids(scheduler.plan(0.0)) == ["a", "b", "c"]
    scheduler = make(max_units=20)
    submit(scheduler, "huge", now=0.0)
    open_all(scheduler, 0.0, length=50)
    assert ids(scheduler.plan(0.0)) == ["huge"], "a single row may always run"


def test_rows_of_unlike_length_do_not_pad_each_other() -> None:
    scheduler = make(max_units=1000)
    for name, length in (("a", 10), ("long", 21), ("b", 20), ("short", 4), ("c", 5)):
        submit(scheduler, name, now=0.0)
        open_all(scheduler, 0.0, length=length)
    assert ids(scheduler.plan(0.0)) == ["a", "b", "c"]


def test_where_width_costs_time_an_urgent_step_stays_narrow() -> None:
    for join_s, expected in ((float("inf"), ["new", "offline"]), (0.25, ["new"])):
        scheduler = make(join_s=join_s)
        submit(scheduler, "offline", now=0.0, streaming=False)
        submit(scheduler, "new", now=0.0)
        open_all(scheduler, 0.0)
        assert ids(scheduler.plan(0.0)) == expected


def test_a_long_request_leaves_slots_to_newcomers() -> None:
    scheduler = make(max_slots=8)
    submit(scheduler, "long", now=0.0, segments=100, streaming=False)
    assert len(open_all(scheduler, 0.0)) == 6
    submit(scheduler, "new", now=1.0, segments=3, streaming=False)
    assert [part.request.request_id for part in open_all(scheduler, 1.0)] == ["new"]


def test_a_slot_that_comes_free_goes_to_who_has_fewest() -> None:
    scheduler = make(max_slots=8)
    submit(scheduler, "long", now=0.0, segments=99, streaming=False)
    for part in open_all(scheduler, 0.0, stages="rr")[3:]:
        assert isinstance(part.state, Script)
        part.state.stages.clear()
    plan = scheduler.plan(0.0)
    assert plan is not None
    step(scheduler, plan, 0.1)
    assert scheduler.slots_used == 3
    submit(scheduler, "late", now=99.0, streaming=False)
    opened = [part.request.request_id for part in open_all(scheduler, 99.0)]
    assert opened == ["late", "long", "long"], "though the other is overdue by far"


def test_a_listener_gets_one_segment_then_two() -> None:
    scheduler = make()
    submit(scheduler, "a", now=0.0, segments=5)
    assert len(open_all(scheduler, 0.0, stages="rr")) == 1
    plan = scheduler.plan(0.0)
    assert plan is not None
    step(scheduler, plan, 0.1)
    assert len(open_all(scheduler, 0.1, stages="rr")) == 1


def test_chunks_leave_in_order_whatever_was_made_first() -> None:
    scheduler = make()
    submit(scheduler, "a", now=0.0, segments=3, streaming=False)
    parts = open_all(scheduler, 0.0)
    for number, index in enumerate((2, 1, 0)):
        part = parts[index]
        for other in parts:
            assert other.state is not None
            other.state.stage = "r" if other is part else None
        plan = scheduler.plan(0.1)
        assert plan is not None
        step(scheduler, plan, 0.2)
        assert spoken(scheduler, "a") == ([] if number < 2 else [0, 1, 2])
    assert isinstance(scheduler.outbox[-1], Finished)
    assert scheduler.outbox[-1].stats.audio_s == pytest.approx(0.3)
    assert scheduler.outbox[-1].stats.steps == {"r": 3}


def test_lookahead_launches_the_same_stage_once_more() -> None:
    scheduler = make()
    submit(scheduler, "a", now=0.0)
    open_all(scheduler, 0.0, stages="d")
    first = scheduler.plan(0.0)
    second = scheduler.plan(0.0, after=first)
    assert ids(second) == ["a"]
    assert first is not None
    assert second is not None
    step(scheduler, first, 0.1)
    assert scheduler.slots_used == 1, "the second step still writes to the slot"
    step(scheduler, second, 0.2)
    assert scheduler.slots_used == 0
    assert spoken(scheduler, "a") == [0], "what a step made past the end is dropped"


def test_no_lookahead_into_another_stage_or_where_the_stage_forbids_it() -> None:
    scheduler = make()
    submit(scheduler, "a", now=0.0)
    open_all(scheduler, 0.0, stages="r")
    assert scheduler.plan(0.0, after=scheduler.plan(0.0)) is None
    scheduler = make()
    submit(scheduler, "a", now=0.0)
    open_all(scheduler, 0.0, stages="d")
    running = scheduler.plan(0.0)
    submit(scheduler, "urgent", now=-1.0)
    open_all(scheduler, 0.0, stages="r")
    assert scheduler.plan(0.0, after=running) is None


def test_abort_frees_an_idle_slot_now_and_a_running_one_after_its_step() -> None:
    scheduler = make()
    submit(scheduler, "idle", now=0.0)
    submit(scheduler, "runs", now=0.0)
    open_all(scheduler, 0.0)
    scheduler.abort("idle", 0.0)
    assert scheduler.slots_used == 1
    plan = scheduler.plan(0.0)
    assert plan is not None
    scheduler.abort("runs", 0.0)
    assert scheduler.slots_used == 1
    step(scheduler, plan, 0.1)
    assert scheduler.slots_used == 0
    assert len(scheduler.closing) == 2
    assert spoken(scheduler, "runs") == []
    assert scheduler.outcomes["aborted"] == 2


def test_expiry_reaches_the_waiting_and_the_running() -> None:
    scheduler = make(max_slots=1)
    submit(scheduler, "runs", now=0.0, timeout_s=1.0)
    submit(scheduler, "waits", now=0.0, timeout_s=2.0)
    open_all(scheduler, 0.0)
    assert scheduler.next_expiry_s() == 1.0
    scheduler.expire(2.0)
    assert [m.code for m in scheduler.outbox if isinstance(m, Failed)] == ["expired", "expired"]
    assert scheduler.slots_used == 0
    assert open_all(scheduler, 2.0) == []


def test_segments_that_come_later() -> None:
    scheduler = make()
    message = Submit(
        request_id="a",
        params=PARAMS,
        streaming=True,
        timeout_s=9,
        segments=[Segment(index=0, tokens=[0])],
        last=False,
    )
    scheduler.submit(message, 0.0)
    with pytest.raises(ValueError, match="in flight already"):
        scheduler.submit(message, 0.0)
    open_all(scheduler, 0.0)
    plan = scheduler.plan(0.0)
    assert plan is not None
    step(scheduler, plan, 0.1)
    assert not any(isinstance(m, Finished) for m in scheduler.outbox)
    scheduler.extend(Extend(request_id="a", segments=[], last=True), 0.2)
    assert isinstance(scheduler.outbox[-1], Finished)
    scheduler.extend(Extend(request_id="a", segments=[], last=True), 0.3)
    assert scheduler.outcomes["finished"] == 1


def test_a_gap_in_the_segments_fails_the_request() -> None:
    scheduler = make()
    submit(scheduler, "a", now=0.0, streaming=False)
    scheduler.extend(Extend(request_id="a", segments=[Segment(index=1, tokens=[])], last=True), 0.0)
    failed = scheduler.outbox[-1]
    assert isinstance(failed, Failed)
    assert "out of order" in failed.message
