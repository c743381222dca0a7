"""Pure functions of the scheduler: when a listener's next window begins, and which rows share a step."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence

from serving.engine.requests import Part, Plan, StageLimits

SPREAD = 2.0
"""Rows of a step are at most this many times longer or shorter than the row that the step is for."""
CAPTURED_SPREAD = 1.5
"""The same where steps run in captured shapes, which pad the rows once more."""
FULL = 0.75
"""A captured shape runs with fewer rows than this share of its own only if there is none smaller."""
SAFETY = 2.0
MARGIN_S = 0.05
"""A window begins when the listener has no more left than SAFETY times what windows take, and MARGIN_S."""
LONG_S = 0.03
"""A step of a stage that takes one row at a time is long from here on."""


class LongSteps:
    """Keeps the last worker for short steps while another one has a long step: a newcomer who finds all in long steps
    waits for the end of one.

    Only of stages that take one row at a time, such as what computes a whole segment at once; how long a step will
    take is told by what a unit took lately. A load is made of steps of many rows, which run whatever else runs.
    """

    def __init__(self, stages: Mapping[str, StageLimits]) -> None:
        self._stages = stages
        self._unit_s: dict[str, float] = {}
        self._running: dict[int, tuple[float, int, bool]] = {}
        """When each of those steps began, its units, and whether it is long."""

    def would_be(self, part: Part) -> bool:
        """Whether the next step of a segment would be long."""
        assert part.state is not None
        assert part.state.stage is not None
        return self._is_long(part.state.stage, part.state.length)

    @property
    def runs(self) -> bool:
        """Whether a long step is under way."""
        return any(is_long for _, _, is_long in self._running.values())

    def begin(self, plan: Plan, now: float) -> None:
        """A step begins."""
        state = plan.parts[0].state
        assert state is not None
        if self._stages[plan.stage].max_rows == 1:
            units = max(state.length, 1)
            self._running[id(plan.parts)] = (now, units, self._is_long(plan.stage, units))

    def end(self, plan: Plan, now: float) -> None:
        """It has ended."""
        begun_s, units, _ = self._running.pop(id(plan.parts), (now, 0, False))
        if units:
            took_s = (now - begun_s) / units
            known_s = self._unit_s.get(plan.stage, took_s)
            self._unit_s[plan.stage] = known_s + (took_s - known_s) / 8

    def _is_long(self, stage: str, units: int) -> bool:
        return self._stages[stage].max_rows == 1 and units * self._unit_s.get(stage, 0.0) >= LONG_S


def speaks_now(in_hand_s: float | None, speaking_s: float) -> bool:
    """Whether what a segment offers is spoken now; else it goes on drawing, and the window will be larger.

    `in_hand_s`: what its listener has left to play, negative if he has waited so long; None before his first sound, for
    which nobody waits longer than the model asks. `speaking_s`: from an offer taken to its sound, as of late.
    """
    return in_hand_s is None or in_hand_s <= SAFETY * speaking_s + MARGIN_S


def choose_step(
    ready: Sequence[tuple[float, Part]],
    stages: Mapping[str, StageLimits],
    now: float,
    join_s: float,
    workers: int,
) -> Plan:
    """The stage of the most urgent part, and who joins it. `ready`: (due time, part), ascending, at least one.

    `join_s` and `workers` are as in Scheduler.
    """
    lead_due_s, lead = ready[0]
    assert lead.state is not None
    assert lead.state.stage is not None
    stage, length = lead.state.stage, max(lead.state.length, 1)
    limits = stages[stage]
    spread = CAPTURED_SPREAD if limits.rows else SPREAD
    latest_s = float("inf")
    if lead.request.streaming and lead_due_s < now + join_s:
        latest_s = max(lead_due_s, now) + join_s
    alike = sum(part.state is not None and part.state.stage == stage for _, part in ready)
    max_rows = min(limits.max_rows, -(-alike // workers))
    parts, longest = [lead], length
    for due_s, part in ready[1:]:
        state = part.state
        assert state is not None
        if len(parts) == max_rows or due_s > latest_s:
            break
        if state.stage != stage or not length <= spread * max(state.length, 1) <= spread**2 * length:
            continue
        stretched = max(longest, state.length)
        if stretched * (len(parts) + 1) <= limits.max_units:
            parts.append(part)
            longest = stretched
    return Plan(stage, parts[: fill(len(parts), limits.rows)])


def fill(rows: int, shapes: Sequence[int]) -> int:
    """How many of so many rows to run now: all, unless they would leave much of the smallest shape for them empty."""
    above = bisect.bisect_left(shapes, rows)
    if not 0 < above < len(shapes) or rows >= FULL * shapes[above]:
        return rows
    return shapes[above - 1]
