"""`python -m bench run` from end to end, against a server of known behaviour that does not speak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import load_run
from bench.servers.start import start_server
from tests.unit.bench.support import FAKE

pytestmark = pytest.mark.e2e


def test_a_run_of_a_target_writes_its_json_and_is_not_fooled_by_a_tone(tmp_path: Path) -> None:
    with start_server("fake", spec=FAKE) as server:
        command = [
            sys.executable,
            "-m",
            "bench",
            "run",
            "--arms",
            "",
            "--target",
            server.url,
            "--output",
            str(tmp_path),
        ]
        command += ["--clients", "1,3", "--rates", "10", "--texts", "short", "--endpoints", "/tts/stream"]
        command += ["--duration-s", "0.5", "--open-duration-s", "1", "--repeats", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    measured = load_run(tmp_path / "run.json")
    assert [(cell.mode, cell.point.load) for cell in measured.cells] == [
        ("closed", "1 client"),
        ("closed", "3 clients"),
        ("open", "10 requests/s"),
    ]
    assert [arm.name for arm in measured.arms] == ["target"]
    assert all(sample.error is None for cell in measured.cells for sample in cell.samples)
    assert all(cell.verdict == "INVALID" for cell in measured.cells)
    assert all(any("unintelligible" in reason for reason in cell.reasons) for cell in measured.cells)
    assert done.returncode == 1, done.stderr
    assert {"cpu", "cores", "python", "versions"} <= set(measured.machine)


def test_a_server_that_does_not_start_is_a_failed_run(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--quick",
        "--arms",
        "granian",
        "--profile",
        "no-such-profile",
    ]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "no-such-profile" in done.stdout
    measured = load_run(tmp_path / "run.json")
    assert "no-such-profile" in (measured.arms[0].failure or "")
    assert measured.cells == []
