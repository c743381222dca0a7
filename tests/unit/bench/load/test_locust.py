"""Stages of the Locust load, and Locust itself against the server of known behaviour."""

from __future__ import annotations

import csv
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.hearing.doubts import SILENCE
from bench.load.locust.command import LOCUSTFILE, _table, cells, complaints
from bench.load.locust.stages import Stage, default_stages, stage_at
from bench.load.validity import validate
from bench.records import Generator, Sample, load_run
from bench.servers.start import ArmSpec, free_port, start_server
from tests.support import ROOT
from tests.unit.bench.support import FAKE, FAKE_SERVER

COMMAND = (sys.executable, "-m", "bench", "load", "--users", "4", "--texts", "short", "--target")


def loaded(url: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, url, "--output", str(folder), *more],
        check=False, timeout=90, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


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
        done = loaded(server.url, tmp_path, "--duration-s", "4")
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
    counts = {row[1]: int(row[2]) for row in csv.reader(statistics.splitlines()[1:])}
    assert counts["Aggregated"] == counts["/tts"] + counts["/tts/stream"], "requests alone are in the totals"
    assert all(f"/tts/stream{name}," in statistics for name in ("", " first sound", " largest gap"))


@pytest.mark.slow
def test_a_server_of_silence_is_named_and_invalid(tmp_path: Path) -> None:
    silent = ArmSpec("noughts", (FAKE_SERVER, "--port", "{port}", "--value", "0"))
    with start_server("fake", spec=silent) as server:
        done = loaded(server.url, tmp_path, "--duration-s", "3")
    assert done.returncode == 1
    measured = load_run(tmp_path / "run.json")
    samples = [sample for cell in measured.cells for sample in cell.samples]
    assert samples
    assert all(sample.error is None for sample in samples)
    for cell in measured.cells:
        assert cell.verdict == "INVALID"
        count = len(cell.samples)
        assert f"heard: {SILENCE} ({count} of {count} waves)" in cell.reasons
    assert "heard: silence" in done.stdout
    assert "silence: nothing is louder" in (tmp_path / "locust_failures.csv").read_text()
    assert not (tmp_path / "samples.audio").exists()


@pytest.mark.slow
def test_ctrl_c_with_the_page_leaves_the_run(tmp_path: Path) -> None:
    with start_server("fake", spec=FAKE) as server:
        command = [*COMMAND, server.url, "--output", str(tmp_path), "--page", str(free_port())]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            samples = tmp_path / "samples.jsonl"
            deadline = time.monotonic() + 60
            while not (samples.exists() and samples.stat().st_size > 0):
                assert time.monotonic() < deadline, "no user has begun"
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
    assert "run.json" in said
    assert "closed file" not in said
    measured = load_run(tmp_path / "run.json")
    assert measured.exclusions == ["ended by Ctrl-C: later stages are missing"]
    assert sum(len(cell.samples) for cell in measured.cells) > 0
    assert min(sample.due_s for cell in measured.cells for sample in cell.samples) < 0.1, (
        "from its first user on"
    )


@pytest.mark.slow
def test_a_request_that_has_not_ended_with_the_load_is_a_sample(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stage = '[{"name": "hold", "users": 2, "duration_s": 1}]'
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = ("--host", address, "--stop-timeout", "1", "--stages", stage, "--samples", "samples.jsonl")
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, check=False, timeout=90, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    lines = (tmp_path / "samples.jsonl").read_bytes().splitlines()
    samples = [msgspec.json.decode(line, type=Sample) for line in lines]
    assert [sample.error for sample in samples] == ["timeout", "timeout"], done.stderr
    assert "closed file" not in done.stderr
