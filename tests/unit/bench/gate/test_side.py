"""Which program of a tree the gate starts as its probe."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.gate.messages import Books, hides_cpu, hides_time, overstates
from bench.gate.side import Side, SideFailed, Tree, first_sound

ROOT = Path(__file__).parents[4]


def test_a_tree_of_this_layout_brings_its_own_probe() -> None:
    assert Tree(path=ROOT).probe_command() == ["-m", "bench.gate.probe"]


def test_a_tree_from_before_the_folders_brings_its_own_probe_too(tmp_path: Path) -> None:
    for name in ("bench", "serving"):
        (tmp_path / name).mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "bench" / "probe.py").write_text("", encoding="utf-8")
    assert Tree(path=tmp_path).probe_command() == ["-m", "bench.probe"]


def test_a_planted_tree_is_started_with_its_share() -> None:
    assert Tree(path=ROOT, planted=0.2).probe_command() == ["-m", "bench.gate.proof.planted", "0.2"]


def test_a_project_that_holds_only_a_model_runs_on_this_program(tmp_path: Path) -> None:
    tree = Tree(path=tmp_path)
    assert tree.probe_command() == ["-m", "bench.gate.probe"]
    assert tree.python_path() == f"{tmp_path}{os.pathsep}{ROOT}"
    assert Tree(path=ROOT).python_path() == str(ROOT)


def test_a_copy_without_a_probe_is_of_another_layout(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("", encoding="utf-8")
    with Side("base", Tree(path=tmp_path), "default") as side, pytest.raises(SideFailed) as caught:
        side.start_probe()
    assert caught.value.layout
    assert str(caught.value) == "base: it holds no probe"


def test_a_copy_whose_server_was_renamed_is_not_measured_by_the_installed_one(tmp_path: Path) -> None:
    for folder in ("bench/gate", "served"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bench/gate/probe.py").write_text("", encoding="utf-8")
    _is_not_measured(tmp_path)


def test_a_copy_that_lies_in_src_is_not_measured_by_the_installed_one(tmp_path: Path) -> None:
    (tmp_path / "src/serving").mkdir(parents=True)
    (tmp_path / "src/serving/__init__.py").write_text("", encoding="utf-8")
    _is_not_measured(tmp_path)


def _is_not_measured(tree: Path) -> None:
    for start in (Side.start_probe, Side.start_server):
        with Side("head", Tree(path=tree), "default") as side, pytest.raises(SideFailed) as caught:
            start(side)
        assert str(caught.value) == "head: it holds no serving/, and no other server is measured for it"


def test_a_probe_that_hides_cpu_seconds_is_not_believed() -> None:
    base = Books(stated_cpu_s=4.0, used_cpu_s=4.2, stated_wall_s=5.0, waited_s=5.1)
    assert hides_cpu(base, base) == ""
    faster = Books(stated_cpu_s=2.0, used_cpu_s=2.2, stated_wall_s=2.5, waited_s=2.6)
    assert hides_cpu(base, faster) == ""
    half = Books(stated_cpu_s=2.0, used_cpu_s=4.2, stated_wall_s=5.0, waited_s=5.1)
    assert hides_cpu(base, half) == (
        "its probe states 2.0 CPU seconds and took 4.2, 2.10 times as many; base's 1.05 times"
    )
    assert hides_time(base, half) == ""
    assert hides_cpu(Books(), Books()) == ""


def test_a_probe_that_hides_time_is_doubted() -> None:
    base = Books(stated_cpu_s=4.0, used_cpu_s=4.2, stated_wall_s=5.0, waited_s=5.1)
    late = Books(stated_cpu_s=4.0, used_cpu_s=4.2, stated_wall_s=3.0, waited_s=5.1)
    assert "states 3.0 seconds and took 5.1" in hides_time(base, late)
    assert hides_cpu(base, late) == ""
    assert hides_time(base, base) == hides_time(Books(), Books()) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hello", "words", "layout"),
    [
        ({"version": 99, "tree": "", "ready_s": 1.0}, "speaks version 99", True),
        ({"version": 1, "tree": "/elsewhere", "ready_s": 1.0}, "the code of another tree", False),
        (None, "the probe died", False),
    ],
)
def test_a_probe_that_is_not_what_it_should_be(
    tmp_path: Path, hello: dict[str, object] | None, words: str, layout: bool
) -> None:
    for name in ("serving/__init__.py", "bench/__init__.py", "bench/gate/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    line = f"print({json.dumps(json.dumps(hello))})" if hello else "raise SystemExit(1)"
    (tmp_path / "bench/gate/probe.py").write_text(line, encoding="utf-8")
    with (
        Side("base", Tree(path=tmp_path), "default") as side,
        pytest.raises(SideFailed, match=words) as caught,
    ):
        side.start_probe()
    assert caught.value.layout is layout


def test_a_probe_that_counts_more_audio_than_is_heard_is_not_believed() -> None:
    assert "states 1.50 times the audio of base's, and 1.00" in overstates((30.0, 45.0), (12.0, 12.0))
    assert overstates((30.0, 30.0), (12.0, 12.0)) == ""
    assert overstates((30.0, 33.0), (12.0, 13.2)) == "", "it is really longer, which quality judges"
    assert overstates((0.0, 0.0), (12.0, 12.0)) == "", "no text was spoken by the probe"


def test_the_first_sound_is_no_silence() -> None:
    quiet, loud = np.full(480, 100, "<i2").tobytes(), np.full(480, -3000, "<i2").tobytes()
    assert first_sound(quiet + loud) == len(quiet)
    assert first_sound(loud) == first_sound(quiet) == first_sound(b"x") == 0
