"""What a run measures: its load points, its arms and how long it takes."""

from __future__ import annotations

import pytest

from bench.headline.run import QUICK, Options, load_points, scheduled_s
from bench.headline.standing import reference_of
from bench.machine import INSTRUCTION_SETS, machine


def test_every_run_holds_a_twin_and_a_reference() -> None:
    for options in (QUICK, Options()):
        assert {"granian", "twin", "reference"} <= set(options.arms)


def test_the_quick_run_is_planned_within_three_minutes() -> None:
    assert scheduled_s(QUICK) <= 180
    assert scheduled_s(Options()) > 600


def test_the_open_loop_has_requests_for_a_p95() -> None:
    from bench.headline.summary import LEAST_FOR_P95
    from bench.workload import arrivals

    for options in (QUICK, Options()):
        for rate in options.rates:
            due = sum(
                len(arrivals("poisson", rate, options.open_duration_s, 1 + 1000 * repeat))
                for repeat in range(options.repeats)
            )
            assert due >= LEAST_FOR_P95, (rate, due)


def test_long_texts_and_whole_answers_have_loads_of_their_own() -> None:
    points = load_points(QUICK)
    assert [point.clients for point in points if point.texts == "long"] == [4]
    assert [point.clients for point in points if point.texts == "short"] == [1, 4, 16]
    whole = [point.clients for point in load_points(Options()) if point.endpoint == "/tts"]
    assert whole == [1, 8, 1, 8]
    alone = load_points(Options(endpoints=("/tts",), clients=(2,), rates=()))
    assert [point.clients for point in alone] == [2, 2]


@pytest.mark.parametrize(
    ("arms", "reference"),
    [
        (["granian", "twin", "reference"], "reference"),
        (["granian", "reference", "piper"], "reference"),
        (["granian", "twin", "piper"], "piper"),
        (["granian", "twin"], "twin"),
        (["granian"], ""),
        ([], ""),
    ],
)
def test_whom_the_first_arm_is_compared_with(arms: list[str], reference: str) -> None:
    assert reference_of(arms) == reference


def test_the_machine_says_which_processor_it_has() -> None:
    told = machine()
    assert told["cpu"]
    assert set(told["instruction_sets"]) <= set(INSTRUCTION_SETS)
    assert isinstance(told["cpu_family"], int)
