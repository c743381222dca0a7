"""python -m bench pressure: ten times more clients than fill the server, or a soak at a load that it holds.

overload: the peak of goodput, with FILLING clients, of whom more bring no more audio a second, and with four times as
many, which is what the profile lets in at once; and --times as many, by turns, each turn judged by the peaks before and
after it: a shared machine may be a sixth faster at the end than at the start. What a refusal costs is told in CPU time,
which is the same on any load: of a server whose only place is taken. soak: bench.faults.soak.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import psutil

from bench.faults.crowd import CrowdPlan, Seen, connected, speech_request
from bench.faults.server import SLOW, Victim, check, serving
from bench.load.http1 import Connection, HttpError, request_bytes
from bench.workload import texts

FILLING = 16
SETTLE_S = 2.0
TURNS = 3
"""Of the overload; the peak is measured before, between and after."""
PEAK_PART = 12
"""A peak is measured for this part of the overload's seconds."""
HEALTH_EVERY_S = 0.1
REFUSALS = 2000
"""So many are timed one after another."""


@dataclass
class Phase:
    """What one crowd saw, what /healthz took meanwhile, and who used the cores."""

    seen: Seen
    health_s: list[float]
    wall_s: float
    """From its first request to its last answer, and the start of its process."""
    http_cores: float
    """Of the HTTP process: CPU seconds a second; below, of the engine and of all that is not ours."""
    engine_cores: float
    other_cores: float

    @property
    def efficiency(self) -> float:
        """Seconds of audio of whole answers for one CPU second of the server, whatever others do on the machine."""
        return self.seen.heard_s / self.wall_s / (self.http_cores + self.engine_cores)


def press(victim: Victim, clients: int, duration_s: float, rate_rps: float = 0.0) -> Phase:
    """Let a crowd ask, in a process of its own, while this one asks for /healthz."""
    plan = CrowdPlan(
        url=victim.url,
        clients=clients,
        duration_s=duration_s,
        rate_rps=rate_rps,
        settle_s=min(SETTLE_S, duration_s / 4),
        texts=texts("short", 500, 7),
    )
    before, begun_s, machine = _used(victim), time.monotonic(), _busy_s()
    seen, health_s = asyncio.run(_beside(plan))
    wall_s = time.monotonic() - begun_s
    http_s, engine_s = (after - sooner for sooner, after in zip(before, _used(victim), strict=True))
    other_s = _busy_s() - machine - http_s - engine_s - seen.cpu_s
    return Phase(seen, health_s, wall_s, http_s / wall_s, engine_s / wall_s, max(other_s, 0.0) / wall_s)


async def _beside(plan: CrowdPlan) -> tuple[Seen, list[float]]:
    crowd = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.faults.crowd", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    health_s: list[float] = []
    watch = asyncio.create_task(_health(plan.url, health_s))
    try:
        told, _ = await crowd.communicate(msgspec.json.encode(plan))
        return msgspec.json.decode(told, type=Seen), health_s
    finally:
        watch.cancel()
        if crowd.returncode is None:
            crowd.kill()


async def _health(url: str, took_s: list[float]) -> None:
    ask = request_bytes("GET", urlsplit(url).netloc, "/healthz")
    connection: Connection | None = None
    while True:
        begun_s = time.monotonic()
        with contextlib.suppress(OSError, HttpError):  # a time out is told as what it took
            if connection is None or not connection.open:
                connection = await connected(url)
            await connection.request(ask, 10.0)
        took_s.append(time.monotonic() - begun_s)
        await asyncio.sleep(HEALTH_EVERY_S)


def _used(victim: Victim) -> tuple[float, float]:
    """CPU seconds that the HTTP process and the engine have used."""
    return _cpu_s(victim.http()), _cpu_s(victim.engine())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def ms(values_s: list[float], percent: float) -> str:
    """A percentile in words."""
    return f"{np.percentile(values_s, percent) * 1e3:.1f} ms" if values_s else "none"


def memory_mb(victim: Victim) -> float:
    """Memory that is its processes' own."""
    return float(sum(process.memory_full_info().uss for process in victim.family())) / 1e6


def first_ms(victim: Victim) -> float:
    """Median delay of the first sound of one client's requests, one after another, for three seconds."""
    return statistics.median(delay for _, delay in press(victim, 1, 3.0).seen.first_s) * 1e3


def refusal_cost_ms(folder: Path) -> tuple[float, list[float]]:
    """CPU time of the HTTP process for one refusal, and what each took, of a server whose one place is taken."""
    with serving(folder, *SLOW, "--set", "admission.max_requests=1") as victim:
        return asyncio.run(_refuse(victim))


