"""The verdict's sentences: won, lost, even, invalid, refused, and nobody to compare with."""

from __future__ import annotations

from typing import Any

import pytest

from bench.headline.report import build
from bench.headline.verdict import Verdict
from bench.machine import machine_name
from bench.records import Run
from tests.unit.bench.headline.headline_support import cell, make_run


def said(run: Run, reference: str = "reference") -> Verdict:
    return build(run, server="server", reference=reference).verdict


def texts(run: Run, kind: str) -> list[str]:
    return [line.text for line in said(run).lines if line.kind == kind]


def pair(clients: int, server_s: float, reference_s: float, **more: Any) -> list[Any]:
    return [
        cell("server", clients, ttfa_s=server_s, **more),
        cell("reference", clients, ttfa_s=reference_s, **more),
    ]


@pytest.fixture
def run() -> Run:
    made = make_run()
    made.arms, made.cells = made.arms[:2], []
    return made


def test_winning_is_said_in_the_title(run: Run) -> None:
    run.cells = pair(1, 0.01, 0.02) + pair(4, 0.01, 0.02)
    assert said(run).title == "server against reference: first sound 2.00× sooner, throughput even"
    assert texts(run, "wins") == [
        "Wins: the first sound comes 2.00 times sooner at 2 of 2 load points (1 and 4 clients, mixed texts)."
    ]


def test_losing_is_said_in_the_same_words(run: Run) -> None:
    run.cells = pair(1, 0.02, 0.01) + pair(4, 0.02, 0.01)
    assert said(run).title == "server against reference: first sound 2.00× later, throughput even"
    assert texts(run, "loses") == [
        "Loses: the first sound comes 2.00 times later at 2 of 2 load points (1 and 4 clients, mixed texts)."
    ]


def test_even_is_no_victory(run: Run) -> None:
    run.cells = pair(1, 0.0200, 0.0201)
    assert said(run).title == "server against reference: first sound even, throughput even"
    assert "wins" not in {line.kind for line in said(run).lines}
    assert texts(run, "even")[0] == (
        "Even: the first sound differs by no more than the noise at 1 of 1 load points (1 client, mixed texts)."
    )


def test_winning_here_and_losing_there_are_both_in_the_title(run: Run) -> None:
    run.cells = pair(1, 0.01, 0.02) + pair(4, 0.02, 0.01)
    assert "first sound sooner at 1 and later at 1 of 2 loads" in said(run).title


def test_less_throughput_is_a_loss(run: Run) -> None:
    run.cells = [cell("server", 1, ttfa_s=0.02, gap_s=0.1), cell("reference", 1, ttfa_s=0.02, gap_s=0.1)]
    for one in run.cells[0].samples:
        one.due_s, one.sent_s, one.end_s = one.due_s * 2, one.sent_s * 2, one.end_s * 2
        one.events = [(time * 2, size) for time, size in one.events]
    assert "throughput 50 % less" in said(run).title
    assert any(text.startswith("Loses: throughput is 50 % less at 1 of 1") for text in texts(run, "loses"))


def test_an_invalid_arm_is_named_with_its_reason(run: Run) -> None:
    run.cells = pair(1, 0.01, 0.02)
    run.cells[1].verdict, run.cells[1].reasons = "INVALID", ["late generator: sent 90 ms after due at p99"]
    assert said(run).title == (
        "server against reference: nothing could be ranked (1 of 2 load points INVALID)"
    )
    assert texts(run, "invalid") == [
        "INVALID: reference at 1 client, mixed texts: late generator: sent 90 ms after due at p99."
    ]
    assert any(
        "Not ranked: TTFA p50 at 1 of 1" in text and "reference INVALID" in text
        for text in texts(run, "note")
    )


def test_many_invalid_points_of_an_arm_are_one_sentence(run: Run) -> None:
    for clients in (1, 2, 4, 8):
        run.cells += pair(clients, 0.01, 0.02)
        run.cells[-1].verdict, run.cells[-1].reasons = "INVALID", [f"disturbed machine: {clients}"]
    assert texts(run, "invalid") == [
        "INVALID: reference at 1, 2, 4 and 8 clients, mixed texts: disturbed machine: 1 (4 times)."
    ]


