"""The slope of a soak and its interval."""

from __future__ import annotations

import random

import pytest

from bench.faults.soak import slope_per_hour


def points(slope_per_h: float, noise: float, seed: int, hours: float = 0.5) -> list[tuple[float, float]]:
    rng = random.Random(seed)
    return [
        (at, 700 + slope_per_h * at / 3600 + rng.gauss(0, noise)) for at in range(0, int(hours * 3600), 9)
    ]


def test_a_line_without_noise_is_told_exactly() -> None:
    slope, margin = slope_per_hour(points(12.0, 0.0, 1))
    assert slope == pytest.approx(12.0)
    assert margin == pytest.approx(0.0, abs=1e-6)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        slope, margin = slope_per_hour(points(5.0, 20.0, seed))
        held += abs(slope - 5.0) <= margin
    assert 180 <= held <= 199, "95 of 100"


def test_few_points_make_no_slope() -> None:
    with pytest.raises(ValueError, match="three points"):
        slope_per_hour([(0.0, 1.0), (1.0, 2.0)])
