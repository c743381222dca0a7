"""Stages of a staged load: shared by the Locust users and by the report on them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a load test."""

    name: str
    users: int
    """How many users at its end."""
    duration_s: float
    ramp: bool = False
    """Users grow evenly from the stage before; else all of them are there at once."""


def default_stages(users: int, duration_s: float) -> list[Stage]:
    """Ramp to `users`, hold, spike to twice as many, and soak: 15, 25, 10 and 50 % of the time."""
    return [
        Stage(name="ramp", users=users, duration_s=0.15 * duration_s, ramp=True),
        Stage(name="hold", users=users, duration_s=0.25 * duration_s),
        Stage(name="spike", users=2 * users, duration_s=0.10 * duration_s),
        Stage(name="soak", users=users, duration_s=0.50 * duration_s),
    ]


def stage_at(stages: Sequence[Stage], time_s: float) -> tuple[Stage, int] | None:
    """The stage at this time of the test and the users wanted now; None after the last stage."""
    before = 0
    for stage in stages:
        if time_s < stage.duration_s:
            if stage.ramp:
                grown = before + (stage.users - before) * time_s / stage.duration_s
                return stage, max(1, round(grown))
            return stage, stage.users
        time_s -= stage.duration_s
        before = stage.users
    return None
