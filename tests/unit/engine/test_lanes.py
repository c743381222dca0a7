"""Stages beside each other: who has which stream, whom a step waits for, and who is not begun yet."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.policy import Waiting, admitted, keeps_up
from serving.engine.requests import Part, Request, StageLimits
from serving.engine.runner import lanes_of
from serving.engine.scheduler import Scheduler
from serving.models.base import ModelError
from serving.models.tone.model import ToneModel
from serving.models.tone.options import Options
from serving.profile import EngineProfile
from serving.protocol import Segment
from tests.unit.engine.scheduler.script import PARAMS, RATE_HZ, ids, make, open_all, submit

WINDOW_S, FIRST_S = 0.1, 0.5


def make_following() -> Scheduler:
    limits = StageLimits(8, 64)
    return Scheduler(
        {"r": limits, "s": limits}, max_slots=8, sample_rate_hz=RATE_HZ, window_s=0.01, first_s=FIRST_S
    )


def test_a_lane_plans_its_own_stages_and_no_segment_that_another_holds() -> None:
    scheduler = make()
    for name, stages in (("a", "rs"), ("b", "s")):
        submit(scheduler, name, now=0.0)
        open_all(scheduler, 0.0, stages=stages)
    held = scheduler.plan(0.0, stages={"r", "d"})
    assert ids(held) == ["a"]
    assert held is not None
    state = held.parts[0].state
    assert state is not None
    state.stage = "s"  # as a stage may say that is ready for the next one while its step runs
    other = scheduler.plan(0.0, stages={"s"})
    assert other is not None
    assert ids(other) == ["b"]
    assert scheduler.plan(0.0, after=[other], stages={"s"}) is None


def listener(scheduler: Scheduler, in_hand_s: float) -> None:
    """One who has heard something and has so much left to play at 0."""
    submit(scheduler, "hears", now=0.0)
    for part in open_all(scheduler, 0.0):
        part.request.first_chunk_s, part.request.samples = 0.0, round(in_hand_s * RATE_HZ)


def waiting(due_s: float, *, newcomer: bool, streaming: bool = True) -> Waiting:
    request = Request("x", PARAMS, streaming, False, 0.0, 99.0)
    request.first_chunk_s = None if newcomer else 0.0
    return Waiting(due_s, Part(request, Segment(index=0, tokens=[]), 0, False))


def let_in(ready: Sequence[Waiting], dry_s: Sequence[float], *, beside: bool = False) -> list[int]:
    """Places in `ready` of those who are let in at 0."""
    chosen = admitted(ready, dry_s, 0.0, window_s=WINDOW_S, first_s=FIRST_S, beside=beside)
    return [index for index, one in enumerate(ready) if any(one is other for other in chosen)]


def test_nobody_is_begun_for_whom_a_listener_would_run_dry() -> None:
    ready = [waiting(-0.5, newcomer=True), waiting(0.1, newcomer=False)]
    assert let_in(ready, [0.2]) == [0, 1]
    assert let_in(ready, [0.05]) == [1], "his window takes longer than that"
    assert let_in(ready, [0.3, 0.3, 0.3, 0.3]) == [1], "the fourth of them would wait 0.4 s"
    assert let_in(ready, [-1.0, 0.2]) == [0, 1], "who is dry already keeps nobody out"
    assert let_in(ready, [-1.0, 0.15]) == [1], "but has his turn"


def test_newcomers_are_begun_one_by_one() -> None:
    ready = [waiting(0.0, newcomer=True) for _ in range(8)]
    assert let_in(ready, []) == [0, 1, 2, 3, 4], (
        "five first windows are 0.5 s, and so is what each of them hears"
    )
    assert let_in(ready, [0.05]) == list(range(8)), "rather than nobody"
    assert let_in(ready, [0.05], beside=True) == []


def test_who_has_no_listener_neither_waits_for_newcomers_nor_keeps_them_out() -> None:
    ready = [waiting(-0.5, newcomer=True), waiting(5.0, newcomer=False, streaming=False)]
    assert let_in(ready, [0.05]) == [0, 1]
    assert let_in(ready, [0.05], beside=True) == [1]


@given(st.lists(st.floats(0, 2), max_size=8), st.integers(0, 8), st.booleans())
def test_listeners_are_always_let_in_and_those_begun_keep_everybody_up(
    dry_s: list[float], newcomers: int, beside: bool
) -> None:
    ready = [waiting(0.0, newcomer=True) for _ in range(newcomers)] + [waiting(0.1, newcomer=False)]
    chosen = let_in(ready, dry_s, beside=beside)
    assert newcomers in chosen
    begun = len(chosen) - 1
    assert not begun or keeps_up(sorted([*dry_s, *[FIRST_S] * begun]), WINDOW_S, 0.0)


def test_a_listener_s_next_window_is_due_before_he_runs_dry() -> None:
    scheduler = make_following()
    listener(scheduler, 0.6)
    submit(scheduler, "new", now=0.2)
    open_all(scheduler, 0.2)
    plan = scheduler.plan(0.2)
    assert ids(plan) == ["hears", "new"], "due at 0.25, and the newcomer at 0.28"


def test_a_lane_waits_for_need_while_another_works() -> None:
    scheduler = make_following()
    listener(scheduler, 2.0)
    assert scheduler.plan(0.0, beside=True) is None
    assert ids(scheduler.plan(1.6, beside=True)) == ["hears"]
    scheduler = make_following()
    listener(scheduler, 2.0)
    assert ids(scheduler.plan(0.0)) == ["hears"]


class InLanes(ToneModel):
    lanes: tuple[tuple[str, ...], ...] = (("embed",),)


@pytest.mark.parametrize(
    ("lanes", "message"),
    [((("embed",), ("embed",)), "'embed' is in 2 lanes"), ((("chew",),), "'chew' is in 1")],
)
def test_lanes_hold_each_stage_once(lanes: tuple[tuple[str, ...], ...], message: str) -> None:
    model = InLanes(Options(), EngineProfile(), torch.device("cpu"))
    assert lanes_of(model, beside=False) == (frozenset({"embed", "render"}),)
    assert lanes_of(model, beside=True) == (frozenset({"embed"}), frozenset({"render"}))
    model.lanes = lanes
    with pytest.raises(ModelError, match=message):
        lanes_of(model, beside=True)
