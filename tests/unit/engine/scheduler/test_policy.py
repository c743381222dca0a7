"""When a window begins, and which rows share a step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.policy import FULL, MARGIN_S, SAFETY, fill, speaks_now
from serving.engine.requests import StageLimits
from serving.engine.scheduler import Scheduler
from serving.models.base import SegmentState
from serving.protocol import Failed, Segment, SpeechParams, Submit
from tests.unit.engine.scheduler.script import RATE_HZ, ids, make, open_all, step, submit


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


def test_only_what_presses_is_planned_where_nothing_else_may_be() -> None:
    scheduler = make(max_rows=1, join_s=0.25)
    submit(scheduler, "has audio", now=0.0)
    submit(scheduler, "offline", now=0.0, streaming=False)
    open_all(scheduler, 0.0, stages="rr", samples=RATE_HZ)
    plan = scheduler.plan(0.0)
    assert plan is not None
    assert plan.pressing
    step(scheduler, plan, 0.0)
    assert scheduler.plan(0.5, pressing=True) is None
    submit(scheduler, "new", now=0.5)
    open_all(scheduler, 0.5)
    newcomer = scheduler.plan(0.5, pressing=True)
    assert ids(newcomer) == ["new"]
    other = scheduler.plan(0.5)
    assert ids(other) == ["has audio"]
    assert other is not None
    assert not other.pressing
    scheduler.complete(other, [], 0.6)
    assert ids(scheduler.plan(0.95, pressing=True)) == ["has audio"]  # now that it is about to run dry


def make_in_shapes() -> Scheduler:
    """One step of stage r, as many as there are of stage d, in captured shapes."""
    once, again = StageLimits(8, 64, rows=(1, 2, 4)), StageLimits(8, 64, lookahead=True, rows=(1, 2, 4))
    return Scheduler({"r": once, "d": again}, max_slots=8, sample_rate_hz=RATE_HZ, window_s=0.04, first_s=0.7)


def test_a_newcomer_joins_the_repetitions_of_those_before_him() -> None:
    scheduler = make_in_shapes()
    submit(scheduler, "first", now=0.0)
    open_all(scheduler, 0.0, stages="ddddd")
    running = scheduler.plan(0.0)
    assert ids(running) == ["first"]
    submit(scheduler, "second", now=0.01)
    open_all(scheduler, 0.01, stages="rdddd")
    assert running is not None
    joining = scheduler.plan(0.01, after=[running])
    assert ids(joining) == ["second"]
    assert joining is not None
    step(scheduler, running, 0.02)
    step(scheduler, joining, 0.03)
    assert ids(scheduler.plan(0.03)) == ["first", "second"]


def test_a_listener_does_not_go_before_who_is_more_urgent() -> None:
    scheduler = make_in_shapes()
    submit(scheduler, "listener", now=0.0)
    open_all(scheduler, 0.0, stages="dr", samples=RATE_HZ)
    heard = scheduler.plan(0.0)
    assert heard is not None
    step(scheduler, heard, 0.0)
    submit(scheduler, "newcomer", now=0.0)
    open_all(scheduler, 0.0, stages="d")
    assert ids(scheduler.plan(0.0)) == ["newcomer"]


def test_a_newcomer_waits_while_too_many_have_little_in_hand() -> None:
    scheduler = make(max_rows=1, join_s=0.25, max_hungry=2)
    for name in ("first", "second", "third"):
        submit(scheduler, name, now=0.0, segments=2)
    submit(scheduler, "offline", now=0.0, streaming=False)
    opened = open_all(scheduler, 0.0, stages="rr", samples=3 * RATE_HZ // 2)
    assert [part.request.request_id for part in opened] == ["first", "second", "offline"]
    plan = scheduler.plan(0.0)
    assert ids(plan) == ["first"]
    assert plan is not None
    step(scheduler, plan, 0.0)  # has 1.5 s in hand now
    opened = open_all(scheduler, 0.1, stages="rr")
    assert [part.request.request_id for part in opened] == ["third", "first"]
    submit(scheduler, "fourth", now=0.2)
    assert open_all(scheduler, 0.2) == []


@dataclass(slots=True)
class Mistaken(SegmentState):
    """A segment that offers what it does not have."""

    sends_to: str = ""

    def take_offer(self) -> None:
        if not self.sends_to:
            raise RuntimeError("nothing there")
        self.stage = self.sends_to


@pytest.mark.parametrize(
    ("sends_to", "words"), [("", "RuntimeError: nothing there"), ("nowhere", "the stage 'nowhere'")]
)
def test_an_offer_that_cannot_be_taken_fails_its_own_request(sends_to: str, words: str) -> None:
    limits = StageLimits(4, 64)
    scheduler = Scheduler({"draw": limits}, max_slots=2, sample_rate_hz=1000)
    for name in ("mistaken", "neighbour"):
        scheduler.submit(
            Submit(
                request_id=name, params=SpeechParams(voice="v", seed=0), streaming=True, timeout_s=99,
                segments=[Segment(index=0, tokens=[1])], last=True,
            ),
            0.0,
        )  # fmt: skip
        part = scheduler.open_next(0.0)
        assert part is not None
        part.state = Mistaken(part.slot, "draw", 1, sends_to=sends_to)
        part.state.offer_s = 0.7 if name == "mistaken" else 0.0
    plan = scheduler.plan(1.0)
    assert plan is not None
    assert [part.request.request_id for part in plan.parts] == ["neighbour"]
    (failed,) = scheduler.outbox
    assert isinstance(failed, Failed)
    assert (failed.request_id, words in failed.message) == ("mistaken", True)
    assert len(scheduler.closing) == 1
