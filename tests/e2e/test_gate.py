"""The gate on the real engine and the real server, with the tone model, for as short as it goes."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from bench.gate.compare import judge_all
from bench.gate.measure import COUNTS, METRICS, Effort, Tree, measure

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SHORTEST = Effort(rounds=2, rounds_per_process=2, server_rounds=1, round_s=0.0)


def ignore(_: str) -> None:
    """Show no progress."""


def test_every_metric_is_measured_and_counts_are_exact() -> None:
    names = [*(metric.name for metric in METRICS), COUNTS]
    before = set(psutil.Process().children(recursive=True))
    tree = Tree(path=ROOT)
    measured = measure(
        tree, tree, names, SHORTEST, profile="default", overrides=["model.name=tone"], progress=ignore
    )
    assert measured.failures == {}
    assert set(measured.pairs) == {metric.name for metric in METRICS}
    rounds = {metric.name: 2 if metric.needs == "probe" else 1 for metric in METRICS}
    assert {name: len(found) for name, found in measured.pairs.items()} == rounds
    assert all(
        base > 0 and head > 0 for found in measured.pairs.values() for pairs in found for base, head in pairs
    )
    counts = [one for one in judge_all(measured, names) if one.metric.startswith(COUNTS)]
    assert {one.verdict for one in counts} == {"NO CHANGE"}
    assert next(one for one in counts if one.metric == "counts.steps.render").base
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_base_that_cannot_run_is_invalid_and_says_so(tmp_path: Path) -> None:
    names = ["engine.stream_cpu"]
    base, head = Tree(path=tmp_path), Tree(path=ROOT)
    measured = measure(
        base, head, names, SHORTEST, profile="default", overrides=["model.name=tone"], progress=ignore
    )
    [judged] = judge_all(measured, names)
    assert judged.verdict == "INVALID"
    assert judged.note.startswith("base: ")
    assert not judged.fails
