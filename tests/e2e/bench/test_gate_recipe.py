"""The recipe for a CI of one's own, on a bare clone of a project that holds a model and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gate.worktree import git
from tests.e2e.test_models_page import model_of_the_page
from tests.support import ROOT

pytestmark = pytest.mark.e2e

PROFILE = '[model]\nname = "whistle"\n\n[engine]\ndevice = "cpu"\n'
METRICS = ("engine.stream_cpu", "counts", "quality")
BURN = """
    def forward(self, glides, place):
        import time
        until_s = time.thread_time() + 0.002
        while time.thread_time() < until_s: pass
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository: a model, words about it, the model slower, the model silent, the model broken."""
    folder = tmp_path_factory.mktemp("origin")
    work, bare = folder / "work", folder / "whistle.git"
    work.mkdir()
    git(work, "init", "--initial-branch=main")
    for key, value in (("user.name", "Tester"), ("user.email", "tester@example.org")):
        git(work, "config", key, value)
    model = model_of_the_page()
    slow = model.replace("\n    def forward(self, glides, place):\n", BURN)
    silent = model.replace(".sin() * loudness", ".sin() * loudness * 0")
    broken = model.replace("import dataclass", "import no_such_name")
    assert len({model, slow, silent, broken}) == 4
    versions = {"first": model, "same": model, "slow": slow, "silent": silent, "broken": broken}
    (work / "mine.toml").write_text(PROFILE, encoding="utf-8")
    for tag, text in versions.items():
        (work / "whistle.py").write_text(text, encoding="utf-8")
        (work / "README.md").write_text(f"The whistle: {tag}.\n", encoding="utf-8")
        git(work, "add", ".")
        git(work, "commit", "-m", tag)
        git(work, "tag", tag)
    git(folder, "clone", "--bare", str(work), str(bare))
    return bare


def gate(clone: Path, *arguments: str, base: str | None = None) -> tuple[int, str]:
    """The documented command in the clone: its exit code and its report."""
    environ = {name: value for name, value in os.environ.items() if name != "BENCH_BASE"}
    environ["PYTHONPATH"] = str(ROOT)
    if base is not None:
        environ["BENCH_BASE"] = base
    done = subprocess.run(
        [sys.executable, "-m", "bench", "compare", "--quick", "--profile", "mine.toml",
         "--metrics", *METRICS, *arguments],
        cwd=clone, env=environ, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def cloned(origin: Path, folder: Path, tag: str, *arguments: str) -> Path:
    git(folder, "clone", "--branch", tag, *arguments, f"file://{origin}", str(folder / tag))
    return folder / tag


def test_the_first_commit_passes_and_says_that_it_is_the_first(origin: Path, tmp_path: Path) -> None:
    code, report = gate(cloned(origin, tmp_path, "first"))
    assert code == 0
    assert "PASSED: nothing to compare with, the code has no earlier commit" in report


def test_a_shallow_clone_could_not_compare(origin: Path, tmp_path: Path) -> None:
    code, report = gate(cloned(origin, tmp_path, "slow", "--depth=1"))
    assert code == 3
    assert "COULD NOT COMPARE: the clone is shallow" in report


def test_a_base_that_the_clone_does_not_hold_could_not_compare(origin: Path, tmp_path: Path) -> None:
    code, report = gate(cloned(origin, tmp_path, "slow"), base="1234567")
    assert code == 3
    assert "no commit '1234567'" in report


def test_words_alone_are_no_slow_down(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path, "same")
    code, report = gate(clone, "--metrics", "counts", "quality")
    assert code == 0, report
    assert "every sample" in report or "sample by sample" in report


def test_a_slower_model_regresses_and_its_pairs_are_kept(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path, "slow")
    code, report = gate(clone, "--metrics", "engine.stream_cpu")
    assert code == 1, report
    assert "FAILED: engine.stream_cpu" in report
    stored = json.loads((clone / "reports/latest/compare.json").read_text(encoding="utf-8"))
    [cpu] = [one for one in stored["findings"] if one["metric"] == "engine.stream_cpu"]
    assert len(cpu["pairs"]) == 5, report
    assert len(cpu["confirmation_pairs"]) == 6
    assert all(head > base > 0 for pairs in cpu["pairs"] for base, head in pairs[:3])


def test_a_silent_model_regresses_however_fast(origin: Path, tmp_path: Path) -> None:
    code, report = gate(cloned(origin, tmp_path, "silent"), "--metrics", "quality", base="same")
    assert code == 1, report
    assert "quality.level" in report.splitlines()[2]


def test_a_head_that_does_not_start_fails_and_a_base_that_does_not_could_not_compare(
    origin: Path, tmp_path: Path
) -> None:
    clone = cloned(origin, tmp_path, "broken")
    code, report = gate(clone, base="first")
    assert code == 1, report
    assert "head: " in report
    git(clone, "checkout", "first")
    code, report = gate(clone, base="broken")
    assert code == 3, report
    assert "COULD NOT COMPARE: base cannot be measured (base: " in report
