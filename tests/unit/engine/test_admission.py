"""Admission: the two bounds, what gives room back, and the time named in a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.admission import Admission
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
    admission.admit("a", 1.0)
    admission.admit("b", 1.0)
    with pytest.raises(Overloaded, match="the limit is 2"):
        admission.admit("c", 1.0)
    admission.end("a")
    admission.admit("c", 1.0)


def test_promised_audio_is_bounded() -> None:
    admission, _ = make(max_requests=9, max_audio_s=100.0)
    for name in "abcd":
        admission.admit(name, 22.0)
    with pytest.raises(Overloaded, match="88 s of audio are under way, the limit is 100 s"):
        admission.admit("e", 20.0)
    admission.made("a", 10.0)
    admission.taken("a", 10.0)
    admission.admit("e", 20.0)


def test_no_promise_locks_the_others_out() -> None:
    admission, _ = make(max_requests=9, max_audio_s=100.0)
    admission.admit("a", 5000.0)
    assert admission.audio_s == 25.0
    for name in "bc":
        admission.admit(name, 30.0)
    admission.admit("d", 24.0)
    with pytest.raises(Overloaded):
        admission.admit("e", 2.0)
    admission.made("a", 70.0)
    assert admission.audio_s == 144.0, "what nobody reads counts in full"
    admission.taken("a", 69.0)
    admission.admit("e", 2.0)
    admission.close("a")
    for name in "bcde":
        admission.close(name)
    assert admission.audio_s == 0.0


def test_several_engines_each_bring_the_bounds_of_one() -> None:
    admission, _ = make(max_requests=2, max_audio_s=100.0)
    for name in "abcd":
        admission.admit(name, 80.0, engines=2)
    with pytest.raises(Overloaded, match="4 requests are under way, the limit is 4"):
        admission.admit("e", 1.0, engines=2)
    with pytest.raises(Overloaded, match="the limit is 2"):
        admission.admit("e", 1.0, engines=1)
    admission.admit("e", 75.0, engines=3)
    with pytest.raises(Overloaded, match="275 s of audio are under way, the limit is 300 s"):
        admission.admit("f", 26.0, engines=3)


def test_unread_audio_counts_after_the_end() -> None:
    admission, _ = make()
    admission.admit("a", 10.0)
    admission.made("a", 4.0)
    assert admission.audio_s == 10.0
    admission.end("a")
    assert (admission.requests, admission.audio_s) == (0, 4.0)
    admission.taken("a", 3.0)
    assert admission.audio_s == 1.0
    admission.close("a")
    admission.close("a")
    assert (admission.requests, admission.audio_s) == (0, 0.0)


def test_more_audio_than_promised_counts_as_it_is() -> None:
    admission, _ = make()
    admission.admit("a", 1.0)
    admission.made("a", 7.0)
    assert admission.audio_s == 7.0


def test_retry_after_follows_the_recent_rate() -> None:
    admission, clock = make(max_requests=9, max_audio_s=200.0)
    for name in "abcd":
        admission.admit(name, 49.0)
    for _ in range(4):
        clock.now += 1.0
        admission.made("a", 5.0)
    clock.now += 1.0
    with pytest.raises(Overloaded) as refusal:
        admission.admit("e", 44.0)
    # 20 s of audio were made in the 4 s since the first of it: 40 s more than fits take 8 s.
    assert refusal.value.retry_after_s == pytest.approx(8.0)
    clock.now += 60.0
    with pytest.raises(Overloaded) as refusal:
        admission.admit("e", 44.0)
    assert refusal.value.retry_after_s == pytest.approx(40.0), (
        "an engine that made nothing is taken at 1 s per s"
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["admit", "made", "taken", "end", "close"]))))
def test_nothing_is_left_when_all_are_closed(script: list[tuple[int, str]]) -> None:
    admission, _ = make(max_requests=4, max_audio_s=20.0)
    open_requests: set[str] = set()
    for number, event in script:
        name = str(number)
        if event == "admit" and name not in open_requests:
            if admission.requests == 4 or 0.0 < admission.audio_s > 20.0 - 5.0:
                with pytest.raises(Overloaded) as refusal:
                    admission.admit(name, 7.0)
                assert 1.0 <= refusal.value.retry_after_s <= 60.0
            else:
                admission.admit(name, 7.0)
                open_requests.add(name)
        elif name in open_requests and event == "end":
            admission.end(name)
        elif name in open_requests and event == "close":
            admission.close(name)
            open_requests.remove(name)
        elif name in open_requests and event == "made":
            admission.made(name, 1.0)
        elif name in open_requests and event == "taken":
            admission.taken(name, 0.5)
    for name in open_requests:
        admission.close(name)
        admission.close(name)
    assert admission.requests == 0
    assert admission.audio_s == pytest.approx(0.0)


def test_a_crowd_is_told_to_come_back_later_than_one_client() -> None:
    admission, clock = make(max_requests=1)
    admission.admit("a", 4.0)

    def refused_s() -> float:
        with pytest.raises(Overloaded) as refused:
            admission.admit("b", 1.0)
        return refused.value.retry_after_s

    assert refused_s() == pytest.approx(4.0), "a place is free after 4 s"
    assert [refused_s() for _ in range(4)] == pytest.approx([8.0, 12.0, 16.0, 20.0]), "and the next 4 s later"
    clock.now += 1.0
    assert refused_s() == pytest.approx(4.0), "those of a second ago are forgotten"
    assert max(refused_s() for _ in range(100)) == 60.0
