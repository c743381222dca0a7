"""Measure a table of costs on this machine's CPU: the engine's steps, and what server and client do beside them.

Nothing of what is to be predicted is measured: steps are timed in this process without a server, and the server's share
with a model that costs next to nothing (`tone`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec
import numpy as np
import psutil

from bench.load.generator import LoadPlan, Outcome, generate
from bench.machine import machine
from bench.metrics import ttfa_s
from bench.servers.start import Server, engine_pid, start_server
from bench.simulate.costs import CostTable, ServerCost
from bench.simulate.steps import StepMeter
from bench.workload import texts, warmup_texts
from serving.models import load_frontend
from serving.models.base import Frontend
from serving.profile import Profile
from serving.protocol import SpeechParams
from serving.text import read

TONE = ("model.name=tone",)
TONE_STEPS = 2
"""Steps of a tone before its first sound."""
SERVER_LOAD_S = 2.5
WARMUP = 4
"""Requests before the load; the server is billed for them too."""
TONE_TEXTS = {"short": 1000, "long": 150}
"""As many as it may ask for meanwhile."""


def measure_costs(profile: Profile, *, rounds: int = 2) -> CostTable:
    """A table for the embedded voice, or another model of the CPU, on this machine. Takes some 20 seconds.

    Raises ProfileError.
    """
    frontend = load_frontend(profile)
    meter = StepMeter(profile, frontend)
    for _ in range(rounds):
        meter.round()
    with start_server("granian", profile.name, overrides=TONE) as server:
        return table_of(meter, server_costs(server, frontend, meter))


def table_of(meter: StepMeter, server: ServerCost) -> CostTable:
    """The table of all rounds so far."""
    turn_s, poll_s, hand_s = meter.loop_s()
    speeds = meter.speeds()
    # The server was measured with one client, at the speed of a machine with one core busy.
    work = ("request_s", "per_character_s", "chunk_s", "client_request_s", "client_chunk_s")
    scaled = {name: speeds[0] * getattr(server, name) for name in work}
    return CostTable(
        device=str(machine().get("cpu", "cpu")),
        source=f"measured: {meter.timed} steps alone, the same on {meter.workers} workers, the server by a tone",
        stages=meter.stages(),
        spread=meter.spread(),
        finishes=meter.finishes(),
        padded=False,
        speeds=speeds,
        server=msgspec.structs.replace(server, turn_s=turn_s, poll_s=poll_s, hand_s=hand_s, **scaled),
    )


def _seconds_per_character(frontend: Frontend) -> float:
    """CPU time of the text frontend, per character of texts that it has not seen."""
    unseen = texts("long", 40, 900)
    params = SpeechParams(voice=frontend.spec.default_voice, seed=0, fields=frontend.spec.fields())
    for text in unseen[:10]:
        list(frontend.segments(read(text), params))
    began_s = time.thread_time()
    for text in unseen[10:]:
        list(frontend.segments(read(text), params))
    return (time.thread_time() - began_s) / sum(map(len, unseen[10:]))


def server_costs(server: Server, frontend: Frontend, meter: StepMeter) -> ServerCost:
    """Beside the engine's own, of a server started with TONE: CPU seconds of the HTTP process and of the client.

    They are those of a request and of a chunk, by two loads of one client, of few chunks a request and of many: two
    equations for either process. What is left of the TTFA is waiting, once the engine's part is taken off: its steps,
    which it counts itself, and what `meter` says of the loop.
    """
    rows: list[tuple[float, float]] = []
    http: list[float] = []
    client: list[float] = []
    first_s: list[float] = []
    steps_s: list[float] = []
    for mix in ("short", "long"):
        before, steps_before = _http_cpu_s(server), server.stats()
        outcome = _one_client(server, mix)
        http.append(_http_cpu_s(server) - before)
        steps_s.append(_step_s(steps_before, server.stats()))
        client.append(outcome.generator.cpu_share * max(sample.end_s for sample in outcome.samples))
        asked = len(outcome.samples)
        rows.append((asked, sum(len(sample.events) for sample in outcome.samples)))
        http[-1] *= asked / (asked + WARMUP)
        first_s += [first for sample in outcome.samples if (first := ttfa_s(sample)) is not None]
    request_s, chunk_s = _two(rows, http)
    client_request_s, client_chunk_s = _two(rows, client)
    turn_s, _, hand_s = meter.loop_s()
    worked_s = request_s / 2 + chunk_s + client_request_s / 2 + client_chunk_s
    worked_s += TONE_STEPS * (median(steps_s) + turn_s + hand_s)
    return ServerCost(
        request_s=request_s,
        per_character_s=_seconds_per_character(frontend),
        chunk_s=chunk_s,
        client_request_s=client_request_s,
        client_chunk_s=client_chunk_s,
        hop_s=max(0.0, median(first_s) - worked_s) / 4,
    )


def _step_s(before: dict[str, Any] | None, after: dict[str, Any] | None) -> float:
    """Seconds of a step, on average, by what the engine counted between two answers of /stats."""
    assert before is not None, "a server of ours"
    assert after is not None
    steps, seconds = (
        float(sum(after[name].values()) - sum(before[name].values())) for name in ("steps", "step_s")
    )
    return seconds / max(steps, 1.0)


def _one_client(server: Server, mix: str) -> Outcome:
    return generate(
        LoadPlan(
            url=server.url,
            endpoint="/tts/stream",
            texts=texts(mix, TONE_TEXTS[mix], 7),
            warmup_texts=warmup_texts(mix, WARMUP, 7),
            clients=1,
            duration_s=SERVER_LOAD_S,
            hears=False,
        )
    )


def _http_cpu_s(server: Server) -> float:
    """CPU seconds of all processes of the server but the engine's."""
    assert server.process is not None, "it was started here"
    engine = engine_pid(server.process)
    total = 0.0
    for process in (server.process, *server.process.children(recursive=True)):
        if process.pid != engine:
            times = psutil.Process(process.pid).cpu_times()
            total += times.user + times.system
    return total


def _two(rows: Sequence[tuple[float, float]], used_s: Sequence[float]) -> tuple[float, float]:
    """What a request and what a chunk costs, neither below zero."""
    request_s, chunk_s = np.linalg.lstsq(np.array(rows), np.array(used_s), rcond=None)[0]
    if chunk_s < 0 or request_s < 0:
        requests, chunks = (sum(row[column] for row in rows) for column in (0, 1))
        return (sum(used_s) / requests, 0.0) if chunk_s < 0 else (0.0, sum(used_s) / chunks)
    return float(request_s), float(chunk_s)
