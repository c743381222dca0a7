"""Measure a table of costs on this machine's CPU: the engine's steps, and what server and client do beside them.

Nothing of what is to be predicted is measured: steps are timed in this process without a server, and the server's share
with a model that costs next to nothing (`tone`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import msgspec
import numpy as np
import psutil

from bench.load.generator import LoadPlan, Outcome, generate
from bench.machine import machine
from bench.metrics import audio_s, ttfa_s
from bench.records import Sample
from bench.servers.start import Server, engine_pid, start_server
from bench.simulate.costs import CostTable, Crowd, ServerCost, Wait, not_negative
from bench.simulate.crowds import crowd, socket_s, wake_s
from bench.simulate.steps import StepMeter
from bench.workload import texts, warmup_texts
from serving.models import load_frontend
from serving.models.base import Frontend
from serving.profile import Profile, load_profile
from serving.protocol import SpeechParams
from serving.text import read

TONE = ("model.name=tone",)
TONE_STEPS = 2
"""Steps of a tone before its first sound."""
TONE_LOADS: tuple[tuple[str, dict[str, int]], ...] = (
    ("short", {}),
    ("long", {}),
    ("long", {"max_text_tokens_per_segment": 20}),
)
"""Mixes of texts, and what is asked for: from long segments come long chunks."""
SERVER_LOAD_S = 1.5
WARMUP = 4
"""Requests before the load; the server is billed for them too."""
TONE_TEXTS = {"short": 1000, "long": 150}
"""As many as it may ask for meanwhile."""


def measure_costs(profile: Profile, *, rounds: int = 2) -> CostTable:
    """A table for the embedded voice, or another model of the CPU, on this machine. Takes some 40 seconds.

    Raises ProfileError.
    """
    frontend = load_frontend(profile)
    meter = StepMeter(profile, frontend)
    for _ in range(rounds):
        meter.round()
    with start_server("granian", profile.name, overrides=TONE) as server:
        return table_of(meter, server_costs(server, profile, frontend, meter))


def table_of(meter: StepMeter, server: ServerCost) -> CostTable:
    """The table of all rounds so far."""
    turn_s, poll_s, hand_s = meter.loop_s()
    speeds = meter.speeds()
    # The server was measured with one client, at the speed of a machine with one core busy.
    work = ["request_s", "per_character_s", "chunk_s", "per_audio_s", "send_s", "io_s"]
    work += ["client_request_s", "client_chunk_s", "client_per_audio_s"]
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
    """CPU time of a text frontend, per character of texts that it has not seen."""
    unseen = texts("long", 40, 900)
    params = SpeechParams(voice=frontend.spec.default_voice, seed=0, fields=frontend.spec.fields())
    for text in unseen[:10]:
        list(frontend.segments(read(text), params))
    began_s = time.thread_time()
    for text in unseen[10:]:
        list(frontend.segments(read(text), params))
    return (time.thread_time() - began_s) / sum(map(len, unseen[10:]))


@dataclass(frozen=True, slots=True)
class _Tone:
    """What loads of one client at a tone's server took: few chunks a request, many, and many short ones."""

    counts: list[tuple[float, float, float]]
    """Requests, chunks and seconds of audio of each load, as all below."""
    http_s: list[float]
    """CPU seconds, without the text frontend's."""
    client_s: list[float]
    step_s: float
    """Wall seconds of a step of the tone, with what it waits for."""
    ttfa_s: float
    first_audio_s: float
    """Seconds of audio of a first chunk."""


