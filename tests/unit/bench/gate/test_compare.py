"""What the gate does with what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from bench.gate.accepted import ACCEPTED, Acceptance, apply_acceptances, read_acceptances
from bench.gate.compare import add_arguments, judge_all, main
from bench.gate.measure import Measurements
from bench.gate.report import Finding, GateRun, markdown
from bench.gate.side import SideFailed
from bench.gate.tasks import COUNTS, METRICS
from bench.gate.verdict import Slowdown
from bench.gate.worktree import NoBase

SPEED = "engine.stream_cpu"
RATE = "http.throughput_1"
BASE = "0123abc" + "0" * 33


def measurements(name: str, slowdown: float) -> Measurements:
    return Measurements(pairs={name: [[(1.0, slowdown)] * 5] * 4})


def regression(ratio: float = 1.1) -> Finding:
    return Finding(metric=SPEED, verdict="REGRESSED", slowdown=Slowdown(ratio=ratio, low=ratio, high=ratio))


def entry(**fields: object) -> Acceptance:
    return Acceptance(**{"metric": SPEED, "up_to_ratio": 1.12, "base": BASE[:7], "reason": "meant", **fields})  # type: ignore[arg-type]


def test_every_metric_gets_its_verdict() -> None:
    [slower] = judge_all(measurements(SPEED, 1.2), [SPEED])
    [faster] = judge_all(measurements(RATE, 1.2), [RATE])
    assert (slower.verdict, faster.verdict) == ("REGRESSED", "IMPROVED")
    assert slower.base == 1.0
    assert slower.head == 1.2


def failed(side: str, *, layout: bool = False) -> Measurements:
    """The probe of one side failed; HTTP was measured and is no slower."""
    return Measurements(
        pairs=measurements(RATE, 1.0).pairs, failures={"probe": SideFailed(side, "it died", layout=layout)}
    )


def gate_run(findings: list[Finding], **fields: object) -> GateRun:
    return GateRun(
        **{  # type: ignore[arg-type]
            "base": BASE, "head": "abc1234", "profile": "default", "overrides": [], "effort": "quick",
            "findings": findings, **fields,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "exit_code", "words"),
    [
        (failed("head"), 1, "FAILED: engine.stream_cpu, counts"),
        (failed("base"), 3, "COULD NOT COMPARE: base cannot be measured (base: it died)"),
        (failed("base", layout=True), 0, "PASSED"),
    ],
)
def test_a_side_that_failed(found: Measurements, exit_code: int, words: str) -> None:
    findings = judge_all(found, [SPEED, RATE, COUNTS])
    assert [one.verdict for one in findings] == ["INVALID", "NO CHANGE", "INVALID"]
    run = gate_run(findings)
    assert run.exit_code == exit_code
    assert words in markdown(run)


def test_a_base_of_another_layout_alone_passes_with_a_line() -> None:
    run = gate_run(judge_all(failed("base", layout=True), [SPEED, COUNTS]))
    assert run.exit_code == 0
    assert "PASSED: nothing to compare with, base has another layout (base: it died)" in markdown(run)


def test_what_was_never_measured_is_invalid_and_nothing_was_compared() -> None:
    findings = judge_all(Measurements(), [metric.name for metric in METRICS])
    assert {one.verdict for one in findings} == {"INVALID"}
    assert gate_run(findings).exit_code == 3
    assert gate_run([]).exit_code == 3


def test_a_machine_too_noisy_for_every_timing_did_not_compare_whatever_the_counts_say() -> None:
    noisy = Finding(metric=SPEED, verdict="INCONCLUSIVE")
    counts = Finding(metric="counts.chunks", verdict="NO CHANGE", base=1.0, head=1.0)
    assert gate_run([noisy, counts]).exit_code == 3
    assert "not one of these has an answer: engine.stream_cpu INCONCLUSIVE" in markdown(
        gate_run([noisy, counts])
    )
    assert gate_run([noisy, counts, Finding(metric=RATE, verdict="NO CHANGE")]).exit_code == 0
    assert gate_run([counts]).exit_code == 0


@pytest.mark.parametrize(("pair", "exit_code"), [((1.0, 0.0), 1), ((0.0, 1.0), 3), ((0.0, 0.0), 1)])
def test_a_measurement_that_is_none_is_the_fault_of_its_side(
    pair: tuple[float, float], exit_code: int
) -> None:
    found = Measurements(pairs={SPEED: [[(1.0, 1.0), pair]] * 3})
    assert gate_run(judge_all(found, [SPEED])).exit_code == exit_code


@pytest.mark.parametrize(
    ("reason", "exit_code", "words"),
    [
        (NoBase("the clone is shallow"), 3, "COULD NOT COMPARE: the clone is shallow"),
        (NoBase("no earlier", first=True), 0, "PASSED: nothing to compare with, no earlier"),
    ],
)
def test_without_a_base(reason: NoBase, exit_code: int, words: str) -> None:
    run = gate_run([], base=None, note=str(reason), first=reason.first)
    assert run.exit_code == exit_code
    assert words in markdown(run)


def test_outside_a_repository_nothing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert main(parser.parse_args([])) == 3
    assert "not a git repository" in capsys.readouterr().err


def test_the_report_says_what_a_metric_can_see_and_keeps_its_pairs() -> None:
    rng = np.random.default_rng(3)
    rounds = [[(1.0, float(value)) for value in np.exp(rng.normal(0, 0.02, 20))] for _ in range(6)]
    [one] = judge_all(Measurements(pairs={SPEED: rounds}), [SPEED])
    assert one.sees is not None
    assert 1.025 <= one.sees < 1.05
    assert one.pairs == rounds
    assert f"| {one.sees - 1:.1%} |" in markdown(gate_run([one]))


def test_counts_are_judged_each_by_itself() -> None:
    found = Measurements(
        counts={
            "counts.steps.decode": ([75.0, 75.0], [76.0, 76.0]),
            "counts.chunks": ([75.0, 75.0], [75.0, 75.0]),
            "counts.rows.decode": ([75.0, 74.0], [75.0, 75.0]),
        }
    )
    verdicts = {one.metric: one.verdict for one in judge_all(found, [COUNTS])}
    assert verdicts == {
        "counts.steps.decode": "REGRESSED",
        "counts.chunks": "NO CHANGE",
        "counts.rows.decode": "INVALID",
    }


def test_an_accepted_slowdown_does_not_fail() -> None:
    findings = [regression()]
    assert apply_acceptances(findings, [entry()], BASE) == []
    assert findings[0].acceptance == "meant"
    assert not findings[0].fails


@pytest.mark.parametrize("fields", [{"up_to_ratio": 1.05}, {"metric": RATE}])
def test_an_entry_that_does_not_cover_it_changes_nothing(fields: dict[str, object]) -> None:
    findings = [regression()]
    [line] = apply_acceptances(findings, [entry(**fields)], BASE)
    assert "nothing needed the entry" in line
    assert findings[0].fails


def test_the_measurement_that_decides_is_the_one_that_an_entry_covers() -> None:
    worse, covered = regression(1.1), regression(1.14)
    worse.confirmation = Slowdown(ratio=1.2, low=1.2, high=1.2)
    covered.confirmation = Slowdown(ratio=1.1, low=1.1, high=1.1)
    apply_acceptances([worse], [entry()], BASE)
    apply_acceptances([covered], [entry()], BASE)
    assert worse.fails
    assert not covered.fails


def test_an_entry_for_another_base_is_not_looked_at() -> None:
    findings = [regression()]
    assert apply_acceptances(findings, [entry(base="fedcba9")], BASE) == []
    assert findings[0].fails


def test_a_count_can_be_accepted() -> None:
    findings = [Finding(metric="counts.chunks", verdict="REGRESSED", base=70.0, head=75.0)]
    apply_acceptances(findings, [entry(metric="counts.chunks")], BASE)
    assert findings[0].acceptance == "meant"


def test_the_committed_file_is_well_formed() -> None:
    assert isinstance(read_acceptances(ACCEPTED), list)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[accepted]]\nmetric = "a"', "required field"),
        ('[[accepted]]\nmetric = "a"\nup_to_ratio = 1.1\nbase = "0123abc"\nreason = "r"\nmore = 1', "more"),
        ('[[accepted]]\nmetric = "a"\nup_to_ratio = 1.1\nbase = "0123abc"\nreason = " "', "a: needs"),
        ('[[accepted]]\nmetric = "a"\nup_to_ratio = 1.1\nbase = ""\nreason = "r"', "a: needs"),
        ("[[accepted", "accepted.toml"),
    ],
)
def test_a_wrong_entry_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "accepted.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_acceptances(path)


def test_the_report_names_what_failed_and_why_not() -> None:
    findings = [regression(), Finding(metric=RATE, verdict="INCONCLUSIVE", note="the server ended | badly")]
    findings[0].confirmation = Slowdown(ratio=1.11, low=1.08, high=1.14)
    run = gate_run(findings)
    text = markdown(run)
    assert run.exit_code == 1
    assert "**FAILED: engine.stream_cpu**" in text
    assert "measured again: 1.110 (1.080 to 1.140)" in text
    assert "the server ended \\| badly" in text
    findings[0].acceptance = "meant"
    assert "**PASSED**" in markdown(run)
    assert "accepted: meant" in markdown(run)
