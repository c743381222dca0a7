"""Which segments run next, in plain Python: no torch, no sockets, and the clock is passed in.

A request holds segments in order. A segment takes a slot, is stepped through its model's stages and gives the
slot back; samples leave the request in order, whatever order the segments were computed in.

Every segment in a slot has a due time. With a listener it is when the playback buffer empties; without, it is the
arrival plus a slack, so that such a request fills batches while it is young and is served first when it is old. The
most urgent segment picks the stage of the next step; others that want the same stage join it in due order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from serving.engine.policy import (
    AHEAD_S,
    FOLLOWER_SLACK_S,
    PATIENCE_S,
    URGENT_S,
    Waiting,
    admitted,
    after_lead,
    choose_step,
    is_pressing,
    opens_next,
    speaks_now,
)
from serving.engine.requests import Part, Plan, Request, Speech, StageLimits
from serving.protocol import (
    Extend,
    Failed,
    FailureCode,
    Finished,
    RequestStats,
    Segment,
    Submit,
    Times,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.models.base import SegmentState

OFFLINE_SLACK_S = 5.0
"""A request without a listener is as urgent as one whose playback buffer empties this long after its arrival."""
NEWCOMER_S = 0.08
"""On CUDA a request without sound yet is as urgent as a listener whose buffer empties this long after its arrival."""
FIRST_SPEAKING_S = 0.1
"""From an offer taken to its sound, until some were measured."""


class Scheduler:
    """Requests, slots and the choice of steps. The caller runs the steps and takes `outbox` and `closing`."""

    def __init__(
        self,
        stages: Mapping[str, StageLimits],
        *,
        max_slots: int,
        sample_rate_hz: int,
        join_s: float = float("inf"),
        max_hungry: int | None = None,
        window_s: float = 0.0,
        first_s: float = 0.0,
    ) -> None:
        """`join_s`: a step for a listener whose buffer is about to empty takes only rows due within join_s of it.

        Infinite where a wider batch costs no time (CUDA), short where a step's time grows with its units. `window_s`
        and `first_s` are StreamingProfile.window_s and first_chunk_s.

        `max_hungry`: of so many listeners with less than URGENT_S in hand no newcomer becomes one more.
        """
        self._stages = stages
        self._rate_hz = sample_rate_hz
        self._join_s = join_s
        self._window_s, self._first_s = window_s, first_s
        self._ahead_s = AHEAD_S if window_s else 0.0
        self._free = list(range(max_slots))[::-1]
        self._reserve = max_slots // 4
        self._max_hungry = max_hungry
        self._newcomer_s = NEWCOMER_S if join_s == float("inf") else 0.0
        self._speaking_s = FIRST_SPEAKING_S
        self._requests: dict[str, Request] = {}
        self.max_slots = max_slots
        self.outcomes: Counter[str] = Counter(finished=0, aborted=0, failed=0, expired=0)
        self.outbox: deque[Speech | Times | Finished | Failed] = deque()
        """What to tell the client, in order."""
        self.closing: deque[SegmentState] = deque()
        """States to close before a slot is given out again: their slots are free."""

    # ---- requests ------------------------------------------------------------------------------------------

    def submit(self, message: Submit, now: float) -> None:
        """Take in a request. Raises ValueError if its id is in flight already."""
        if message.request_id in self._requests:
            raise ValueError(f"request {message.request_id} is in flight already")
        request = Request(
            message.request_id,
            message.params,
            message.streaming,
            message.params.timestamps != "none",
            now,
            expires_s=now + message.timeout_s,
        )
        self._requests[message.request_id] = request
        self._append(request, message.segments, message.last, now)

    def extend(self, message: Extend, now: float) -> None:
        """Take in more segments; a request that has ended is ignored."""
        request = self._requests.get(message.request_id)
        if request is not None:
            self._append(request, message.segments, message.last, now)

    def abort(self, request_id: str, now: float) -> None:
        """End a request whose client is gone; one that has ended is ignored."""
        request = self._requests.get(request_id)
        if request is not None:
            self._fail(request, "aborted", "the client went away", now)

    def fail(self, part: Part, message: str, now: float, field: str | None = None) -> None:
        """End the request of a segment that cannot be spoken, because of this request field if one is named."""
        if not part.request.over:
            self._fail(part.request, "internal" if field is None else "invalid_field", message, now, field)

    def expire(self, now: float) -> None:
        """End every request that is past its time, whether it waits or runs."""
        for request in [r for r in self._requests.values() if r.expires_s <= now]:
            limit_s = request.expires_s - request.arrived_s
            self._fail(request, "expired", f"not finished within {limit_s:g} s", now)

    def next_expiry_s(self) -> float | None:
        """When the next request expires; None without requests."""
        return min((request.expires_s for request in self._requests.values()), default=None)

    @property
    def slots_used(self) -> int:
        return self.max_slots - len(self._free)

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    @property
    def waiting_segments(self) -> int:
        return sum(len(request.waiting) for request in self._requests.values())

    # ---- slots ---------------------------------------------------------------------------------------------

    def open_next(self, now: float) -> Part | None:
        """Give a free slot to the waiting segment that should have it; the caller opens its state.

        A request without a slot comes before one that has some, so that a hundred segments of one do not keep
        out the others; a quarter of the slots is kept for such requests. A listener's request has one segment
        in flight until its first samples leave, then the current and the next. Who has one already is not made to
        run dry for a newcomer: see `max_hungry`.
        """
        due = [(self._buffer_empty_s(request), request) for request in self._requests.values()]
        may = len(self._free) > 0, len(self._free) > self._reserve
        chosen = opens_next(due, now, free=may, max_hungry=self._max_hungry)
        if chosen is None:
            return None
        urgent = chosen.streaming and self._buffer_empty_s(chosen) - now < URGENT_S
        part = Part(chosen, chosen.waiting.popleft(), self._free.pop(), urgent)
        chosen.parts.append(part)
        chosen.slots += 1
        return part

    # ---- steps ---------------------------------------------------------------------------------------------

    def plan(
        self,
        now: float,
        after: Sequence[Plan] = (),
        workers: int = 1,
        stages: Collection[str] | None = None,
        beside: bool = False,
        *,
        pressing: bool = False,
    ) -> Plan | None:
        """Choose the next step of some stages (None: of all), or None if there is nothing to run.

        `workers` of them are idle: the step takes no more than its share of the rows that could join it. `after`: steps
        of these stages that were launched and are not complete. The answer may then be of another stage, or of the last
        one's if that allows lookahead, with its segments again. `beside`: other stages have the device already.
        `pressing`: there is nothing to run but what is pressing.
        """
        last = after[-1] if after else None
        again = {id(part) for part in last.parts} if last and self._stages[last.stage].lookahead else set()
        ready: list[Waiting] = []
        for request in list(self._requests.values()):
            buffer_empty_s = self._buffer_empty_s(request)
            for behind, part in enumerate(request.parts):
                state = part.state
                if state is None or state.stage is None or part.ended or part.in_steps > 1:
                    continue
                due_s = buffer_empty_s + FOLLOWER_SLACK_S * behind + part.held_samples / self._rate_hz
                if pressing and not is_pressing(due_s, now):
                    continue
                in_hand_s = None if request.first_chunk_s is None else due_s - now
                takes = state.offer_s and speaks_now(in_hand_s, self._speaking_s)
                if takes and (wrong := part.take_offer(now, self._stages)) is not None:
                    self.fail(part, wrong, now)
                    break
                if part.in_steps and (last is None or id(part) not in again or state.stage != last.stage):
                    continue
                if in_hand_s is not None and part.spoke_s is None:
                    due_s -= self._ahead_s
                if stages is None or state.stage in stages:
                    ready.append(Waiting(due_s, part))
        ready = [
            waiting for waiting in ready if not waiting.part.ended
        ]  # a mistake of the model fails a request
        ready.sort(key=lambda waiting: waiting.due_s)
        allowed: Sequence[Waiting] = ready
        if self._window_s:
            dry_s, window_s = self._listening_s(), self._window_s
            allowed = admitted(ready, dry_s, now, window_s=window_s, first_s=self._first_s, beside=beside)
        if not allowed or (beside and self._window_s and allowed[0].due_s > now + PATIENCE_S):
            return None
        busy = {one.stage for one in after} if self._window_s else None
        plan = choose_step(allowed, self._stages, now, self._join_s, workers, busy)
        if any(plan.stage == one.stage for one in after) and not self._stages[plan.stage].lookahead:
            return None
        for part in plan.parts:
            part.in_steps += 1
            part.request.steps[plan.stage] += 1
            part.request.stages.setdefault(plan.stage, (now, now))
            if part.request.first_step_s is None:
                part.request.first_step_s = now
        return plan

    def complete(self, plan: Plan, samples: Sequence[NDArray[np.float32] | None], now: float) -> None:
        """A step has run and its states have moved on. `samples` are what each made; [] if the step failed."""
        for row, part in enumerate(plan.parts):
            part.in_steps -= 1
            state = part.state
            assert state is not None
            if not part.ended:
                made = samples[row] if samples else None
                if made is not None and len(made):
                    if part.spoke_s is not None:
                        self._speaking_s += (now - part.spoke_s - self._speaking_s) / 8
                        part.spoke_s = None
                    if not part.begun:
                        part.begun = True
                        made = after_lead(made, part.segment.lead_s, self._rate_hz)
                    part.held.append(made)
                    part.held_samples += len(made)
                part.ended = state.stage is None
            if part.ended and not part.in_steps:
                self._release(part)
        for request in {id(part.request): part.request for part in plan.parts}.values():
            request.stages[plan.stage] = (request.stages[plan.stage][0], now)
            self._deliver(request, now)

    # ---- inside --------------------------------------------------------------------------------------------

    def _listening_s(self) -> list[float]:
        """When those run dry who have heard something and for whom there is more to make."""
        return [
            self._buffer_empty_s(request)
            for request in self._requests.values()
            if request.first_chunk_s is not None and any(not part.ended for part in request.parts)
        ]

    def _buffer_empty_s(self, request: Request) -> float:
        """When the listener's playback buffer empties; without a listener, the moment that counts as that."""
        if not request.streaming:
            return request.arrived_s + OFFLINE_SLACK_S
        if request.first_chunk_s is None:
            return request.arrived_s + self._newcomer_s
        return request.first_chunk_s + request.samples / self._rate_hz

    def _append(self, request: Request, segments: Sequence[Segment], last: bool, now: float) -> None:
        for segment in segments:
            if segment.index != request.next_index or request.last:
                self._fail(request, "internal", f"segment {segment.index} is out of order", now)
                return
            request.waiting.append(segment)
            request.next_index += 1
        request.last = request.last or last
        self._deliver(request, now)

    def _deliver(self, request: Request, now: float) -> None:
        """Let the samples out that are in order, and end the request after its last."""
        while request.parts and not request.over:
            head = request.parts[0]
            if request.timed and (times := request.times(self._rate_hz)):
                self.outbox.append(times)
            for samples in head.held:
                if request.first_chunk_s is None:
                    request.first_chunk_s = now
                request.samples += len(samples)
                head.sent_samples += len(samples)
                request.chunks += 1
                self.outbox.append(Speech(request.request_id, samples))
            head.held.clear()
            head.held_samples = 0
            if not head.ended:
                return
            request.parts.popleft()
        if request.last and not request.waiting and not request.over:
            self.outcomes["finished"] += 1
            self._forget(request)
            self.outbox.append(Finished(request_id=request.request_id, stats=self._stats(request, now)))

    def _fail(
        self, request: Request, code: FailureCode, message: str, now: float, field: str | None = None
    ) -> None:
        self.outcomes[code if code in self.outcomes else "failed"] += 1
        self._forget(request)
        for part in request.parts:
            # Idle parts free their slots now, running ones when their step completes.
            if not part.ended:
                part.ended = True
                if not part.in_steps:
                    self._release(part)
        self.outbox.append(Failed(request_id=request.request_id, code=code, message=message, field=field))

    def _forget(self, request: Request) -> None:
        request.over = True
        del self._requests[request.request_id]

    def _release(self, part: Part) -> None:
        part.request.slots -= 1
        self._free.append(part.slot)
        if part.state is not None:
            self.closing.append(part.state)

    def _stats(self, request: Request, now: float) -> RequestStats:
        def since_arrival(moment_s: float | None) -> float:
            return (now if moment_s is None else moment_s) - request.arrived_s

        return RequestStats(
            queue_s=since_arrival(request.first_step_s),
            first_chunk_s=since_arrival(request.first_chunk_s),
            total_s=now - request.arrived_s,
            audio_s=request.samples / self._rate_hz,
            chunks=request.chunks,
            steps=dict(request.steps),
            stages={
                name: (since_arrival(first_s), since_arrival(last_s))
                for name, (first_s, last_s) in request.stages.items()
            },
        )
