"""The statistics, against truths that are planted: how often an interval holds it, and who is called a winner."""

from __future__ import annotations

import numpy as np
import pytest

from bench.headline.intervals import LEAST_REQUESTS, of_ratios, of_share, ratio
from bench.headline.standing import compare_arms, noise_floor
from bench.headline.summary import LEAST_FOR_P95, summarise
from bench.records import Run, Sample
from tests.unit.bench.headline.headline_support import cell, make_run, sample

RUNS = 50
TRUE_MEDIAN_S, SPREAD = 0.1, 0.3


def samples(rng: np.random.Generator, count: int, *, slower: float = 1.0) -> list[Sample]:
    """Streams whose TTFA is log-normal around TRUE_MEDIAN_S."""
    times = TRUE_MEDIAN_S * slower * np.exp(SPREAD * rng.standard_normal(count))
    return [sample(index, ttfa_s=float(time), gap_s=0.1 * slower) for index, time in enumerate(times)]


def run_of(seed: int, arms: dict[str, float], *, points: int = 6, count: int = 40) -> Run:
    """A run with these arms, each so many times slower; every arm has its own luck."""
    rng = np.random.default_rng(seed)
    run = make_run()
    run.noise_floor, run.cells = None, []
    for clients in range(1, points + 1):
        for arm, slower in arms.items():
            one = cell(arm, clients, ttfa_s=0.1)
            one.samples = samples(rng, count, slower=slower)
            run.cells.append(one)
    return run


@pytest.mark.slow
def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = tried = 0
    for seed in range(RUNS):
        for one in summarise(run_of(seed, {"server": 1.0})):
            assert one.ttfa_p50_s is not None
            assert one.ttfa_p50_s.low is not None
            assert one.ttfa_p50_s.high is not None
            assert one.ttfa_p50_s.low <= one.ttfa_p50_s.value <= one.ttfa_p50_s.high
            held += one.ttfa_p50_s.low <= TRUE_MEDIAN_S <= one.ttfa_p50_s.high
            tried += 1
    assert 0.91 <= held / tried <= 0.99


@pytest.mark.slow
def test_a_twin_that_differs_by_chance_alone_wins_and_loses_nothing() -> None:
    """In 95 % of the runs, over all load points of a run together."""
    clean = 0
    for seed in range(RUNS):
        run = run_of(seed, {"server": 1.0, "reference": 1.0, "granian": 1.0, "twin": 1.0}, points=4)
        run.noise_floor = noise_floor(run)
        assert run.noise_floor is not None
        found = compare_arms(run, summarise(run), "server", "reference")
        assert len(found) == 12
        clean += all(one.standing == "even" for one in found)
    assert clean >= 0.95 * RUNS


@pytest.mark.parametrize(("slower", "standing"), [(1.5, "wins"), (1 / 1.5, "loses")])
def test_a_difference_that_is_there_is_called(slower: float, standing: str) -> None:
    called: list[str] = []
    for seed in range(10):
        run = run_of(seed, {"server": 1.0, "reference": slower})
        found = compare_arms(run, summarise(run), "server", "reference")
        called += [one.standing for one in found if one.criterion.name == "TTFA p50"]
    assert called.count(standing) >= 0.9 * len(called)


def test_an_interval_is_the_same_each_time_it_is_made() -> None:
    one, two = (summarise(run_of(3, {"server": 1.0})) for _ in range(2))
    assert [s.ttfa_p50_s for s in one] == [s.ttfa_p50_s for s in two]


def test_neighbours_that_are_slow_together_widen_it() -> None:
    """Requests that wait in one queue are no independent witnesses."""
    rng = np.random.default_rng(5)
    run = make_run()
    widths = []
    for together in (False, True):
        times = 0.1 * np.exp(SPREAD * rng.standard_normal(200))
        ordered = (
            np.sort(times).reshape(20, 10)[rng.permutation(20)].ravel()
            if together
            else rng.permutation(times)
        )
        one = cell("server", 1, ttfa_s=0.1)
        one.samples = [sample(index, ttfa_s=float(time), gap_s=0.1) for index, time in enumerate(ordered)]
        run.cells = [one]
        [found] = summarise(run)
        assert found.ttfa_p50_s is not None
        widths.append((found.ttfa_p50_s.high or 0.0) - (found.ttfa_p50_s.low or 0.0))
    assert widths[1] > 1.3 * widths[0]


