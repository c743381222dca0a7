"""What presses goes ahead, and a crowd of newcomers starves nobody."""

from __future__ import annotations

from tests.unit.engine.scheduler.script import (
    RATE_HZ,
    ids,
    make,
    open_all,
    step,
    submit,
)


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
