"""Admission: the two bounds, what gives room back, and the time named in a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.admission import Admission, Ticket
from serving.profile import AdmissionProfile
from serving.protocol import Overloaded


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(max_requests: int = 2, max_audio_s: float = 100.0) -> tuple[Admission, Clock]:
    clock = Clock()
    return Admission(AdmissionProfile(max_requests=max_requests, max_audio_s=max_audio_s), clock), clock


def test_requests_are_bounded_until_one_ends() -> None:
    admission, _ = make(max_requests=2)
    first = admission.admit(1.0)
    admission.admit(1.0)
    with pytest.raises(Overloaded, match="the limit is 2"):
        admission.admit(1.0)
    first.end()
    admission.admit(1.0)


def test_promised_audio_is_bounded() -> None:
    admission, _ = make(max_requests=9, max_audio_s=100.0)
    first = admission.admit(80.0)
    with pytest.raises(Overloaded, match="80 s of audio are under way, the limit is 100 s"):
        admission.admit(30.0)
    first.made(20.0)
    first.taken(20.0)
    admission.admit(30.0)


def test_a_request_over_the_whole_bound_may_run_alone() -> None:
    admission, _ = make(max_audio_s=100.0)
    alone = admission.admit(500.0)
    with pytest.raises(Overloaded):
        admission.admit(1.0)
    alone.close()
    admission.admit(1.0)


def test_unread_audio_counts_after_the_end() -> None:
    admission, _ = make()
    ticket = admission.admit(10.0)
    ticket.made(4.0)
    assert admission.audio_s == 10.0
    ticket.end()
    assert (admission.requests, admission.audio_s) == (0, 4.0)
    ticket.taken(3.0)
    assert admission.audio_s == 1.0
    ticket.close()
    ticket.close()
    assert (admission.requests, admission.audio_s) == (0, 0.0)


def test_more_audio_than_promised_counts_as_it_is() -> None:
    admission, _ = make()
    ticket = admission.admit(1.0)
    ticket.made(7.0)
    assert admission.audio_s == 7.0


def test_retry_after_follows_the_recent_rate() -> None:
    admission, clock = make(max_audio_s=100.0)
    ticket = admission.admit(90.0)
    for _ in range(4):
        clock.now += 1.0
        ticket.made(5.0)
    clock.now += 1.0
    with pytest.raises(Overloaded) as refusal:
        admission.admit(50.0)
    # 20 s of audio were made in the 4 s since the first of it: 40 s more than fits take 8 s.
    assert refusal.value.retry_after_s == pytest.approx(8.0)
    clock.now += 60.0
    with pytest.raises(Overloaded) as refusal:
        admission.admit(50.0)
    assert refusal.value.retry_after_s == pytest.approx(40.0), (
        "an engine that made nothing is taken at 1 s per s"
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["admit", "made", "taken", "end", "close"]))))
def test_nothing_is_left_when_all_are_closed(script: list[tuple[int, str]]) -> None:
    admission, _ = make(max_requests=4, max_audio_s=20.0)
    tickets: dict[int, Ticket] = {}
    for number, event in script:
        if event == "admit" and number not in tickets:
            if admission.requests == 4 or 0.0 < admission.audio_s > 20.0 - 7.0:
                with pytest.raises(Overloaded) as refusal:
                    admission.admit(7.0)
                assert 1.0 <= refusal.value.retry_after_s <= 60.0
            else:
                tickets[number] = admission.admit(7.0)
        elif number in tickets and event == "end":
            tickets[number].end()
        elif number in tickets and event == "close":
            tickets.pop(number).close()
        elif number in tickets and event == "made":
            tickets[number].made(1.0)
    for ticket in tickets.values():
        ticket.close()
    assert admission.requests == 0
    assert admission.audio_s == pytest.approx(0.0)
