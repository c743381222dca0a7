"""The search against servers whose capacity is known: pure functions with noise, 200 seeds of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from bench.capacity.search import Estimate, Limits, Search

SEEDS = 200
STREAMS = Limits(first=8, lowest=1, highest=512, whole=True)
RATE = Limits(first=2.0, lowest=0.1, highest=200.0, whole=False)


def known(capacity: float, width: float, seed: int) -> Callable[[float], bool]:
    """A server that holds half of the probes at its capacity, and fewer above it."""
    rng = random.Random(seed)
    return lambda load: rng.random() < 1 / (1 + (load / capacity) ** (1 / width))


def searched(limits: Limits, holds: Callable[[float], bool]) -> Search:
    search = Search(limits)
    while (load := search.next()) is not None:
        assert len(search.answers) < limits.probes, "it does not end"
        assert limits.lowest <= load <= limits.highest
        search.add(load, holds(load))
    return search


def drawn(seed: int) -> tuple[Limits, float, float]:
    rng = random.Random(f"server {seed}")
    limits = rng.choice((STREAMS, RATE))
    return (
        limits,
        math.exp(rng.uniform(math.log(4 * limits.lowest), math.log(limits.highest / 4))),
        rng.choice((0.02, 0.05, 0.1, 0.2)),
    )


def covers(found: Estimate, capacity: float) -> bool:
    return (found.low or 0.0) <= capacity <= (math.inf if found.high is None else found.high)


@pytest.mark.slow
def test_the_interval_covers_the_truth_in_its_share_and_two_runs_agree() -> None:
    covered = agreed = 0
    probes = []
    for seed in range(SEEDS):
        limits, capacity, width = drawn(seed)
        one, two = (searched(limits, known(capacity, width, 10_000 * run + seed)) for run in (1, 2))
        covered += covers(one.estimate(), capacity)
        agreed += one.estimate().agrees(two.estimate())
        probes.append(len(one.answers))
    assert 0.91 * SEEDS <= covered <= 0.995 * SEEDS, covered
    assert agreed >= 0.97 * SEEDS, agreed
    assert max(probes) <= 24


@pytest.mark.parametrize("width", [0.02, 0.2])
def test_a_sharp_edge_is_found_more_closely_than_a_wide_one(width: float) -> None:
    spans = []
    for seed in range(40):
        found = searched(STREAMS, known(40.0, width, seed)).estimate()
        assert found.standing == "found"
        assert found.high is not None
        assert found.low is not None
        spans.append(found.high / found.low)
    middle = sorted(spans)[20]
    assert middle < 1.25 if width == 0.02 else 1.2 < middle < 2.2


def test_a_server_that_never_changes_its_mind_is_pinned_between_two_neighbours() -> None:
    for capacity in (1, 2, 3, 23, 100, 511):
        found = searched(STREAMS, lambda load, most=capacity: load <= most).estimate()  # type: ignore[misc]
        assert covers(found, capacity + 0.5), (capacity, found)


def test_a_server_without_capacity_and_one_without_limit() -> None:
    none = searched(STREAMS, lambda load: False)
    assert none.estimate() == Estimate(standing="none", high=1.0, probes=len(none.answers))
    assert [answer.load for answer in none.answers] == [8, 4, 2, 1, 1]
    beyond = searched(RATE, lambda load: True)
    assert beyond.estimate().standing == "beyond"
    assert beyond.estimate().low == 200.0
    assert [answer.load for answer in beyond.answers][-2:] == [200.0, 200.0]
    assert Search(RATE).estimate().standing == "unknown"
    assert not Search(RATE).estimate().agrees(beyond.estimate())


def test_one_unlucky_probe_far_below_the_edge_does_not_decide() -> None:
    answers = 0

    def holds(load: float) -> bool:
        nonlocal answers
        answers += 1
        return answers != 1 and load <= 60

    found = searched(STREAMS, holds).estimate()
    assert covers(found, 60.5), found
