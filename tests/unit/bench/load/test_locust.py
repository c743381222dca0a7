"""Stages of the Locust load, and Locust itself against the server of known behaviour."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.load.locust.command import _table, cells, complaints
from bench.load.locust.stages import Stage, default_stages, stage_at
from bench.load.validity import validate
from bench.records import Generator, Sample, load_run
from bench.servers.start import start_server
from tests.unit.bench.support import FAKE


def test_stages_ramp_hold_spike_and_soak() -> None:
    stages = default_stages(8, 100.0)
    users = [
        (found[0].name, found[1]) if (found := stage_at(stages, t)) else None
        for t in (0, 7.5, 20, 45, 60, 99)
    ]
    assert users == [("ramp", 1), ("ramp", 4), ("hold", 8), ("spike", 16), ("soak", 8), ("soak", 8)]
    assert stage_at(stages, 100.0) is None


def test_a_request_belongs_to_the_stage_in_which_it_was_due() -> None:
    stages = [Stage(name="hold", users=1, duration_s=1.0), Stage(name="soak", users=2, duration_s=1.0)]
    samples = [
        Sample(index=i, text="a", characters=1, due_s=due, sent_s=due, end_s=due + 5, streaming=streaming)
        for i, (due, streaming) in enumerate(
            [(0.5, True), (0.9, False), (1.1, True), (1.9, True), (2.5, True)]
        )
    ]
    health = Generator(
        lateness_p50_s=0.0, lateness_p99_s=0.0, loop_lag_p99_s=0.0, cpu_share=0.1, machine_cpu_share=0.5
    )
    found = [
        (cell.stage, cell.endpoint, len(cell.samples)) for cell in cells("fake", stages, samples, health)
    ]
    assert found == [("hold", "/tts/stream", 1), ("hold", "/tts", 1), ("soak", "/tts/stream", 3)]


def test_a_log_of_80_columns_says_which_cell_is_invalid_and_why() -> None:
    health = Generator(
        lateness_p50_s=0.0, lateness_p99_s=0.0, loop_lag_p99_s=0.0, cpu_share=0.99, machine_cpu_share=0.5
    )
    samples = [
        Sample(index=0, text="a", characters=1, due_s=0.5, sent_s=0.5, end_s=1, error="refused", detail="429")
    ]
    found = cells("fake", [Stage(name="hold", users=10_000, duration_s=1.0)], samples, health)
    for cell in found:
        validate(cell)
    console = Console(file=io.StringIO(), width=80)
    console.print(_table(found))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert lines[1].split()[-1] == "INVALID"
    assert complaints(found) == [
        "hold /tts/stream INVALID: 1 refused of 1 requests; no request succeeded; "
        "starved generator: it used 0.99 of a core"
    ]


@pytest.mark.slow
def test_locust_users_keep_raw_samples_beside_its_csv(tmp_path: Path) -> None:
    with start_server("fake", spec=FAKE) as server:
        command = [
            sys.executable,
            "-m",
            "bench",
            "load",
            "--target",
            server.url,
            "--users",
            "4",
            "--texts",
            "short",
        ]
        done = subprocess.run(
            [*command, "--duration-s", "4", "--output", str(tmp_path)],
            check=False, timeout=90, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"},
        )  # fmt: skip
    [head] = [line for line in done.stdout.splitlines() if line.startswith("stage ")]
    assert len(head) <= 80
    assert "verdict" in head
    measured = load_run(tmp_path / "run.json")
    samples = [sample for cell in measured.cells for sample in cell.samples]
    assert {cell.stage for cell in measured.cells} == {"ramp", "hold", "spike", "soak"}
    assert {cell.endpoint for cell in measured.cells} == {"/tts", "/tts/stream"}
    assert len(samples) == len((tmp_path / "samples.jsonl").read_bytes().splitlines())
    assert [sample.error for sample in samples] == [None] * len(samples)
    assert all([size for _, size in sample.events] == [4800, 4800] for sample in samples)
    statistics = (tmp_path / "locust_stats.csv").read_text()
    assert all(f"/tts/stream{name}," in statistics for name in ("", " first sound", " largest gap"))
