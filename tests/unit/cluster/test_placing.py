"""Where a request is spoken: a pure function of the voice and of what every engine has to do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serving.cluster.placing import SLACK, UnderWay, ranks

LOADS = st.dictionaries(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 50), min_size=1, max_size=8)


def first(voice: str, loads: dict[str, int]) -> str:
    return ranks(voice, loads)[0][0]


def test_no_engines_no_ranks() -> None:
    assert ranks("low", {}) == []


@given(st.text(), LOADS)
def test_every_engine_is_tried_once(voice: str, loads: dict[str, int]) -> None:
    named = [name for rank in ranks(voice, loads) for name in rank]
    assert sorted(named) == sorted(loads)


@given(st.text(), LOADS)
def test_the_first_is_never_much_busier_than_the_least_loaded(voice: str, loads: dict[str, int]) -> None:
    assert loads[first(voice, loads)] <= min(loads.values()) + SLACK


@given(st.text(), LOADS)
def test_after_it_the_least_loaded_come_first(voice: str, loads: dict[str, int]) -> None:
    rest = [loads[rank[0]] for rank in ranks(voice, loads)[1:]]
    assert rest == sorted(rest)


def test_a_voice_stays_where_it_is_while_the_load_is_even() -> None:
    even = dict.fromkeys("abcd", 1)
    home = first("ann", even)
    assert first("ann", dict.fromkeys("abcd", 0)) == home
    assert all(first("ann", even | {home: load}) == home for load in range(1, SLACK + 2))
    assert first("ann", even | {home: SLACK + 2}) != home


@given(st.text(), LOADS)
def test_nobody_waits_for_a_home_while_an_engine_does_nothing(voice: str, loads: dict[str, int]) -> None:
    if not min(loads.values()):
        assert loads[first(voice, loads)] == 0


@given(st.integers(2, 12), st.lists(st.integers(0, 11), max_size=60))
def test_few_clients_with_one_voice_keep_two_engines_busy(clients: int, ends: list[int]) -> None:
    """A closed loop: whichever request ends, its client asks for the next, and both engines have one of them."""
    under_way = UnderWay()
    for client in range(clients):
        under_way.chosen(str(client), first("ann", under_way.loads({"a": 0, "b": 0})))
    for end in ends:
        under_way.ended(str(end % clients))
        under_way.chosen(str(end % clients), first("ann", under_way.loads({"a": 0, "b": 0})))
        assert min(under_way.loads({"a": 0, "b": 0}).values()) > 0


def test_a_request_counts_from_the_choice_until_it_has_ended() -> None:
    under_way = UnderWay()
    under_way.chosen("1", "a")
    assert under_way.loads({"a": 0, "b": 0}) == {"a": 1, "b": 0}
    under_way.taken("1", "b")
    assert under_way.loads({"a": 0, "b": 0}) == {"a": 0, "b": 1}
    under_way.ended("1")
    under_way.taken("1", "b")
    under_way.ended("1")
    assert under_way.loads({"a": 0, "b": 0}) == {"a": 0, "b": 0}


def test_what_an_engine_told_of_others_counts_unless_we_have_more_there() -> None:
    under_way = UnderWay()
    for request in "123":
        under_way.chosen(request, "a")
    assert under_way.loads({"a": 0, "b": 2}) == {"a": 3, "b": 2}
    assert under_way.loads({"a": 5, "b": 2}) == {"a": 5, "b": 2}
    assert under_way.loads({"b": 2}) == {"b": 2}


def test_voices_are_spread_over_the_engines() -> None:
    homes = Counter(first(f"voice {number}", dict.fromkeys("abcd", 3)) for number in range(400))
    assert set(homes) == set("abcd")
    assert min(homes.values()) > 60


def test_an_engine_that_goes_moves_its_own_voices_and_no_other() -> None:
    before, after = dict.fromkeys("abcd", 0), dict.fromkeys("abd", 0)
    for number in range(100):
        home = first(f"voice {number}", before)
        if home != "c":
            assert first(f"voice {number}", after) == home


def test_a_burst_is_shared_out_evenly() -> None:
    loads = dict.fromkeys("abc", 0)
    for _ in range(30):
        loads[first("ann", loads)] += 1
    assert max(loads.values()) - min(loads.values()) <= SLACK + 1
