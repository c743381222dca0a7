"""Where a request is spoken: a pure function of the voice and of what every engine has to do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serving.cluster.placing import SLACK, ranks

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
    even = dict.fromkeys("abcd", 0)
    home = first("ann", even)
    assert all(first("ann", even | {home: load}) == home for load in range(SLACK + 1))
    assert first("ann", even | {home: SLACK + 1}) != home


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
