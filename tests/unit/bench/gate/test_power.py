"""The gate's rule, played: on noise whose truth is known, and on noise recorded on a machine with a load of 14.

`python -m bench proof --record tests/unit/bench/gate/noise.json` records it anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.gate.measure import FULL, QUICK, Effort
from bench.gate.power import called_from, false_alarms, power, smallest_seen, without_effect
from bench.gate.proof.noise import Noise, markdown, noise_of, read_noise, simulate
from bench.gate.tasks import METRICS
from bench.gate.verdict import Round, estimate_slowdown, judge, middle, summarise, suspicious

RECORDED = Path(__file__).with_name("noise.json")
PLAYS = 300


def rounds_of(bias: float, count: int = 24, noise: float = 0.02, effect: float = 1.0) -> list[Round]:
    rng = np.random.default_rng(7)
    return [
        summarise([(1.0, effect * float(np.exp(rng.normal(shift, noise)))) for _ in range(16)], "lower", rng)
        for shift in rng.normal(0, bias, count)
    ]


def test_a_quiet_machine_sees_little_more_than_the_call_and_a_noisy_one_less() -> None:
    quiet, noisy = (called_from(rounds_of(bias), 8, 9, plays=PLAYS) for bias in (0.002, 0.03))
    assert 1.025 < smallest_seen(quiet) < 1.035
    assert smallest_seen(noisy) > 1.04
    assert power(quiet, 1.05) == 1.0
    assert power(quiet, 1.0) == 0.0


def test_a_play_agrees_with_the_gate_on_pairs_that_were_really_slowed() -> None:
    """Two measurements of slowed pairs, judged by the gate itself, against the power that plays foretell."""
    rng = np.random.default_rng(11)

    def measured(rounds: int, effect: float) -> list[list[tuple[float, float]]]:
        return [
            [(1.0, effect * float(np.exp(shift + rng.normal(0, 0.02)))) for _ in range(12)]
            for shift in rng.normal(0, 0.02, rounds)
        ]

    called = 0
    for _ in range(100):
        first, second = (estimate_slowdown(measured(count, 1.04), "lower") for count in (5, 6))
        called += suspicious(first) and judge(second) == "REGRESSED"
    pool = [summarise(pairs, "lower", rng) for pairs in measured(200, 1.0)]
    foretold = power(called_from(pool, 5, 6, plays=400), 1.04)
    assert called / 100 == pytest.approx(foretold, abs=0.15)
    assert 0.3 < foretold < 0.99


def test_the_noise_of_slowed_rounds_is_that_of_equal_ones() -> None:
    pool, slowed = (without_effect(rounds_of(0.01, effect=effect)) for effect in (1.0, 1.2))
    assert middle(np.array([one.centre for one in slowed])) == pytest.approx(0, abs=1e-9)
    assert [one.centre for one in slowed] == pytest.approx([one.centre for one in pool])


def test_an_alarm_of_any_metric_is_one_of_the_gate() -> None:
    least = {"a": np.array([0.1, -0.1, 0.1, 0.1]), "b": np.array([0.1, -0.1, -0.2, 0.1])}
    assert false_alarms(least) == 0.5


def test_a_round_is_cut_to_the_effort_s_length() -> None:
    noise = noise_of({"engine.stream_cpu": [[(1.0, 1.0)] * 6 + [(1.0, 2.0)] * 6] * 3}, "abc1234", 12.0)
    [short, *_] = noise.rounds({"engine.stream_cpu": "lower"}, 4.0)["engine.stream_cpu"]
    [whole, *_] = noise.rounds({"engine.stream_cpu": "lower"}, 12.0)["engine.stream_cpu"]
    assert short.centre == 0.0
    assert whole.centre == pytest.approx(np.log(2) / 2)


@pytest.fixture(scope="module")
def recorded() -> Noise:
    return read_noise(RECORDED)


@pytest.mark.parametrize(("effort", "least_power"), [(QUICK, 0.9), (FULL, 0.95)])
def test_on_recorded_noise_five_percent_of_cpu_time_is_seen_and_alarms_are_rare(
    recorded: Noise, effort: Effort, least_power: float
) -> None:
    least = simulate(recorded, effort, PLAYS)
    assert set(least) == {metric.name for metric in METRICS}
    for name in ("engine.stream_cpu", "engine.batch_cpu"):
        assert power(least[name], 1.05) >= least_power, name
    if effort is FULL:
        assert power(least["engine.batch_speed"], 1.05) >= 0.9
    assert false_alarms(least) <= 0.01


def test_the_table_names_every_metric_and_effort(recorded: Noise) -> None:
    text = markdown(recorded, plays=20)
    assert text.count("| engine.stream_cpu |") == 2
    assert "Full effort, 20 plays" in text
