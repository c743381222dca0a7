"""Pure functions of the scheduler: who gets a slot, when a window begins, who is kept back, and who shares a step."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from serving.engine.requests import Part, Plan, Request, StageLimits

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPREAD = 2.0
"""Rows of a step are at most this many times longer or shorter than the row that the step is for."""
CAPTURED_SPREAD = 1.5
"""The same where steps run in captured shapes, which pad the rows once more."""
FULL = 0.75
"""A captured shape runs with fewer rows than this share of its own only if there is none smaller."""
FOLLOWER_SLACK_S = 2.0
"""A segment is less urgent than the one before it in its request by this much."""
URGENT_S = 1.0
"""A listener whose playback buffer empties sooner than this gets small windows."""
SAFETY = 2.0
PRESSING_S = 0.1
"""A step is pressing if its most urgent part is due within this: it waits for no other step."""
HUNGRY = 8
"""So many listeners a worker may have less than URGENT_S in hand; a newcomer waits until one of them has more."""
MARGIN_S = 0.05
"""A window begins when the listener has no more left than SAFETY times what windows take, and MARGIN_S."""
AHEAD_S = 0.35
"""Under StreamingProfile.window_s the codes of a listener's next window are due this long before he runs dry."""
PATIENCE_S = 0.15
"""While another lane of the device works, a lane waits for whoever is due in less than this; the others then ride."""


class Waiting(NamedTuple):
    """A part that wants a step."""

    due_s: float
    part: Part


def opens_next(
    due: Sequence[tuple[float, Request]], now: float, *, free: tuple[bool, bool], max_hungry: int | None
) -> Request | None:
    """Whose waiting segment gets the next slot; None: nobody's. `due`: when each listener's buffer empties.

    `free`: whether there is a slot for a request without one, and for one that has some.
    """
    full = max_hungry is not None and max_hungry <= sum(
        request.streaming and request.slots > 0 and due_s - now < URGENT_S for due_s, request in due
    )
    best: tuple[int, float] | None = None
    chosen: Request | None = None
    for due_s, request in due:
        if not request.waiting or not free[request.slots > 0]:
            continue
        if request.streaming and len(request.parts) >= (1 if request.first_chunk_s is None else 2):
            continue
        if full and request.is_newcomer and not request.slots:
            continue
        rank = (request.slots, due_s + FOLLOWER_SLACK_S * len(request.parts))
        if best is None or rank < best:
            best, chosen = rank, request
    return chosen


def speaks_now(in_hand_s: float | None, speaking_s: float) -> bool:
    """Whether what a segment offers is spoken now; else it goes on drawing, and the window will be larger.

    `in_hand_s`: what its listener has left to play, negative if he has waited so long; None before his first sound, for
    which nobody waits longer than the model asks. `speaking_s`: from an offer taken to its sound, as of late.
    """
    return in_hand_s is None or in_hand_s <= SAFETY * speaking_s + MARGIN_S


def keeps_up(dry_s: Sequence[float], window_s: float, now: float) -> bool:
    """Whether nobody runs dry if the listeners of these moments, ascending, have their windows one after another.

    Who is dry already cannot be kept from it: he has his turn, and keeps nobody out.
    """
    return all(dry < now or dry - now >= window_s * count for count, dry in enumerate(dry_s, start=1))


def admitted(
    ready: Sequence[Waiting],
    dry_s: Sequence[float],
    now: float,
    *,
    window_s: float,
    first_s: float,
    beside: bool,
) -> Sequence[Waiting]:
    """Those of `ready`, by due time, who may share the next step: not newcomers for whom a listener would run dry.

    A newcomer is one who has heard nothing: once he has, he too must be kept up with, from a first window of first_s.
    `dry_s`: when those who listen run dry. `window_s`: what a window takes of the device. Unless other stages work
    `beside` this step, newcomers have it rather than nobody.
    """
    listening = sorted(dry_s)
    sooner: list[Waiting] = []
    for waiting in ready:
        if waiting.part.request.is_newcomer:
            tried = sorted([*listening, now + first_s])
            if not keeps_up(tried, window_s, now):
                continue
            listening = tried
        sooner.append(waiting)
    return sooner if beside or any(waiting.part.request.streaming for waiting in sooner) else ready


def leading(ready: Sequence[Waiting], stages: Mapping[str, StageLimits], busy: Collection[str]) -> int:
    """Whom of `ready` the next step is for: the most urgent, but first a newcomer who can then share his steps.

    While the most urgent repeats a stage of many steps (StageLimits.lookahead), a newcomer who wants a single one of a
    captured shape, such as those before and after that stage, has it first. Else he would wait for all the others'
    repetitions, and then have his own alone. `busy`: stages of steps under way, which a single step would wait for.
    """

    def is_single(waiting: Waiting) -> bool:
        state = waiting.part.state
        assert state is not None
        assert state.stage is not None
        limits = stages[state.stage]
        return bool(limits.rows) and not limits.lookahead and state.stage not in busy

    if not is_single(ready[0]):
        for place, waiting in enumerate(ready):
            if waiting.part.request.is_newcomer and is_single(waiting):
                return place
    return 0


def choose_step(
    ready: Sequence[Waiting],
    stages: Mapping[str, StageLimits],
    now: float,
    join_s: float,
    workers: int,
    busy: Collection[str] | None = None,
) -> Plan:
    """The stage of the most urgent part, and who joins it. `ready`: ascending, at least one.

    `join_s` and `workers` are as in Scheduler. `busy` is as in leading(); None: nobody goes before the most urgent.
    """
    lead_due_s, lead = ready[0 if busy is None else leading(ready, stages, busy)]
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
    for due_s, part in ready:
        if part is lead:
            continue
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
    return Plan(stage, parts[: fill(len(parts), limits.rows)], is_pressing(lead_due_s, now))


def is_pressing(due_s: float, now: float) -> bool:
    """Whether a part that is due then is in no position to wait for a step of another."""
    return due_s < now + PRESSING_S


def fill(rows: int, shapes: Sequence[int]) -> int:
    """How many of so many rows to run now: all, unless they would leave much of the smallest shape for them empty."""
    above = bisect.bisect_left(shapes, rows)
    if not 0 < above < len(shapes) or rows >= FULL * shapes[above]:
        return rows
    return shapes[above - 1]


def after_lead(samples: NDArray[np.float32], lead_s: float, rate_hz: int) -> NDArray[np.float32]:
    """The first samples of a segment behind the silence that its text asks for."""
    lead = round(lead_s * rate_hz)
    return np.concatenate((np.zeros(lead, samples.dtype), samples)) if lead else samples
