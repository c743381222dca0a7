"""Measure a table of costs on this machine's CPU: the engine's steps, and what server and client do beside them.

Nothing of what is to be predicted is measured: steps are timed in this process without a server, and the server's share
with a model that costs next to nothing (`tone`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from bench.indextts2.offline import Streams
from bench.load.generator import LoadPlan, Outcome, generate
from bench.machine import machine
from bench.metrics import ttfa_s
from bench.servers.start import Server, engine_pid, start_server
from bench.simulate.costs import CostTable, ServerCost, Step, StepCost, fit
from bench.simulate.listeners import TIMEOUT_S
from bench.simulate.speeches import speeches
from bench.workload import texts, warmup_texts
from serving.engine.loop import EngineLoop
from serving.engine.runner import Launched, Runner, pick_device, pick_workers
from serving.models import load_frontend, load_model
from serving.models.base import Frontend, Model
from serving.profile import EngineProfile, Profile
from serving.protocol import SpeechParams, Submit
from serving.text import read

if TYPE_CHECKING:
    from typing import Any

STREAMS = (1, 3, 8, 16)
"""Loads under which steps are timed: steps of one row and of many."""
STREAM_TEXTS = 3
"""Texts of each stream."""
TONE = ("model.name=tone",)
SERVER_LOAD_S = 5.0


class TimedRunner(Runner):
    """A runner that notes the CPU time of each launch, in the thread that runs it."""

    def __init__(self, model: Model, engine: EngineProfile, device: torch.device) -> None:
        super().__init__(model, engine, device)
        self.timed: list[Step] = []
        self._lock = threading.Lock()

    def launch(self, name: str, states: Sequence[Any]) -> Launched:
        longest = max(state.length for state in states)
        began_s = time.thread_time()
        launched = super().launch(name, states)
        seconds = time.thread_time() - began_s
        with self._lock:
            self.timed.append(Step(name, len(states), len(states) * longest, seconds))
        return launched


def measure_costs(profile: Profile) -> CostTable:
    """A table for the embedded voice, or another model of the CPU, on this machine. Takes about two minutes."""
    frontend = load_frontend(profile)
    device = pick_device(profile.engine)
    cores = os.cpu_count() or 1
    workers, threads = pick_workers(profile.engine, device, cores)
    torch.set_num_threads(threads)
    model = load_model(profile, device, getattr(torch, profile.engine.dtype))
    runner = TimedRunner(model, profile.engine, device)
    runner.warm(lambda *_: None)
    _run(profile, frontend, model, runner, 1, seed=1)
    alone, _ = _timed(profile, frontend, model, runner, 1)
    together, turn_s = _timed(profile, frontend, model, runner, workers)
    stages = dict(fit(alone))
    slower = _ratio(stages, together)
    server = _server_costs(profile, _seconds_per_character(frontend), turn_s)
    return CostTable(
        device=str(machine().get("cpu", "cpu")),
        source=f"measured: {len(alone)} steps one by one, {len(together)} on {workers} workers, the server by a tone",
        stages=stages,
        speeds=tuple(1.0 if busy == 0 else 1 / slower for busy in range(cores)),
        server=server,
    )


def _timed(
    profile: Profile, frontend: Frontend, model: Model, runner: TimedRunner, workers: int
) -> tuple[list[Step], float]:
    """The steps of all loads, and the CPU seconds that the process spends for each beside its launch."""
    runner.timed.clear()
    began_s = time.process_time()
    _run(profile, frontend, model, runner, workers, seed=2)
    used_s = time.process_time() - began_s
    steps = list(runner.timed)
    return steps, max(0.0, used_s - sum(step.seconds for step in steps)) / len(steps)


def _run(
    profile: Profile, frontend: Frontend, model: Model, runner: Runner, workers: int, *, seed: int
) -> None:
    for streams in STREAMS:
        for mix in ("short", "long"):
            wanted = islice(speeches(frontend, mix, seed * 100 + streams), streams * STREAM_TEXTS)
            prepared = [
                Submit(
                    request_id=f"{streams}-{mix}-{number}",
                    params=speech.params,
                    streaming=True,
                    timeout_s=TIMEOUT_S,
                    segments=list(speech.segments),
                    last=True,
                )
                for number, speech in enumerate(wanted)
            ]
            pair = Streams(
                waiting=[prepared[stream::streams] for stream in range(streams)],
                rate_hz=model.spec.sample_rate_hz,
                streaming=True,
            )
            loop = EngineLoop(profile, pair, model, runner, workers)
            pair.begin()
            loop.run()


def _ratio(stages: dict[str, StepCost], steps: Sequence[Step]) -> float:
    """How many times longer these steps took than the fitted costs say, at least 1."""
    by_stage: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_stage[step.stage].append(step)
    weighted = [
        (
            median(step.seconds / stages[name].of(step.rows, step.units) for step in some),
            sum(s.seconds for s in some),
        )
        for name, some in by_stage.items()
    ]
    return max(1.0, sum(ratio * weight for ratio, weight in weighted) / sum(weight for _, weight in weighted))


def _seconds_per_character(frontend: Frontend) -> float:
    """CPU time of the text frontend, per character of texts that it has not seen."""
    unseen = texts("long", 40, 900)
    params = SpeechParams(voice=frontend.spec.default_voice, seed=0, fields=frontend.spec.fields())
    for text in unseen[:10]:
        list(frontend.segments(read(text), params))
    began_s = time.process_time()
    for text in unseen[10:]:
        list(frontend.segments(read(text), params))
    return (time.process_time() - began_s) / sum(map(len, unseen[10:]))


def _server_costs(profile: Profile, per_character_s: float, turn_s: float) -> ServerCost:
    """CPU seconds per request and per chunk, of the HTTP process and of the client; what is left of TTFA is waiting.

    Two loads of one client each give two equations for either process: few chunks a request, and many.
    """
    rows: list[tuple[float, float]] = []
    http: list[float] = []
    client: list[float] = []
    first_s: list[float] = []
    with start_server("granian", profile.name, overrides=TONE) as server:
        for mix in ("short", "long"):
            before = _http_cpu_s(server)
            outcome = _one_client(server, mix)
            http.append(_http_cpu_s(server) - before)
            client.append(outcome.generator.cpu_share * max(sample.end_s for sample in outcome.samples))
            rows.append((len(outcome.samples), sum(len(sample.events) for sample in outcome.samples)))
            first_s += [first for sample in outcome.samples if (first := ttfa_s(sample)) is not None]
    request_s, chunk_s = _two(rows, http)
    client_request_s, client_chunk_s = _two(rows, client)
    worked_s = request_s / 2 + chunk_s + client_request_s / 2 + client_chunk_s + turn_s
    return ServerCost(
        request_s=request_s,
        per_character_s=per_character_s,
        chunk_s=chunk_s,
        client_request_s=client_request_s,
        client_chunk_s=client_chunk_s,
        turn_s=turn_s,
        hop_s=max(0.0, median(first_s) - worked_s) / 4,
    )


def _one_client(server: Server, mix: str) -> Outcome:
    return generate(
        LoadPlan(
            url=server.url,
            endpoint="/tts/stream",
            texts=texts(mix, 5000, 7),
            warmup_texts=warmup_texts(mix, 4, 7),
            clients=1,
            duration_s=SERVER_LOAD_S,
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
