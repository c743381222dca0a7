"""What the tests of the targets share."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from bench.load.generator import LoadGenerator, LoadPlan, Outcome
from bench.records import Sample
from bench.servers.start import ArmSpec, Server, get
from bench.targets.spec import Target

FAKE = str(Path(__file__).with_name("fake_targets.py"))
HTTP = ArmSpec("other APIs, known bytes at known times", (FAKE, "--port", "{port}"))
SOCKET = ArmSpec("a WebSocket, known bytes at known times", (FAKE, "--port", "{port}", "--socket"))


def script(*chunks: tuple[float, int], **more: Any) -> str:
    return json.dumps({"chunks": chunks, **more})


def plan(url: str, target: Target, texts: list[str], **more: Any) -> LoadPlan:
    settings: dict[str, Any] = {"clients": 1, "duration_s": 60.0, "endpoint": "/tts/stream"}
    return LoadPlan(url=url, target=target, texts=texts, warmup_texts=[], **(settings | more))


def ask(url: str, target: Target, *texts: str, **more: Any) -> list[Sample]:
    return run(plan(url, target, list(texts), **more)).samples


def run(wanted: LoadPlan) -> Outcome:
    return asyncio.run(LoadGenerator(wanted).run())


def notes(server: Server) -> list[dict[str, Any]]:
    _, content = get(f"{server.url}/log")
    assert content is not None
    found: list[dict[str, Any]] = content["notes"]
    return found