def test_who_speaks_slowly_is_said_to_gain_by_it(run: Run) -> None:
    run.cells = pair(8, 0.01, 0.02)
    assert not any("last" in text and "longer" in text for text in texts(run, "note"))
    for one in run.cells[0].samples:
        one.events = [(time, size * 6 // 5) for time, size in one.events]
    longer = "The same texts last 20 % longer from server than from reference"
    assert any(text.startswith(longer) for text in texts(run, "note"))
    assert any(text.startswith("Wins: throughput is 20 % more") for text in texts(run, "wins"))
    assert "throughput even" in said(run).title, "silence wins no title"
    assert any(text.startswith("Even: the text spoken in a second") for text in texts(run, "even"))


def test_a_load_where_nothing_can_be_ranked_counts_in_the_title(run: Run) -> None:
    run.cells = pair(1, 0.01, 0.02) + pair(4, 0.01, 0.02)
    for one in run.cells[2].samples[:5]:
        one.error, one.status, one.events = "refused", 429, []
    assert "sooner at 1 of 2 loads" in said(run).title


def test_refusals_are_said_of_both(run: Run) -> None:
    run.cells = pair(8, 0.01, 0.02)
    for one in run.cells[0].samples[:5]:
        one.error, one.status, one.events = "refused", 429, []
    assert "Not served by server: 5 refused of 20 at 8 clients, mixed texts." in texts(run, "loses")
    assert any("served only the survivors" in text for text in texts(run, "note"))
    assert "sooner" not in said(run).title


def test_a_run_without_a_reference_ranks_nobody(run: Run) -> None:
    run.cells = [cell("server", 1, ttfa_s=0.01)]
    assert said(run).title == "server alone: first sound after 10 ms at 1 client"
    assert "ranks nobody" in texts(run, "note")[0]


def test_a_run_of_nothing_says_so(run: Run) -> None:
    assert said(run).title == "server: no valid figure"


def test_a_server_that_did_not_start_is_named(run: Run) -> None:
    run.arms[1].failure = "reference: the process ended with code 1\nTraceback"
    assert texts(run, "invalid") == [
        "FAILED: reference could not be measured: reference: the process ended with code 1"
    ]


@pytest.mark.parametrize(
    ("server_s", "standing", "words"),
    [(2.0, "loses", "Costs more"), (0.5, "wins", "Costs less"), (1.001, "even", "Costs the same")],
)
def test_what_it_costs(run: Run, server_s: float, standing: str, words: str) -> None:
    for clients in (1, 2, 4):
        run.cells += pair(clients, 0.01, 0.01)
        run.cells[-2].server_cpu_s, run.cells[-1].server_cpu_s = 40 * server_s / 100, 40 / 100
    [line] = [line for line in said(run).lines if "CPU time per second" in line.text]
    assert line.kind == standing
    assert line.text.startswith(
        f"{words}: server takes {server_s * 10:.2f} ms of CPU time per second of audio, "
    )
    assert "CPU time" in said(run).title or standing == "even"


def test_the_processor_is_named_so_that_two_of_one_name_differ(run: Run) -> None:
    run.machine |= {
        "cpu": "AMD EPYC",
        "cpu_family": 25,
        "cpu_model": 17,
        "cpu_stepping": 1,
        "instruction_sets": ["avx2", "avx512f"],
    }
    name = "AMD EPYC (family 25; model 17; stepping 1; avx2, avx512f), 2 cores"
    assert machine_name(run.machine) == name
    assert any(name in text for text in texts(run, "note"))
    assert machine_name({"cpu": "X", "instruction_sets": []}) == "X (no AVX2)"
    assert machine_name({}) == "an unknown processor"


def test_more_wins_than_losses_hide_no_loss(run: Run) -> None:
    run.cells = pair(1, 0.01, 0.02) + pair(2, 0.01, 0.02) + pair(4, 0.02, 0.01)
    assert "first sound sooner at 2 and later at 1 of 3 loads" in said(run).title