def test_a_survivor_does_not_win() -> None:
    """It refuses three of four listeners, and those whom it serves hear it twice as soon."""
    run = run_of(1, {"server": 0.5, "reference": 1.0}, points=1)
    for index, one in enumerate(run.cells[0].samples):
        if index % 4:
            one.error, one.status, one.events = "refused", 429, []
    found = {one.criterion.name: one for one in compare_arms(run, summarise(run), "server", "reference")}
    assert found["TTFA p50"].advantage is not None
    assert found["TTFA p50"].advantage.low > 1
    assert found["TTFA p50"].standing == "not ranked"
    assert found["TTFA p50"].why == "server served only the survivors: 30 refused of 40"
    assert found["TTFA p50"].server_failed == "30 refused of 40"
    others = {one.criterion.name: one for one in compare_arms(run, summarise(run), "reference", "server")}
    assert others["TTFA p50"].standing == "not ranked", "nor does the other one lose to it"


def test_the_slo_share_is_of_what_was_due() -> None:
    run = run_of(1, {"server": 0.5, "reference": 1.0}, points=1)
    for one in run.cells:
        one.mode, one.rate_rps, one.arrivals = "open", 4.0, "poisson"
    for index, sent in enumerate(run.cells[0].samples):
        if index % 4:
            sent.error, sent.status, sent.events = "refused", 429, []
    server, reference = summarise(run)
    assert server.slo_share is not None
    assert reference.slo_share is not None
    assert (server.slo_share.value, reference.slo_share.value) == (0.25, 1.0)
    found = {one.criterion.name: one for one in compare_arms(run, [server, reference], "server", "reference")}
    assert found["SLO share"].standing == "loses"


def test_a_p95_needs_enough_requests() -> None:
    for count, given in ((LEAST_FOR_P95 - 1, False), (LEAST_FOR_P95, True)):
        [found] = summarise(run_of(1, {"server": 1.0}, points=1, count=count))
        assert (found.ttfa_p95_s is not None) is given
        assert found.ttfa_p50_s is not None


def test_too_few_requests_rank_nothing() -> None:
    run = run_of(1, {"server": 0.2, "reference": 1.0}, points=1, count=LEAST_REQUESTS - 1)
    found = compare_arms(run, summarise(run), "server", "reference")
    assert {(one.standing, one.why) for one in found} == {("not ranked", "too few requests")}


def test_ratios_of_load_points() -> None:
    assert of_ratios([1.1, 1.2]) is None
    found = of_ratios([2.0, 2.0, 2.0, 2.0])
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((2.0, 2.0, 2.0))
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        one = of_ratios(list(np.exp(0.1 * rng.standard_normal(5))))
        assert one is not None
        held += one.low <= 1 <= one.high
    assert 0.92 <= held / 400 <= 0.98


def test_ratios_without_figures_are_none() -> None:
    [found] = summarise(run_of(1, {"server": 1.0}, points=1, count=3))
    assert found.ttfa_p50_s is not None
    assert found.ttfa_p50_s.low is None
    assert ratio(found.ttfa_p50_s, found.ttfa_p50_s) is None


def test_who_begins_before_he_can_go_on_wins_no_first_sound() -> None:
    """Its first chunk comes at once, and then each stream stops for a second."""
    run = run_of(1, {"server": 0.5, "reference": 1.0}, points=1)
    for one in run.cells[0].samples:
        one.events = [
            (time + (1.5 if number else 0.0), size) for number, (time, size) in enumerate(one.events)
        ]
    found = {one.criterion.name: one for one in compare_arms(run, summarise(run), "server", "reference")}
    assert found["TTFA p50"].advantage is not None
    assert found["TTFA p50"].advantage.low > 1
    assert found["TTFA p50"].standing == "not ranked"
    assert found["TTFA p50"].why == "server starts sooner and then stalls, 100% of its streams"


def test_a_share_has_an_interval_even_where_nothing_failed() -> None:
    none = of_share(0.0, 40)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.088, abs=0.001)
    half = of_share(0.5, 1000)
    assert (half.low or 0.0) < 0.5 < (half.high or 0.0) < 0.54
    assert of_share(1.0, 3).high is None
