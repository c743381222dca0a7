"""The statistics of the regression gate, on measurements whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.gate.verdict import Pair, Slowdown, estimate_slowdown, judge, judge_count, suspicious


def measured(
    slowdown: float, *, seed: int, rounds: int = 6, pairs: int = 16, noise: float = 0.03, bias: float = 0.01
) -> list[list[Pair]]:
    """Pairs as a noisy machine gives them: noise, a bias per process, bursts on either side."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(rounds):
        speed = np.exp(rng.normal(0, bias, 2)) * (1.0, slowdown)
        values = speed * np.exp(rng.normal(0, noise, (pairs, 2)))
        values *= np.where(rng.random((pairs, 2)) < 0.05, 2.0, 1.0)
        result.append([(float(base), float(head)) for base, head in values])
    return result


def verdicts(slowdown: float) -> list[str]:
    return [judge(estimate_slowdown(measured(slowdown, seed=seed), "lower")) for seed in range(50)]


def test_nothing_is_called_when_nothing_changed() -> None:
    found = verdicts(1.0)
    assert found.count("REGRESSED") == 0
    assert found.count("NO CHANGE") >= 45


def test_ten_percent_is_called() -> None:
    assert verdicts(1.10).count("REGRESSED") >= 45
    assert verdicts(1 / 1.10).count("IMPROVED") >= 45


def test_five_percent_is_called() -> None:
    assert verdicts(1.05).count("REGRESSED") >= 45
    assert verdicts(1 / 1.05).count("IMPROVED") >= 45


def test_a_change_below_the_threshold_is_rarely_called() -> None:
    assert verdicts(1.005).count("REGRESSED") <= 2
    assert verdicts(1 / 1.005).count("IMPROVED") <= 2


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        slowdown = estimate_slowdown(measured(1.02, seed=seed), "lower")
        covered += slowdown.low <= 1.02 <= slowdown.high
    assert covered >= 88  # not 95: few rounds make a bootstrap interval a little too narrow


def test_a_spoiled_round_neither_makes_a_suspect_nor_hides_one() -> None:
    quiet = [[(1.0, 1.05)] * 12 for _ in range(7)]
    for spoiled in (1.6, 0.6):
        found = estimate_slowdown([*quiet, [(1.0, spoiled)] * 12], "lower")
        assert found.ratio == pytest.approx(1.05)
        assert suspicious(found)
    even = [[(1.0, 1.0)] * 12 for _ in range(7)]
    assert not suspicious(estimate_slowdown([*even, [(1.0, 1.6)] * 12], "lower"))
    half = [[(1.0, 1.0)] * 12] * 4 + [[(1.0, 1.2)] * 12] * 4
    assert suspicious(estimate_slowdown(half, "lower"))


def test_a_metric_may_be_called_later_than_others() -> None:
    a_step = Slowdown(ratio=1.04, low=1.035, high=1.06)
    assert judge(a_step) == judge(Slowdown(ratio=1.06, low=1.05, high=1.07), 0.05) == "REGRESSED"
    assert judge(a_step, 0.05) == "INCONCLUSIVE"
    assert suspicious(a_step)
    assert not suspicious(a_step, 0.05)


def test_exact_pairs_give_an_exact_ratio() -> None:
    slowdown = estimate_slowdown([[(2.0, 3.0)] * 4] * 3, "lower")
    assert slowdown.low == pytest.approx(1.5)
    assert slowdown.ratio == pytest.approx(1.5)
    assert slowdown.high == pytest.approx(1.5)


def test_more_is_better_turns_the_ratio_round() -> None:
    rounds = [[(4.0, 2.0)] * 3] * 3
    assert estimate_slowdown(rounds, "higher").ratio == pytest.approx(2.0)
    assert judge(estimate_slowdown(rounds, "higher")) == "REGRESSED"
    assert judge(estimate_slowdown(rounds, "lower")) == "IMPROVED"


def test_the_same_seed_gives_the_same_interval() -> None:
    rounds = measured(1.03, seed=5)
    assert estimate_slowdown(rounds, "lower", seed=1) == estimate_slowdown(rounds, "lower", seed=1)
    assert estimate_slowdown(rounds, "lower", seed=1) != estimate_slowdown(rounds, "lower", seed=2)


def test_rounds_that_disagree_widen_the_interval() -> None:
    agree = estimate_slowdown([[(1.0, 1.1)] * 8] * 4, "lower")
    disagree = estimate_slowdown([[(1.0, value)] * 8 for value in (0.9, 1.0, 1.2, 1.35)], "lower")
    assert judge(agree) == "REGRESSED"
    assert judge(disagree) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("low", "ratio", "high", "verdict"),
    [
        (1.01, 1.06, 1.12, "REGRESSED"),
        (1.01, 1.03, 1.12, "REGRESSED"),
        (1.01, 1.02, 1.12, "INCONCLUSIVE"),
        (0.99, 1.06, 1.12, "INCONCLUSIVE"),
        (1.01, 1.02, 1.049, "NO CHANGE"),
        (0.94, 0.96, 0.99, "IMPROVED"),
        (0.96, 1.0, 1.049, "NO CHANGE"),
        (0.94, 0.97, 1.0, "INCONCLUSIVE"),
        (0.8, 0.9, 0.99, "IMPROVED"),
        (0.8, 0.9, 1.01, "INCONCLUSIVE"),
        (0.9, 1.0, 1.1, "INCONCLUSIVE"),
    ],
)
def test_the_rules(low: float, ratio: float, high: float, verdict: str) -> None:
    assert judge(Slowdown(ratio=ratio, low=low, high=high)) == verdict


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([[(1.0, 1.0)]], "1 rounds"),
        ([[(1.0, 1.0)], []], "without pairs"),
        ([[(1.0, 1.0)], [(0.0, 1.0)]], "not a positive number"),
        ([[(1.0, 1.0)], [(1.0, float("nan"))]], "not a positive number"),
    ],
)
def test_what_cannot_be_judged_is_an_error(rounds: list[list[Pair]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_slowdown(rounds, "lower")


def test_counts_are_compared_exactly() -> None:
    assert judge_count([7, 7], [7, 7]) == "NO CHANGE"
    assert judge_count([7, 7], [8, 8]) == "REGRESSED"
    assert judge_count([7, 7], [6, 6]) == "IMPROVED"
    assert judge_count([7, 7], [6, 6], "higher") == "REGRESSED"


def test_a_count_that_varies_by_itself_is_invalid() -> None:
    assert judge_count([7, 8], [7, 7]) == "INVALID"
    assert judge_count([7, 7], [6, 5]) == "INVALID"
    assert judge_count([], [7]) == "INVALID"


def test_a_count_that_varies_above_all_of_base_is_more() -> None:
    assert judge_count([7, 7], [8, 9]) == "REGRESSED"
    assert judge_count([7, 8], [6, 5], "higher") == "REGRESSED"
