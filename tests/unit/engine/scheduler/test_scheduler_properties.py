"""What must hold of the scheduler under any sequence of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.engine.requests import Part, Plan, Speech, StageLimits
from serving.engine.scheduler import Scheduler
from serving.models.base import SegmentState
from serving.protocol import Extend, Failed, Finished, Segment, SpeechParams, Submit

PARAMS = SpeechParams(voice="v", seed=0)
LIMITS = {
    "encode": StageLimits(3, 40),
    "decode": StageLimits(4, 16, lookahead=True),
    "vocode": StageLimits(2, 24),
}
MAX_SLOTS = 5
STEP_S = 0.05


@dataclass(slots=True)
class State(SegmentState):
    """Runs encode once, decode `decodes` times and vocode twice, which speaks one sample each time."""

    mark: float
    decodes: int
    vocodes: int = 2
    closed: bool = False


class Machine:
    """A scheduler with a model beside it; checks the rules at every event."""

    def __init__(self, join_s: float) -> None:
        self.scheduler = Scheduler(LIMITS, max_slots=MAX_SLOTS, sample_rate_hz=10, join_s=join_s)
        self.now = 0.0
        self.open: dict[int, State] = {}
        self.heard: dict[str, list[float]] = {}
        self.expected: dict[str, int] = {}
        self.ends: Counter[str] = Counter()
        self.finished: set[str] = set()
        self.running: Plan | None = None

    def submit(self, segments: int, streaming: bool, timeout_s: float, later: bool) -> None:
        name = f"r{len(self.expected)}"
        pieces = [Segment(index=index, tokens=[]) for index in range(segments)]
        first = pieces[:1] if later else pieces
        self.expected[name] = segments
        self.scheduler.submit(
            Submit(
                request_id=name,
                params=PARAMS,
                streaming=streaming,
                timeout_s=timeout_s,
                segments=first,
                last=not later,
            ),
            self.now,
        )
        if later:
            self.scheduler.extend(Extend(request_id=name, segments=pieces[1:], last=True), self.now)

    def open_segments(self, lengths: Iterator[int], refuse: bool) -> None:
        self.close_states()
        while (part := self.scheduler.open_next(self.now)) is not None:
            assert 0 <= part.slot < MAX_SLOTS
            assert part.slot not in self.open, "a slot was given out twice"
            if refuse:
                self.scheduler.fail(part, "cannot be spoken", self.now)
                refuse = False
            else:
                length = next(lengths)
                part.state = State(part.slot, "encode", length, float(part.segment.index), length % 4)
                self.open[part.slot] = part.state
            self.close_states()

    def close_states(self) -> None:
        closing = self.scheduler.closing
        while closing:
            state = closing.popleft()
            assert isinstance(state, State)
            assert not state.closed
            assert self.running is None or all(part.state is not state for part in self.running.parts)
            state.closed = True
            del self.open[state.slot]

    def step(self, fails: bool) -> bool:
        plan = self.scheduler.plan(self.now, after=[] if self.running is None else [self.running])
        if plan is not None:
            limits = LIMITS[plan.stage]
            lengths = [part.state.length for part in plan.parts if part.state is not None]
            assert (
                len(lengths) == len(plan.parts) == len({id(part) for part in plan.parts}) <= limits.max_rows
            )
            assert len(lengths) == 1 or len(lengths) * max(lengths) <= limits.max_units
        ran = self.running is not None or plan is not None
        if self.running is not None:
            self.scatter(self.running, fails)
        self.running = plan
        if plan is not None and not LIMITS[plan.stage].lookahead:
            self.running = None
            self.scatter(plan, fails)
        return ran

    def scatter(self, plan: Plan, fails: bool) -> None:
        self.now += STEP_S
        if fails:
            for part in plan.parts:
                self.scheduler.fail(part, "planted", self.now)
        samples = [] if fails else [self.advance(part) for part in plan.parts]
        self.running = None
        self.scheduler.complete(plan, samples, self.now)

    @staticmethod
    def advance(part: Part) -> NDArray[np.float32] | None:
        state = part.state
        assert isinstance(state, State)
        assert not state.closed, "a closed state was stepped"
        if state.stage == "encode":
            state.stage, state.length = ("decode", 1) if state.decodes else ("vocode", 4)
        elif state.stage == "decode":
            state.decodes -= 1
            if state.decodes == 0:
                state.stage, state.length = "vocode", 4
        elif state.stage == "vocode":
            state.vocodes -= 1
            if state.vocodes == 0:
                state.stage = None
            return np.array([state.mark], np.float32)
        return None

    def listen(self) -> None:
        while self.scheduler.outbox:
            message = self.scheduler.outbox.popleft()
            if isinstance(message, Speech):
                assert not self.ends[message.request_id], "samples after the end"
                self.heard.setdefault(message.request_id, []).extend(message.samples.tolist())
            else:
                assert isinstance(message, Finished | Failed)
                self.ends[message.request_id] += 1
                if isinstance(message, Finished):
                    self.finished.add(message.request_id)

    def check(self) -> None:
        assert self.scheduler.slots_used <= MAX_SLOTS
        for name, marks in self.heard.items():
            assert marks == sorted(marks), f"{name} was spoken out of order"


events = st.one_of(
    st.tuples(
        st.just("submit"), st.integers(1, 9), st.booleans(), st.sampled_from([0.3, 5.0, 1e6]), st.booleans()
    ),
    st.tuples(st.just("abort"), st.integers(0, 30)),
    st.tuples(st.just("refuse")),
    st.tuples(st.just("step"), st.booleans()),
    st.tuples(st.just("step"), st.just(False)),
    st.tuples(st.just("wait"), st.floats(0, 2)),
)


@settings(max_examples=250, deadline=None)
@given(
    st.lists(events, max_size=60),
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.sampled_from([0.25, float("inf")]),
)
def test_the_rules_hold(script: list[tuple[object, ...]], lengths: list[int], join_s: float) -> None:
    machine = Machine(join_s)
    cycle = (length for _ in range(10_000) for length in lengths)
    for kind, *args in script:
        if kind == "submit":
            machine.submit(*args)  # type: ignore[arg-type]
        elif kind == "abort":
            name = f"r{args[0]}"
            machine.scheduler.abort(name, machine.now)
        elif kind == "refuse":
            machine.open_segments(cycle, refuse=True)
        elif kind == "wait":
            machine.now += float(str(args[0]))
        else:
            machine.scheduler.expire(machine.now)
            machine.open_segments(cycle, refuse=False)
            machine.step(bool(args[0]))
        machine.listen()
        machine.check()
    # Everything ends by itself, within a bounded number of steps: nothing starves and nothing leaks.
    for _ in range(sum(machine.expected.values()) * 8 + 2):
        machine.open_segments(cycle, refuse=False)
        if not machine.step(False):
            break
        machine.listen()
        machine.check()
    machine.close_states()
    machine.listen()
    assert machine.scheduler.slots_used == 0
    assert not machine.open
    assert machine.scheduler.waiting_segments == 0
    assert machine.scheduler.next_expiry_s() is None
    assert dict(machine.ends) == dict.fromkeys(machine.expected, 1), "each request ends exactly once"
    assert sum(machine.scheduler.outcomes.values()) == len(machine.expected)
    for name in machine.finished:
        assert machine.heard[name] == [float(i) for i in range(machine.expected[name]) for _ in range(2)]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 4))
def test_an_old_request_is_served_under_endless_newcomers(segments: int, newcomers: int) -> None:
    """A request without a listener ends although more listeners than slots keep coming."""
    machine = Machine(0.25)
    machine.submit(segments, False, 1e6, False)
    lengths = (8 for _ in range(1_000_000))
    for _ in range(1500 + 300 * segments):
        for _ in range(newcomers if len(machine.expected) - len(machine.ends) < 20 else 0):
            machine.submit(1, True, 1e6, False)
        machine.open_segments(lengths, refuse=False)
        machine.step(False)
        machine.listen()
        if machine.ends["r0"]:
            break
    assert "r0" in machine.finished
