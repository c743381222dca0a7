"""A real `tts-serving cluster`: two engines on a Ray of this machine's own, one for all tests."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.support import Server, alive, start, wait_ready

SLOTS = 16
"""Of one engine."""
SETTINGS = (
    f"engine.max_slots={SLOTS}",
    "model.name=tests.faulty_tone",
    "model.options.step_s=0.02",
    "model.options.max_window_tokens=4",
    "engine.device=cpu",
    "engine.threads=1",
    "text.pauses.sentence_s=0",
    "text.pauses.paragraph_s=0",
    "cluster.replicas=2",
    "cluster.max_replicas=3",
    "cluster.cpus=0.5",
    "cluster.queue_depth=12",
    "cluster.upscale_s=1",
    "cluster.downscale_s=600",
    "http.send_s=3",
)
READY_S = 300.0
"""Ray's own processes take their time where other work holds the cores."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ready, with both engines. At the end it stops as it is told, and nothing of Ray's is left."""
    log = tmp_path_factory.mktemp("cluster") / "server.log"
    with log.open("w", encoding="utf-8") as stderr:
        words = [word for setting in SETTINGS for word in ("--set", setting)]
        process = start(stderr, "cluster", "--port", "0", *words)
    family: list[int] = []
    try:
        server = Server(process, wait_ready(process, log, READY_S), log)
        until(lambda: engines(server) == 2, READY_S, "two engines")
        yield server
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert server.stop(limit_s=60) == 0, log.read_text(encoding="utf-8")[-2000:]
        until(lambda: not any(map(alive, family)), 20, "nothing is left")
    finally:
        for pid in family:
            if alive(pid):
                psutil.Process(pid).kill()
        if process.poll() is None:
            process.kill()


def until(holds: Callable[[], object], limit_s: float, what: str) -> None:
    """Wait until it holds; fails after limit_s."""
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, f"{what}: not within {limit_s:g} s"
        time.sleep(0.05)


def stats(server: Server) -> dict[str, Any]:
    """GET /stats: the counters of all engines together."""
    with urllib.request.urlopen(f"{server.base_url}/stats", timeout=10) as answer:
        counters: dict[str, Any] = json.load(answer)
        return counters


def engines(server: Server) -> int:
    """How many engines tell their counters."""
    try:
        return int(stats(server)["slots"]) // SLOTS
    except OSError:
        return 0


def replicas() -> list[psutil.Process]:
    """The processes of replicas, the oldest first."""
    found = [process for process in psutil.process_iter() if "ray::ServeReplica" in " ".join(_words(process))]
    return sorted(found, key=lambda process: process.create_time())


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []
