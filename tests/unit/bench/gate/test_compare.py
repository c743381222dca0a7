"""What the gate does with what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.accepted import ACCEPTED, Acceptance, apply_acceptances, read_acceptances
from bench.gate.compare import judge_all
from bench.gate.measure import Measurements
from bench.gate.report import Finding, GateRun, markdown
from bench.gate.tasks import COUNTS, METRICS
from bench.gate.verdict import Slowdown

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


def test_a_side_that_failed_makes_its_metrics_invalid_and_passes() -> None:
    found = Measurements(
        pairs=measurements(RATE, 1.0).pairs, failures={"probe": "base: No module named bench.gate.probe"}
    )
    findings = judge_all(found, [SPEED, RATE, COUNTS])
    assert [one.verdict for one in findings] == ["INVALID", "NO CHANGE", "INVALID"]
    assert "No module named bench.gate.probe" in findings[0].note
    assert not any(one.fails for one in findings)


def test_what_was_never_measured_is_invalid() -> None:
    findings = judge_all(Measurements(), [metric.name for metric in METRICS])
    assert {one.verdict for one in findings} == {"INVALID"}


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
    findings = [regression(), Finding(metric=RATE, verdict="INVALID", note="head: the server ended | badly")]
    findings[0].confirmation = Slowdown(ratio=1.11, low=1.08, high=1.14)
    gate_run = GateRun(
        base=BASE, head="abc1234", profile="default", overrides=[], effort="quick", findings=findings
    )
    text = markdown(gate_run)
    assert gate_run.failed
    assert "**FAILED: engine.stream_cpu**" in text
    assert "measured again: 1.110 (1.080 to 1.140)" in text
    assert "the server ended \\| badly" in text
    findings[0].acceptance = "meant"
    assert "**PASSED**" in markdown(gate_run)
    assert "accepted: meant" in markdown(gate_run)


def test_the_report_says_when_there_is_no_base() -> None:
    gate_run = GateRun(
        base=None,
        head="abc1234",
        profile="default",
        overrides=[],
        effort="full",
        note="Nothing: first commit.",
    )
    assert "Nothing: first commit." in markdown(gate_run)
    assert not gate_run.failed
