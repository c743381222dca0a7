"""The proof's tallies, its plan, and how it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.proof import command
from bench.gate.proof.command import MUST_SEE, Proof, Trial, markdown, prove, read_plan, resume
from bench.gate.report import Finding
from bench.gate.side import Tree
from bench.gate.verdict import Slowdown, Verdict
from bench.records import write_json


def finding(verdict: Verdict, ratio: float = 1.0, metric: str = MUST_SEE) -> Finding:
    return Finding(
        metric=metric,
        verdict=verdict,
        slowdown=Slowdown(ratio=ratio, low=ratio, high=ratio),
        pairs=[[(1.0, 0.99), (1.0, 1.0), (1.0, 1.01)]] * 5,
    )


def trial(planted: float, *findings: Finding) -> Trial:
    return Trial(planted=planted, took_s=1.0, findings=list(findings))


def proof(*trials: Trial) -> Proof:
    return Proof(
        head="abc1234", effort="quick", profile="default", overrides=[], machine={}, trials=list(trials)
    )


def tallies(alarms: int, missed_five: int, missed_ten: int) -> Proof:
    return proof(
        *(trial(0.0, finding("REGRESSED" if number < alarms else "NO CHANGE")) for number in range(20)),
        *(
            trial(0.05, finding("INCONCLUSIVE" if number < missed_five else "REGRESSED"))
            for number in range(10)
        ),
        *(
            trial(0.1, finding("INCONCLUSIVE" if number < missed_ten else "REGRESSED"))
            for number in range(10)
        ),
    )


@pytest.mark.parametrize(
    ("counts", "holds"),
    [((0, 0, 0), True), ((2, 1, 0), True), ((3, 0, 0), False), ((0, 2, 0), False), ((0, 0, 1), False)],
)
def test_the_rule(counts: tuple[int, int, int], holds: bool) -> None:
    assert tallies(*counts).holds() is holds


def test_a_call_of_what_was_not_slowed_is_a_false_alarm() -> None:
    one = trial(0.05, finding("REGRESSED"), finding("REGRESSED", metric="micro.encode"))
    assert one.called == [MUST_SEE, "micro.encode"]
    assert one.false == ["micro.encode"]
    assert "| 5.0% | 1 | 1 | 1 micro.encode | 1 |" in markdown(proof(one))


def test_the_report_holds_what_was_planted_seen_and_foretold() -> None:
    text = markdown(tallies(1, 1, 0))
    assert "| 0.0% | 20 | 1 | 1 engine.stream_cpu | 1 |" in text
    assert "| engine.stream_cpu | 5.0% | 10 | 9 | 1.00 | 1.000 to 1.000, median 1.000 |" in text
    assert "false alarms of the whole gate 0.00%" in text
    assert "The rule holds" in text


def test_the_plan_is_read() -> None:
    assert read_plan(["0:20", "2.5:3"]) == [(0.0, 20), (0.025, 3)]


@pytest.mark.parametrize("word", ["5", "5:x", "5:1:2", "200:1", "-1:3", "5:-1"])
def test_a_wrong_plan_is_an_error(word: str) -> None:
    with pytest.raises(ValueError, match="--plan: "):
        read_plan([word])


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks in its third trial keeps two; the next call runs only what is missing."""
    ran: list[float] = []

    def run(base: object, head: Tree, **_: object) -> list[Finding]:
        if len(ran) == 2:
            ran.append(-1.0)
            raise KeyboardInterrupt
        ran.append(head.planted)
        return [finding("NO CHANGE")]

    monkeypatch.setattr(command, "compare", run)
    plan = [(0.0, 2), (0.05, 1)]
    with pytest.raises(KeyboardInterrupt):
        prove(proof(), plan, tmp_path, [MUST_SEE], tmp_path)
    stored = resume(tmp_path / "proof.json", proof())
    assert [one.planted for one in stored.trials] == [0.0, 0.05]
    prove(stored, plan, tmp_path, [MUST_SEE], tmp_path)
    assert ran == [0.0, 0.05, -1.0, 0.0]
    assert len(resume(tmp_path / "proof.json", proof()).trials) == 3


def test_trials_of_another_commit_are_not_mixed_in(tmp_path: Path) -> None:
    other = proof(trial(0.0, finding("NO CHANGE")))
    other.head = "fedcba9"
    write_json(other, tmp_path / "proof.json")
    with pytest.raises(ValueError, match="holds trials with head fedcba9, not abc1234"):
        resume(tmp_path / "proof.json", proof())
