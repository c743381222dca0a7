"""Which program of a tree the gate starts as its probe."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.side import Side, SideFailed, Tree

ROOT = Path(__file__).parents[4]


def test_a_tree_of_this_layout_brings_its_own_probe() -> None:
    assert Tree(path=ROOT).probe_command() == ["-m", "bench.gate.probe"]


def test_a_tree_from_before_the_folders_brings_its_own_probe_too(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "probe.py").write_text("", encoding="utf-8")
    assert Tree(path=tmp_path).probe_command() == ["-m", "bench.probe"]


def test_a_planted_tree_is_started_with_its_share() -> None:
    assert Tree(path=ROOT, planted=0.2).probe_command() == ["-m", "bench.gate.planted", "0.2"]


def test_a_server_cannot_be_planted() -> None:
    with (
        Side("head", Tree(path=ROOT, planted=0.2), "default") as side,
        pytest.raises(SideFailed, match="head: a slow-down is planted in the probe's engine alone"),
    ):
        side.start_server()
