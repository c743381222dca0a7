"""python -m bench pressure: ten times more clients than the server holds, or a soak at a load that it holds.

overload: peak goodput with as many clients as there are slots, then that many times --times. soak: --clients for
--minutes; memory, open files and the delay of the first sound are looked at all the time, and their slopes must not
be above zero by more than chance.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from bench.faults.server import Victim, serving
from bench.workload import texts

SLOTS = 16
REFUSED_PAUSE_S = 1.0
"""A client that was refused comes again after this; the server itself asks for as much or more."""
HEALTH_EVERY_S = 0.1
BYTES_PER_S = 48_000
"""Of the embedded voice: 24 kHz, 16 bits."""


@dataclass
class Seen:
    """What the clients of one phase saw."""

    spoken_s: float = 0.0
    whole: int = 0
    broken: int = 0
    refused_s: list[float] = field(default_factory=list)
    first_s: list[tuple[float, float]] = field(default_factory=list)
    """When, and the delay of the first sound."""
    health_s: list[float] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def goodput(self) -> float:
        """Seconds of audio of whole answers in a second."""
        return self.spoken_s / self.took_s


async def _client(http: httpx.AsyncClient, lines: list[str], seen: Seen, until_s: float, number: int) -> None:
    turn = number
    while time.monotonic() < until_s:
        body = {"text": lines[turn % len(lines)], "format": "pcm"}
        turn += 1
        begun_s = time.monotonic()
        size = 0
        try:
            async with http.stream("POST", "/tts/stream", json=body) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    seen.refused_s.append(time.monotonic() - begun_s)
                    await asyncio.sleep(REFUSED_PAUSE_S)
                    continue
                async for piece in answer.aiter_raw():
                    if not size:
                        seen.first_s.append((begun_s, time.monotonic() - begun_s))
                    size += len(piece)
        except httpx.HTTPError:
            seen.broken += 1
            continue
        seen.whole += 1
        seen.spoken_s += size / BYTES_PER_S


async def _health(http: httpx.AsyncClient, seen: Seen) -> None:
    while True:
        begun_s = time.monotonic()
        await http.get("/healthz")
        seen.health_s.append(time.monotonic() - begun_s)
        await asyncio.sleep(HEALTH_EVERY_S)


async def _phase(url: str, clients: int, duration_s: float) -> Seen:
    seen = Seen()
    lines = texts("short", 500, 7)
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http,
        httpx.AsyncClient(base_url=url, timeout=10) as probe,
    ):
        begun_s = time.monotonic()
        watch = asyncio.create_task(_health(probe, seen))
        work = (_client(http, lines, seen, begun_s + duration_s, number) for number in range(clients))
        await asyncio.gather(*work)
        seen.took_s = time.monotonic() - begun_s
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    return seen


def _ms(values_s: list[float], percent: float) -> str:
    return f"{np.percentile(values_s, percent) * 1e3:.0f} ms" if values_s else "none"


def _memory_mb(victim: Victim) -> float:
    return float(sum(process.memory_full_info().uss for process in victim.family())) / 1e6


def _first_ms(url: str) -> float:
    """Median delay of the first sound of five requests, one after another."""
    took = asyncio.run(_phase(url, 1, 3.0))
    return statistics.median(delay for _, delay in took.first_s) * 1e3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("overload", "soak"))
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload")
    parser.add_argument("--times", type=int, default=10, help="the overload, in clients for each slot")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak; 3 is its short form")
    parser.add_argument("--clients", type=int, default=3, help="of the soak")


def main(arguments: argparse.Namespace) -> int:
    """Press, and print the figures. Returns 1 if the soak found growth or the overload broke an answer."""
    with tempfile.TemporaryDirectory(prefix="tts-pressure-") as folder, serving(Path(folder)) as victim:
        _first_ms(victim.url)
        if arguments.what == "overload":
            return _overload(victim, arguments)
        return _soak(victim, arguments)


def _overload(victim: Victim, arguments: argparse.Namespace) -> int:
    before_ms, peak = _first_ms(victim.url), asyncio.run(_phase(victim.url, SLOTS, arguments.seconds / 3))
    memory_mb = _memory_mb(victim)
    seen = asyncio.run(_phase(victim.url, SLOTS * arguments.times, arguments.seconds))
    after_ms, grown_mb = _first_ms(victim.url), _memory_mb(victim) - memory_mb
    many = SLOTS * arguments.times
    print(f"peak goodput, {SLOTS} clients   {peak.goodput:.1f} audio s/s")
    print(f"goodput, {many} clients       {seen.goodput:.1f} audio s/s, {seen.goodput / peak.goodput:.0%}")
    print(f"whole answers             {seen.whole}; broken {seen.broken}")
    p50, p99 = _ms(seen.refused_s, 50), _ms(seen.refused_s, 99)
    print(f"refusals                  {len(seen.refused_s)}: p50 {p50}, p99 {p99}")
    print(f"/healthz                  p50 {_ms(seen.health_s, 50)}, p99 {_ms(seen.health_s, 99)}")
    print(f"memory                    {grown_mb:+.0f} MB")
    print(f"first sound, one client   {before_ms:.0f} ms before, {after_ms:.0f} ms after")
    return 1 if seen.broken else 0


def _soak(victim: Victim, arguments: argparse.Namespace) -> int:
    async def soak() -> tuple[Seen, list[tuple[float, float, float]]]:
        looks: list[tuple[float, float, float]] = []

        async def look() -> None:
            while True:
                looks.append((time.monotonic(), _memory_mb(victim), float(victim.files())))
                await asyncio.sleep(max(arguments.minutes / 3, 1.0))

        watch = asyncio.create_task(look())
        try:
            return await _phase(victim.url, arguments.clients, arguments.minutes * 60), looks
        finally:
            watch.cancel()

    begun_s = time.monotonic()
    seen, looks = asyncio.run(soak())
    settled = [entry for entry in looks if entry[0] - begun_s > arguments.minutes * 60 / 5]
    slow = [entry for entry in seen.first_s if entry[0] - begun_s > arguments.minutes * 60 / 5]
    load = psutil.cpu_percent()
    print(
        f"{seen.whole} whole answers, {seen.broken} broken, goodput {seen.goodput:.1f} audio s/s, CPU {load:.0f} %"
    )
    grows = False
    for name, unit, points in (
        ("memory", "MB/min", [(at, memory) for at, memory, _ in settled]),
        ("open files", "/min", [(at, files) for at, _, files in settled]),
        ("first sound", "ms/min", [(at, delay * 1e3) for at, delay in slow]),
    ):
        slope, margin = slope_per_min(points)
        grows |= slope - margin > 0
        print(f"{name:12} {slope:+.3f} {unit}, 95 % interval {slope - margin:+.3f} to {slope + margin:+.3f}")
    return 1 if grows or seen.broken else 0


def slope_per_min(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Least squares over (seconds, value): the slope in a minute, and the half width of its 95 % interval."""
    at, value = np.array(points, dtype=float).T
    at = (at - at.mean()) / 60
    spread = float((at**2).sum())
    slope = float((at * (value - value.mean())).sum() / spread)
    rest = value - value.mean() - slope * at
    error = float(np.sqrt((rest**2).sum() / max(len(at) - 2, 1) / spread))
    return slope, 1.96 * error