async def _refuse(victim: Victim) -> tuple[float, list[float]]:
    holder, client = await connected(victim.url), await connected(victim.url)
    held = asyncio.create_task(holder.request(speech_request(victim.url, "a" * 4000), 120))
    try:
        ask = speech_request(victim.url, "One sentence of the usual length, to be refused.")
        while not holder.response.pieces:
            check(not held.done(), "the place could not be taken")
            await asyncio.sleep(0.05)
        took_s = []
        used_s = _cpu_s(victim.http())
        for _ in range(REFUSALS):
            begun_s = time.monotonic()
            answer = await client.request(ask, 10)
            took_s.append(time.monotonic() - begun_s)
            check(answer.status == 503 and client.open, f"refused with {answer.status}")
        # The chunks of the one that holds the place, 20 a second, are counted in: they are few beside.
        return (_cpu_s(victim.http()) - used_s) / REFUSALS * 1e3, took_s
    finally:
        holder.close()
        client.close()
        held.cancel()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("overload", "soak"))
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload")
    parser.add_argument("--times", type=int, default=10, help="the overload: so many times 16 clients")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak; 3 is its short form")
    parser.add_argument(
        "--share", type=float, default=0.8, help="of the soak: its load, as a share of the peak"
    )


def main(arguments: argparse.Namespace) -> int:
    """Press, and print the figures. Returns 1 if the soak found growth or the overload broke an answer."""
    with tempfile.TemporaryDirectory(prefix="tts-pressure-") as folder:
        if arguments.what == "soak":
            from bench.faults.soak import soak

            with serving(Path(folder)) as victim:
                return soak(victim, arguments.minutes, arguments.share)
        cost_ms, alone_s = refusal_cost_ms(Path(folder))
        print(
            f"one refusal alone         {cost_ms:.3f} ms of CPU; p50 {ms(alone_s, 50)}, p99 {ms(alone_s, 99)}"
        )
        with serving(Path(folder)) as victim:
            return _overload(victim, arguments.seconds, FILLING * arguments.times)


def _overload(victim: Victim, seconds: float, many: int) -> int:
    """The peak and the overload by turns, so that a machine that grows slower or faster meanwhile tells no lie."""
    first_ms(victim)
    before_ms, before_mb = first_ms(victim), memory_mb(victim)
    peaks: dict[int, list[Phase]] = {FILLING: [], 4 * FILLING: []}
    phases: list[Phase] = []
    for turn in range(TURNS + 1):
        for clients, of_peak in peaks.items():
            of_peak.append(press(victim, clients, seconds / PEAK_PART))
            print(f"goodput, {clients:3} clients      {_told(of_peak[-1])}", flush=True)
        if turn < TURNS:
            phases.append(press(victim, many, seconds / TURNS))
            refused = ms(phases[-1].seen.refused_s, 99)
            print(f"goodput, {many:3} clients      {_told(phases[-1])}; refusals p99 {refused}", flush=True)
    grown_mb = memory_mb(victim) - before_mb
    after_ms = first_ms(victim)
    best = max(peaks.values(), key=lambda of_peak: sum(phase.seen.goodput for phase in of_peak))
    _print_share("of the peak", [p.seen.goodput for p in phases], [p.seen.goodput for p in best])
    _print_share("for a CPU second", [p.efficiency for p in phases], [p.efficiency for p in best])
    seen = [phase.seen for phase in phases]
    broken = [why for one in seen for why in one.broken]
    print(f"whole answers             {sum(one.whole for one in seen)}; broken {len(broken)} {broken[:3]}")
    refused_s = [took_s for one in seen for took_s in one.refused_s]
    print(f"refusals                  {len(refused_s)}: p50 {ms(refused_s, 50)}, p99 {ms(refused_s, 99)}")
    asked = [retry_s for one in seen for retry_s in one.retry_after_s] or [0.0]
    print(f"  Retry-After             median {statistics.median(asked):.0f} s, most {max(asked):.0f} s")
    lag_s = [late_s for one in seen for late_s in one.lag_s]
    print(f"  the crowd's own lag     p50 {ms(lag_s, 50)}, p99 {ms(lag_s, 99)}")
    health_s = [took_s for phase in phases for took_s in phase.health_s]
    print(f"/healthz                  p50 {ms(health_s, 50)}, p99 {ms(health_s, 99)}")
    print(f"memory                    {grown_mb:+.0f} MB")
    print(f"first sound, one client   {before_ms:.0f} ms before, {after_ms:.0f} ms after")
    return 1 if broken else 0


def _print_share(what: str, overload: list[float], peak: list[float]) -> None:
    """Each turn of the overload as a share of the mean of the peaks before and after it."""
    shares = [
        loaded / statistics.mean(beside)
        for loaded, beside in zip(overload, itertools.pairwise(peak), strict=True)
    ]
    each = ", ".join(f"{share:.0%}" for share in shares)
    print(f"{what:25} {statistics.median(shares):.0%}, the median of {each}")


def _told(phase: Phase) -> str:
    seen = phase.seen
    first = ms([delay for _, delay in seen.first_s], 50)
    return (
        f"{seen.goodput:6.1f} audio s/s, {phase.efficiency:.0f} for a CPU second; first sound {first}; cores: "
        f"engine {phase.engine_cores:.2f}, HTTP {phase.http_cores:.2f}, crowd {seen.cpu_s / seen.took_s:.2f}, "
        f"others {phase.other_cores:.2f}"
    )
