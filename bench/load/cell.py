"""Measure one server at one load point: one cell of a run.

Each cell has its own generator process, its own warm-up and its own texts, which are the same for every arm.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from bench.load.again import KEEPS_IN_FACT
from bench.load.bystanders import Bystanders
from bench.load.generator import LoadPlan, generate
from bench.load.validity import KEEPS_ANSWERS, accuse, keeps_answers, validate
from bench.machine import cpu_s, tree_peak_rss_bytes
from bench.records import Cell, LoadPoint
from bench.servers.start import Server
from bench.workload import Workload, arrivals, mean_characters

CHARACTERS_PER_SECOND = 24_000
"""Of the texts prepared per second of a closed loop: 1,500 s of audio; a faster server ends its cell early."""
HEARD_BY_CHANCE, HEARD_IN_DOUBT = 2, 2
"""Waves per cell that a recogniser hears: drawn by chance (of 16 answers that are sure to come one, where that is
more), and those that are most in doubt."""
STAGGER_SHARE = 0.125
"""Of its duration: the clients of a closed loop begin one after the other over this long."""
LONGEST_TIMES = 3.0
"""A closed loop lasts at least this many times its longest request."""
LEAST_REQUESTS = 4
"""A closed loop sends at least this number, or one per client if that is more."""


def measure_cell(
    server: Server,
    point: LoadPoint,
    *,
    duration_s: float,
    workload: Workload,
    seed: int,
    warmup_most: int,
    waves: Path,
    repeat: int = 0,
    order: int = 0,
    unasked: Sequence[Server] = (),
) -> Cell:
    """One server at one load point, with its verdict. Some waves are kept in `waves` for the speech check.

    `unasked` are the other servers that are up.

    `seed` is that of the arrivals, which may be known; texts and the choice of waves have the workload's.
    Samples name their wave relative to the parent of `waves`.
    """
    due = None
    place = f"{point.endpoint} {point.load} {repeat}"
    wanted = round(CHARACTERS_PER_SECOND / mean_characters(point.texts) * duration_s)
    wanted += max(point.clients or 1, LEAST_REQUESTS)
    if point.rate_rps is not None:
        due = arrivals("poisson", point.rate_rps, duration_s, seed)
        wanted = len(due)
    warmup = workload.warmup_texts(point.texts, min(max(2, point.clients or 2), warmup_most), place)
    plan = LoadPlan(
        url=server.url,
        target=server.target,
        endpoint=point.endpoint,
        texts=workload.texts(point.texts, wanted, place),
        warmup_texts=warmup,
        clients=point.clients,
        due_s=due,
        duration_s=duration_s,
        min_requests=max(point.clients or 1, LEAST_REQUESTS),
        stagger_s=STAGGER_SHARE * duration_s,
        longest_times=LONGEST_TIMES,
        keep_waves=max(HEARD_BY_CHANCE, (len(due) if due else LEAST_REQUESTS * (point.clients or 1)) // 16),
        keep_doubtful=HEARD_IN_DOUBT,
        seed=workload.seed + order,
        server_pid=server.pid,
        waves=str(waves),
        name=f"{order:03d}-{server.arm}",
    )
    meter = CpuMeter(server)
    bystanders = Bystanders(unasked)
    outcome = generate(plan)
    server_cpu_share, others_cpu = meter.shares()
    left_its_cores = meter.fault()
    for sample in outcome.samples:
        if sample.wave is not None:
            sample.wave = f"{waves.name}/{sample.wave}"
    cell = Cell(
        arm=server.arm,
        mode=point.mode,
        endpoint=point.endpoint,
        texts=point.texts,
        clients=point.clients,
        rate_rps=point.rate_rps,
        arrivals=None if due is None else "poisson",
        repeat=repeat,
        order=order,
        seed=seed,
        duration_s=duration_s,
        warmup_requests=len(warmup),
        samples=outcome.samples,
        generator=outcome.generator,
        server_before=outcome.stats_before,
        server_after=outcome.stats_after,
        server_cpu_share=server_cpu_share,
        others_cpu_share=others_cpu,
        server_cpu_s=outcome.server_cpu_s,
        energy_j=outcome.energy_j,
        server_peak_rss_bytes=None if server.pid is None else tree_peak_rss_bytes(server.pid),
    )
    validate(cell)
    accuse(cell, left_its_cores)
    bystanders.accuse(cell)
    if keeps_answers(server.info):
        accuse(cell, [KEEPS_ANSWERS])
    if server.keeps_answers:
        accuse(cell, [KEEPS_IN_FACT])
    return cell


class CpuMeter:
    """Who used the cores from now on: the server, the generator (a child that ends meanwhile), or others."""

    def __init__(self, server: Server) -> None:
        self._server = server
        server.hold_to_cores()
        self._began = self._now()

    def _now(self) -> tuple[float, float | None, float, float]:
        own = os.times()
        generator = own.children_user + own.children_system
        return time.monotonic(), self._server.cpu_s(), generator, cpu_s()[0]

    def fault(self) -> list[str]:
        """What the server took beside its limit, as a reason against the cell."""
        left = self._server.hold_to_cores()
        found = [f"left its cores: {left} threads ran on cores beside its limit"] if left else []
        found += [f"took priority: {what}" for what in self._server.priority()]
        return found

    def shares(self) -> tuple[float | None, float | None]:
        """Cores used by the server and, of this machine, by others; None where nobody can tell."""
        (began, server, generator, busy), (now, *ended) = self._began, self._now()
        elapsed_s = now - began
        if server is None or ended[0] is None:
            return None, None
        used, generated, total = ended[0] - server, (ended[1] or 0.0) - generator, (ended[2] or 0.0) - busy
        return used / elapsed_s, max(0.0, total - used - generated) / elapsed_s
