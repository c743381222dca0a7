"""What the bench's own process imports: torch and the server's code belong to the processes under test."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("torch", "serving.engine", "zmq", "litestar", "faster_whisper")


@pytest.mark.parametrize(
    "module",
    [
        "bench.headline.run",
        "bench.headline.report",
        "bench.capacity.command",
        "bench.capacity.report",
        "bench.gate.compare",
        "bench.gate.proof.command",
        "bench.gate.sweep",
        "bench.load.locust.command",
        "bench.load.generator",
        "bench.protocols.command",
    ],
)
def test_a_command_starts_without_the_libraries_of_the_engine(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
