"""The gate on the real engine and the real server, with the tone model, for as short as it goes."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import psutil
import pytest

from bench.gate.compare import STARTS, compare, judge_all
from bench.gate.measure import Effort, measure
from bench.gate.proof import command, noise
from bench.gate.quality import QUALITY
from bench.gate.side import Tree
from bench.gate.tasks import COUNTS, METRICS

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[3]
SHORTEST = Effort(rounds=2, rounds_per_process=2, server_rounds=1, round_s=0.0)


def ignore(_: str) -> None:
    """Show no progress."""


def test_every_metric_is_measured_and_counts_are_exact() -> None:
    names = [*(metric.name for metric in METRICS), COUNTS, QUALITY]
    before = set(psutil.Process().children(recursive=True))
    tree = Tree(path=ROOT)
    found = measure(
        tree, tree, names, SHORTEST, profile="default", overrides=["model.name=tone"], progress=ignore
    )
    assert found.failures == {}
    assert set(found.pairs) == {metric.name for metric in METRICS}
    assert [one.metric for one in judge_all(found, [QUALITY])] == ["quality.samples"]
    rounds = {metric.name: 2 if metric.needs == "probe" else 1 for metric in METRICS}
    assert {name: len(rounds_of) for name, rounds_of in found.pairs.items()} == rounds
    assert all(
        base > 0 and head > 0
        for rounds_of in found.pairs.values()
        for pairs in rounds_of
        for base, head in pairs
    )
    counts = [one for one in judge_all(found, names) if one.metric.startswith(COUNTS)]
    assert {one.verdict for one in counts} == {"NO CHANGE"}
    assert next(one for one in counts if one.metric == "counts.steps.render").base
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_base_that_cannot_run_is_invalid_and_says_so(tmp_path: Path) -> None:
    names = ["engine.stream_cpu"]
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("raise ImportError('broken')", encoding="utf-8")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "probe.py").write_text("import serving", encoding="utf-8")
    base, head = Tree(path=tmp_path), Tree(path=ROOT)
    found = measure(
        base, head, names, SHORTEST, profile="default", overrides=["model.name=tone"], progress=ignore
    )
    [finding] = judge_all(found, names)
    assert finding.verdict == "INVALID"
    assert finding.note.startswith("base: ")
    assert finding.failed_side == "base"
    assert not finding.fails


def test_a_head_whose_server_does_not_start_fails_whatever_was_asked_for(tmp_path: Path) -> None:
    """Its engine is in order, and the metric asks for no more."""
    for folder in ("serving", "bench", "profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "serving/http/app.py").write_text("raise ImportError('broken')", encoding="utf-8")
    *timed, last = compare(
        Tree(path=ROOT), Tree(path=tmp_path), metrics=["engine.stream_cpu"], effort=SHORTEST,
        overrides=["model.name=tone"], progress=ignore,
    )  # fmt: skip
    assert [one.metric for one in timed] == ["engine.stream_cpu"]
    assert (last.metric, last.verdict, last.failed_side, last.fails) == (STARTS, "INVALID", "head", True)


def test_a_planted_slowdown_of_the_engine_is_called() -> None:
    """Steps that take twice their CPU time, on the head side of one tree."""
    names = ["engine.stream_cpu"]
    findings = compare(
        Tree(path=ROOT), Tree(path=ROOT, planted=1.0), metrics=names, effort=SHORTEST, progress=ignore
    )
    [finding] = findings
    assert finding.verdict == "REGRESSED"
    assert finding.slowdown is not None
    assert finding.confirmation is not None
    assert [len(finding.pairs), len(finding.confirmation_pairs)] == [2, 3]


def test_a_server_can_be_planted_too() -> None:
    """Its engine, in a process of its own, burns three times what its steps take."""
    head = Tree(path=ROOT, planted=3.0)
    found = measure(
        Tree(path=ROOT), head, ["http.throughput_1"], SHORTEST, profile="default", overrides=[],
        progress=ignore,
    )  # fmt: skip
    assert found.failures == {}
    [pairs] = found.pairs["http.throughput_1"]
    assert sorted(base / head for base, head in pairs)[len(pairs) // 2] > 1.2


def test_a_recording_and_a_proof_are_made_saved_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shortest = Effort(rounds=2, rounds_per_process=2, server_rounds=2, round_s=0.01)
    monkeypatch.setattr(noise, "RECORDING", shortest)
    monkeypatch.setitem(noise.EFFORTS, "quick", shortest)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    tone = ["--set", "model.name=tone", "--output", str(tmp_path)]
    file = tmp_path / "noise.json"
    assert command.main(parser.parse_args([*tone, "--record", str(file)])) == 0
    recorded = noise.read_noise(file)
    assert {name: len(rounds) for name, rounds in recorded.ratios.items()} == {
        metric.name: 2 for metric in METRICS
    }
    only = [*tone, "--effort", "quick", "--metrics", "engine.stream_cpu"]
    assert command.main(parser.parse_args([*only, "--plan", "200:1"])) == command.WRONG_USAGE
    for plan, trials in ("0:1", 1), ("0:2", 2):
        capsys.readouterr()
        command.main(parser.parse_args([*only, "--plan", plan]))
        assert "# Proof of the gate at" in capsys.readouterr().out
        stored = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
        assert len(stored["trials"]) == trials
        assert stored["trials"][0]["findings"][0]["pairs"]
