"""The tallies of the gate's proof."""

from __future__ import annotations

import pytest

from bench.gate.proof import SUSPECT, Proof, Trial, estimate_spread, markdown
from bench.gate.report import Finding
from bench.gate.verdict import Slowdown, Verdict


def trial(planted: float, verdict: Verdict, ratio: float = 1.0) -> Trial:
    slowdown = Slowdown(ratio=ratio, low=ratio, high=ratio)
    return Trial(
        planted=planted, took_s=1.0, findings=[Finding(metric=SUSPECT, verdict=verdict, slowdown=slowdown)]
    )


def proof(alarms: int, missed_ten: int, missed_twenty: int) -> Proof:
    return Proof(
        head="abc1234",
        machine={"cpu": "Test CPU"},
        trials=[
            *(trial(0.0, "REGRESSED" if number < alarms else "NO CHANGE") for number in range(20)),
            *(trial(0.1, "INCONCLUSIVE" if number < missed_ten else "REGRESSED") for number in range(10)),
            *(trial(0.2, "INCONCLUSIVE" if number < missed_twenty else "REGRESSED") for number in range(10)),
        ],
    )


@pytest.mark.parametrize(
    ("tallies", "holds"),
    [
        ((0, 0, 0), True),
        ((1, 1, 0), True),
        ((2, 0, 0), False),
        ((0, 2, 0), False),
        ((0, 0, 1), False),
    ],
)
def test_the_rule(tallies: tuple[int, int, int], holds: bool) -> None:
    assert proof(*tallies).holds() is holds


def test_the_report_holds_the_tallies() -> None:
    text = markdown(proof(1, 1, 0))
    assert "| 0% | 20 | 1 | NO CHANGE 19, REGRESSED 1 |" in text
    assert "| 10% | 10 | 9 | INCONCLUSIVE 1, REGRESSED 9 |" in text
    assert "| 20% | 10 | 10 | REGRESSED 10 |" in text
    assert "The rule holds" in text


def test_the_spread_is_what_nine_of_ten_stay_within() -> None:
    trials = [trial(0.0, "NO CHANGE", 1 + number / 100) for number in range(11)]
    assert estimate_spread(trials) == {SUSPECT: pytest.approx(0.09)}
