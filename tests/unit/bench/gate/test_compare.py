"""What the gate does with what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.compare import ACCEPTED, Accepted, apply_accepted, judge_all, read_accepted
from bench.gate.measure import COUNTS, METRICS, Measured
from bench.gate.report import Comparison, Judged, markdown
from bench.gate.verdict import Slowdown

SPEED = "engine.stream_cpu"
RATE = "http.throughput_1"
BASE = "0123abc" + "0" * 33


def measured(name: str, slowdown: float) -> Measured:
    return Measured(pairs={name: [[(1.0, slowdown)] * 5] * 4})


def regression(ratio: float = 1.1) -> Judged:
    return Judged(metric=SPEED, verdict="REGRESSED", slowdown=Slowdown(ratio=ratio, low=ratio, high=ratio))


def entry(**fields: object) -> Accepted:
    return Accepted(**{"metric": SPEED, "up_to_ratio": 1.12, "base": BASE[:7], "reason": "meant", **fields})  # type: ignore[arg-type]


def test_every_metric_gets_its_verdict() -> None:
    [slower] = judge_all(measured(SPEED, 1.2), [SPEED])
    [faster] = judge_all(measured(RATE, 1.2), [RATE])
    assert (slower.verdict, faster.verdict) == ("REGRESSED", "IMPROVED")
    assert slower.base == 1.0
    assert slower.head == 1.2


def test_a_side_that_failed_makes_its_metrics_invalid_and_passes() -> None:
    found = Measured(
        pairs=measured(RATE, 1.0).pairs, failures={"probe": "base: No module named bench.gate.probe"}
    )
    judged = judge_all(found, [SPEED, RATE, COUNTS])
    assert [one.verdict for one in judged] == ["INVALID", "NO CHANGE", "INVALID"]
    assert "No module named bench.gate.probe" in judged[0].note
    assert not any(one.fails for one in judged)


def test_what_was_never_measured_is_invalid() -> None:
    judged = judge_all(Measured(), [metric.name for metric in METRICS])
    assert {one.verdict for one in judged} == {"INVALID"}


def test_counts_are_judged_each_by_itself() -> None:
    found = Measured(
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
    judged = [regression()]
    assert apply_accepted(judged, [entry()], BASE) == []
    assert judged[0].accepted == "meant"
    assert not judged[0].fails


@pytest.mark.parametrize("fields", [{"up_to_ratio": 1.05}, {"metric": RATE}])
def test_an_entry_that_does_not_cover_it_changes_nothing(fields: dict[str, object]) -> None:
    judged = [regression()]
    [line] = apply_accepted(judged, [entry(**fields)], BASE)
    assert "nothing needed the entry" in line
    assert judged[0].fails


def test_an_entry_for_another_base_is_not_looked_at() -> None:
    judged = [regression()]
    assert apply_accepted(judged, [entry(base="fedcba9")], BASE) == []
    assert judged[0].fails


def test_a_count_can_be_accepted() -> None:
    judged = [Judged(metric="counts.chunks", verdict="REGRESSED", base=70.0, head=75.0)]
    apply_accepted(judged, [entry(metric="counts.chunks")], BASE)
    assert judged[0].accepted == "meant"


def test_the_committed_file_is_well_formed() -> None:
    assert isinstance(read_accepted(ACCEPTED), list)


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
        read_accepted(path)


def test_the_report_names_what_failed_and_why_not() -> None:
    judged = [regression(), Judged(metric=RATE, verdict="INVALID", note="head: the server ended | badly")]
    judged[0].confirmation = Slowdown(ratio=1.11, low=1.08, high=1.14)
    comparison = Comparison(
        base=BASE, head="abc1234", profile="default", overrides=[], effort="quick", judged=judged
    )
    text = markdown(comparison)
    assert comparison.failed
    assert "**FAILED: engine.stream_cpu**" in text
    assert "measured again: 1.110 (1.080 to 1.140)" in text
    assert "the server ended \\| badly" in text
    judged[0].accepted = "meant"
    assert "**PASSED**" in markdown(comparison)
    assert "accepted: meant" in markdown(comparison)


def test_the_report_says_when_there_is_no_base() -> None:
    comparison = Comparison(
        base=None,
        head="abc1234",
        profile="default",
        overrides=[],
        effort="full",
        note="Nothing: first commit.",
    )
    assert "Nothing: first commit." in markdown(comparison)
    assert not comparison.failed