def server_costs(server: Server, profile: Profile, frontend: Frontend, meter: StepMeter) -> ServerCost:
    """Beside the engine's own, of a server started with TONE: work of the HTTP process and of the client, and waits.

    The work is that of a request, a chunk and a second of audio, by TONE_LOADS of one client: three equations for
    either process. What is left of the TTFA is waiting, once the engine's part is taken off: its steps, which it counts
    itself, what `meter` says of the loop, and its threads' wakes. Waits are measured on a machine that is otherwise
    idle, and on one whose cores are busy with steps of the model that is to be predicted, stepping back or not.
    """
    tone_character_s = _seconds_per_character(load_frontend(load_profile(profile.name, TONE)))
    tones: dict[Crowd, _Tone] = {}
    wakes: dict[Crowd, float] = {}
    tolds: dict[Crowd, float] = {}
    kinds: tuple[Crowd, ...] = ("idle", "behind", "pressing")
    for kind in kinds:
        with crowd(kind, profile, frontend, meter.model) as told_s:
            tones[kind] = _tone(server, tone_character_s)
            told_s.clear()  # with no server beside it now
            wakes[kind] = wake_s()
        tolds[kind] = mean(told_s) if told_s else wakes[kind]
    counts = np.array(tones["idle"].counts)
    http = not_negative(counts, np.array(tones["idle"].http_s))
    client = not_negative(counts, np.array(tones["idle"].client_s))
    # The same counts beside steps, at what they cost without.
    alone_s = float((np.array(tones["behind"].counts) @ (http + client)).sum())
    crowded = sum(tones["behind"].http_s + tones["behind"].client_s) / alone_s
    turn_s, _, hand_s = meter.loop_s()
    send_s, io_s = socket_s()

    def hop_s(kind: Crowd) -> float:
        """A quarter of the TTFA that is left: there are four messages on the way."""
        tone = tones[kind]
        both = http + client
        work_s = float(both[0] / 2 + both[1] + both[2] * tone.first_audio_s)
        work_s = (
            work_s * (1.0 if kind == "idle" else crowded) + send_s + io_s + TONE_STEPS * (turn_s + hand_s)
        )
        if kind == "pressing":
            work_s *= (meter.cores + 1) / meter.cores  # its fair share of the cores
        waited_s = TONE_STEPS * (tone.step_s + 2 * wakes[kind])
        return max(0.0, tone.ttfa_s - work_s - waited_s) / 4

    def wait(waits: Mapping[Crowd, float]) -> Wait:
        return Wait(idle_s=waits["idle"], behind_s=waits["behind"], pressing_s=waits["pressing"])

    return ServerCost(
        request_s=float(http[0]),
        per_character_s=_seconds_per_character(frontend),
        chunk_s=float(http[1]),
        per_audio_s=float(http[2]),
        client_request_s=float(client[0]),
        client_chunk_s=float(client[1]),
        client_per_audio_s=float(client[2]),
        send_s=send_s,
        io_s=io_s,
        crowded=crowded,
        hop=wait({kind: hop_s(kind) for kind in kinds}),
        wake=wait(wakes),
        told=wait(tolds),
    )


def _tone(server: Server, character_s: float) -> _Tone:
    """`character_s`: CPU seconds of the tone's own text frontend for a character."""
    counts: list[tuple[float, float, float]] = []
    http: list[float] = []
    client: list[float] = []
    steps_s: list[float] = []
    samples: list[Sample] = []
    for mix, fields in TONE_LOADS:
        before, steps_before = _http_cpu_s(server), server.stats()
        outcome = _one_client(server, mix, fields)
        used_s = _http_cpu_s(server) - before
        steps_s.append(_step_s(steps_before, server.stats()))
        asked = len(outcome.samples)
        characters = sum(sample.characters for sample in outcome.samples)
        chunks = sum(len(sample.events) for sample in outcome.samples)
        counts.append((asked, chunks, sum(map(audio_s, outcome.samples))))
        http.append(max(0.0, used_s * asked / (asked + WARMUP) - characters * character_s))
        client.append(outcome.generator.cpu_share * max(sample.end_s for sample in outcome.samples))
        samples += outcome.samples
    return _Tone(
        counts,
        http,
        client,
        step_s=median(steps_s),
        ttfa_s=median(first for sample in samples if (first := ttfa_s(sample)) is not None),
        first_audio_s=median(sample.events[0][1] / 2 / sample.sample_rate_hz for sample in samples),
    )


def _step_s(before: dict[str, Any] | None, after: dict[str, Any] | None) -> float:
    """Seconds of a step, on average, by what the engine counted between two answers of /stats."""
    assert before is not None, "a server of ours"
    assert after is not None
    steps, seconds = (
        float(sum(after[name].values()) - sum(before[name].values())) for name in ("steps", "step_s")
    )
    return seconds / max(steps, 1.0)


def _one_client(server: Server, mix: str, fields: dict[str, int]) -> Outcome:
    return generate(
        LoadPlan(
            url=server.url,
            endpoint="/tts/stream",
            texts=texts(mix, TONE_TEXTS[mix], 7),
            warmup_texts=warmup_texts(mix, WARMUP, 7),
            clients=1,
            duration_s=SERVER_LOAD_S,
            fields=fields,
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
