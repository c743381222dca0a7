"""One probe: a load on a fresh server for a while, and what came of it as a cell of the bench.

A server that has heard nothing before answers each probe, so that no probe profits or suffers from another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec

from bench.load.cell import CpuMeter
from bench.load.generator import LoadPlan, generate
from bench.load.listeners import Listener, bursts, listeners, texts_of
from bench.load.trace import Asked
from bench.load.validity import KEEPS_ANSWERS, accuse, keeps_answers, validate
from bench.machine import tree_peak_rss_bytes
from bench.records import Cell
from bench.servers.start import Server, StartFailed
from bench.targets.spec import Target
from bench.workload import Workload

Fresh = Callable[[], AbstractContextManager[Server]]
"""Starts a server that has served nobody, and ends it: functools.partial(start_server, "granian") for one."""
Kind = Literal["rate", "streams"]
KINDS: dict[Kind, str] = {"rate": "requests/s", "streams": "listeners"}
"""What is searched for, and its unit."""
TEXTS_PER_S = 1.0
"""Of each listener: the shortest texts are heard for two seconds."""
LONGEST_WAIT_S = 30.0
"""A request that has not ended by then is lost: a probe far beyond the edge must end too."""
RAMP_SHARE = 0.25
"""Of a probe: over so long the listeners come, one after another. Requests due in it are load and no evidence."""
WARMUP_MOST = 8


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the users do, besides how many there are."""

    texts: str = "short"
    duration_s: float = 15.0
    think_mean_s: float = 1.0
    """Of listeners: exponential, after they have played the answer."""
    barge_in_share: float = 0.0
    burst: int = 1
    """Requests at the same moment, of an open loop."""
    word_interval_s: float | None = None
    """Text arrives word by word, this far apart, over the WebSocket of vLLM-Omni or of the target's own adapter."""
    trace: list[Asked] | None = None
    """An open loop replays it, as fast as the rate wants."""

    def ramp_s(self, kind: Kind) -> float:
        """Requests due before it are no evidence."""
        return RAMP_SHARE * self.duration_s if kind == "streams" else 0.0


def measure(
    fresh: Fresh, kind: Kind, amount: float, load: Load, *, seed: int, order: int, waves: Path
) -> Cell:
    """One probe. Its kept waves are named relative to the parent of `waves`. Raises StartFailed."""
    with fresh() as server:
        plan = plan_of(server, kind, amount, load, seed=seed)
        plan.waves, plan.name = str(waves), f"{order:03d}-{server.arm}-{kind}"
        meter = CpuMeter(server)
        outcome = generate(plan)
        server_cpu, others_cpu = meter.shares()
        left_its_cores = meter.fault()
        peak = None if server.pid is None else tree_peak_rss_bytes(server.pid)
        alive, info = server.alive(), server.info
    for sample in outcome.samples:
        if sample.wave is not None:
            sample.wave = f"{waves.name}/{sample.wave}"
    cell = Cell(
        arm=server.arm,
        mode="open" if kind == "rate" else "closed",
        endpoint="/tts/stream",
        texts=load.texts,
        clients=None if kind == "rate" else round(amount),
        rate_rps=amount if kind == "rate" else None,
        arrivals="poisson" if kind == "rate" and load.trace is None else None,
        order=order,
        seed=seed,
        duration_s=load.duration_s,
        warmup_requests=len(plan.warmup_texts),
        samples=outcome.samples,
        generator=outcome.generator,
        server_before=outcome.stats_before,
        server_after=outcome.stats_after,
        server_cpu_share=server_cpu,
        others_cpu_share=others_cpu,
        server_cpu_s=outcome.server_cpu_s,
        server_peak_rss_bytes=peak,
        energy_j=outcome.energy_j,
    )
    validate(cell)
    accuse(cell, left_its_cores)
    if keeps_answers(info):
        accuse(cell, [KEEPS_ANSWERS])
    if not alive:
        accuse(cell, [DIED])
    return cell


DIED = "the server ended during the probe"


def plan_of(server: Server, kind: Kind, amount: float, load: Load, *, seed: int) -> LoadPlan:
    """The load of one probe, the same for the same seed. Raises StartFailed if the target cannot take such text."""
    target = server.target
    if load.word_interval_s is not None:
        target = word_by_word(target, load.word_interval_s)
    target = msgspec.structs.replace(
        target, timeout_s=min(target.timeout_s, LONGEST_WAIT_S + load.duration_s)
    )
    workload = Workload(seed)
    due: list[float] | None = None
    if kind == "streams":
        count = round(amount) * (2 + round(TEXTS_PER_S * load.duration_s))
        said = workload.texts(load.texts, count, "probe")
        who = listeners(count, seed, think_mean_s=load.think_mean_s, barge_in_share=load.barge_in_share)
    elif load.trace is not None:
        asked = replayed(load.trace, amount, load.duration_s)
        due = [one.time_s for one in asked]
        said = texts_of([one.characters for one in asked], seed)
        who = [Listener(leave_after_s=one.cancel_after_s, voice=one.voice) for one in asked]
    else:
        due = bursts(amount, load.duration_s, load.burst, seed)
        said = workload.texts(load.texts, len(due), "probe")
        who = listeners(len(due), seed, barge_in_share=load.barge_in_share)
    return LoadPlan(
        url=server.url,
        target=target,
        endpoint="/tts/stream",
        texts=said,
        warmup_texts=workload.warmup_texts(load.texts, min(max(2, round(amount)), WARMUP_MOST), "probe"),
        clients=round(amount) if kind == "streams" else None,
        due_s=due,
        duration_s=load.duration_s,
        min_requests=1,
        listeners=who,
        stagger_s=load.ramp_s(kind),
        server_pid=server.pid,
        keep_waves=2,
        keep_doubtful=1,
        seed=seed,
    )


def word_by_word(target: Target, word_interval_s: float) -> Target:
    """The same server, with text that arrives as it is written. Raises StartFailed for an adapter that cannot."""
    if target.adapter == "tts":
        target = msgspec.structs.replace(target, adapter="omni")
    if not target.socket:
        raise StartFailed(
            f"{target.name}: text word by word needs a WebSocket, not the adapter {target.adapter}"
        )
    return msgspec.structs.replace(target, word_interval_s=word_interval_s)


def replayed(trace: Sequence[Asked], rate_rps: float, duration_s: float) -> list[Asked]:
    """A trace at another speed, so that its mean rate is `rate_rps`, again and again until the time is full."""
    length_s = len(trace) / rate_rps
    span_s = trace[-1].time_s * len(trace) / max(1, len(trace) - 1) or 1.0
    found: list[Asked] = []
    for lap in range(int(duration_s / length_s) + 1):
        for one in trace:
            at_s = (lap + one.time_s / span_s) * length_s
            if at_s >= duration_s:
                break
            found.append(msgspec.structs.replace(one, time_s=at_s))
    return found
