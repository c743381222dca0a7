"""`bench gpu` when things go wrong: what was done is in the result. And what a bare machine must have for it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import INTERRUPTED, MISSING
from bench.indextts2 import gpu

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORDS = [
    "--tiny",
    "--device",
    "cpu",
    "--profile",
    "indextts2-low-latency",
    "--set",
    "model.options.prompt_s=0.4",
]
for _option, _value in {"codes": 24, "rows": 1, "streams": 1, "requests": 1, "repeats": 2}.items():
    WORDS += [f"--{_option}", str(_value)]
PARTS = ("decode_part", "flow_part", "vocoder_part", "load")
BARE = ("torch", "numpy", "safetensors", "sentencepiece", "msgspec")
"""What a rented GPU machine has or can be given as wheels; and what these themselves need."""


def arguments(folder: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    gpu.add_arguments(parser)
    return parser.parse_args([*WORDS, "--out", str(folder)])


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "indextts2-low-latency" / "result.json").read_bytes())
    return found


@pytest.mark.parametrize("broken", [("decode_part", "load"), ("flow_part", "vocoder_part")])
def test_parts_that_fail_are_named_and_the_others_are_there(
    broken: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise RuntimeError("planted")

    for name in broken:
        monkeypatch.setattr(gpu, name, fail)
    assert gpu.main(arguments(tmp_path)) == 1
    found = result(tmp_path)
    assert len(found["failed"]) == 2
    assert all("RuntimeError: planted" in failure for failure in found["failed"])
    names = {"decode_part": "decode", "flow_part": "flow", "vocoder_part": "vocoder"}
    whole = [name for part, name in names.items() if part not in broken]
    assert [part["name"] for part in found["parts"]] == whole
    assert len(found["loads"]) == (0 if "load" in broken else 1)
    assert found["offline_rtf"] > 0
    assert "FAILED: " in (tmp_path / "indextts2-low-latency" / "result.md").read_text(encoding="utf-8")


def test_every_failure_at_once_still_gives_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise MemoryError("planted")

    for name in (*PARTS, "rates", "measure_requests", "Offline"):
        monkeypatch.setattr(gpu, name, fail)
    assert gpu.main(arguments(tmp_path)) == 1
    assert result(tmp_path)["failed"] == ["load and warm up: MemoryError: planted"]


def test_a_signal_leaves_what_was_done(tmp_path: Path) -> None:
    words = [*WORDS, "--requests", "1000000", "--out", str(tmp_path)]
    run = subprocess.Popen(
        [sys.executable, "-m", "bench", "gpu", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    file = tmp_path / "indextts2-low-latency" / "result.json"
    deadline_s = time.monotonic() + 120
    try:
        while not (file.exists() and len(result(tmp_path)["parts"]) == 3):
            assert run.poll() is None, run.stderr and run.stderr.read()
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == INTERRUPTED
    finally:
        run.kill()
        run.communicate()
    assert [part["name"] for part in result(tmp_path)["parts"]] == ["decode", "flow", "vocoder"]


def bare(command: str, packages: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run Python where the standard library, the project, `packages` and what these need can be imported alone."""
    program = f"""
import sys
from importlib.metadata import distribution, packages_distributions, PackageNotFoundError
import re
needed, queue = set(), list({packages!r})
while queue:
    name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
    if name in needed:
        continue
    needed.add(name)
    try:
        wanted = distribution(name).requires or []
    except PackageNotFoundError:
        continue
    queue += [re.match(r"[\\w.-]+", line)[0] for line in wanted if "extra ==" not in line]
homes = packages_distributions()
class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = [re.sub(r"[-_.]+", "-", owner).lower() for owner in homes.get(top, [])]
        if top not in ("bench", "serving") and owners and not needed & set(owners):
            raise ModuleNotFoundError(f"No module named {{top!r}}", name=top)
sys.meta_path.insert(0, Bare())
{command}
"""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_runs_where_there_is_little_else_than_torch(tmp_path: Path) -> None:
    words = [*WORDS, "--out", str(tmp_path)]
    done = bare(f"from bench.__main__ import main\nraise SystemExit(main({['gpu', *words]!r}))", BARE)
    assert done.returncode == 0, done.stderr
    assert len(result(tmp_path)["parts"]) == 3


def test_a_missing_package_is_named() -> None:
    done = bare("from bench.__main__ import main\nraise SystemExit(main(['gpu']))", BARE[:-1])
    assert done.returncode == MISSING
    assert done.stderr.endswith("bench gpu: needs the package msgspec, which is not installed here\n")
