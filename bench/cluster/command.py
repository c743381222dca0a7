"""python -m bench cluster: a Ray of two nodes on this machine and what comes of it. Words choose: `bench cluster kill`.

The devices are stood in for (bench/cluster/device.py), so that two engines need no more cores than one; only `cores`
speaks with a real model, an engine on a core of its own (bench/cluster/cores.py; --model chooses). The way there is
measured with the tone model, which costs nothing and so hides nothing of it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
from rich.console import Console

from bench.cluster.asking import audio_s, hang_up, one_by_one, together, told
from bench.cluster.cores import LOADS, SENTENCE, cores
from bench.cluster.nodes import START_S, Nodes, clustered, nodes, proxied, replicas, slots, words
from bench.faults.server import FaultError, Victim, check, serving, until
from bench.machine import tree_cpu_s

ALONE = ("engine.device=cpu", "engine.threads=1", "engine.workers=1")
TONE = ("model.name=bench.cluster.device", "model.options.step_s=0.001", *ALONE)
DEVICE = ("model.name=bench.cluster.device", *ALONE)
LONG = f"{SENTENCE} " * 4
PAGE = f"{SENTENCE} " * 12
ROUNDS, REQUESTS = 5, 12
"""Of the way's measurement: each round asks every arm so often, in turn."""
BATCH_S = 4.0
CLIENTS = 24
LOAD_S = 15.0
LEAVERS, LEFT_MS = 20, 200.0
PORT = 8124
CORES = "cores"


def way(ray: Nodes, folder: Path) -> str:
    """What the way to an engine costs: one request at a time, and many; three servers side by side, in turn."""
    with (
        serving(folder, *words(TONE), start_s=START_S) as single,
        # First, for who starts Serve says whether its proxy listens.
        proxied(ray, folder, PORT, *TONE) as rays,
        clustered(ray, folder, 1, *TONE) as ours,
    ):
        arms = {"one process": single, "our ingress, handles": ours, "Ray's proxy": rays}
        first: dict[str, list[float]] = {name: [] for name in arms}
        cpu: dict[str, list[float]] = {name: [] for name in arms}
        rate: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(ROUNDS):
            for name, arm in arms.items():
                heard = asyncio.run(one_by_one(arm.url, SENTENCE, REQUESTS))
                check(
                    all(one.status == 200 for one in heard), f"{name}: {Counter(one.status for one in heard)}"
                )
                if number:  # the first round warms up
                    first[name] += [one.first_s * 1e3 for one in heard]
            for name, arm in arms.items():
                before = _cpu_s(arm, ours, rays)
                heard, took_s = asyncio.run(together(arm.url, SENTENCE, 8, BATCH_S))
                if number:
                    rate[name].append(len(heard) / took_s)
                    cpu[name].append((_cpu_s(arm, ours, rays) - before) / len(heard) * 1e3)
        lines = [
            f"{name}: first byte p50 {statistics.median(first[name]):.1f} ms, "
            f"{statistics.median(rate[name]):.0f} requests/s, {statistics.median(cpu[name]):.1f} ms of CPU each"
            for name in arms
        ]
        return "; ".join(lines)


def second(ray: Nodes, folder: Path) -> str:
    """What a second engine brings, of devices that are full."""
    made = []
    for engines in (1, 2):
        with clustered(ray, folder, engines, *DEVICE) as victim:
            asyncio.run(together(victim.url, LONG, CLIENTS, 3))
            heard, took_s = asyncio.run(together(victim.url, LONG, CLIENTS, LOAD_S))
            check(all(one.whole for one in heard), f"not all are whole: {told(heard)}")
            made.append(audio_s(heard) / took_s)
    return f"{made[0]:.1f} audio s/s with one engine, {made[1]:.1f} with two: {made[1] / made[0]:.2f} times"


def kill(ray: Nodes, folder: Path) -> str:
    """A replica killed under load."""
    with clustered(ray, folder, 2, *DEVICE) as victim:
        return _killed(victim, lambda: replicas()[0].kill())


def node(ray: Nodes, folder: Path) -> str:
    """A raylet killed under load, with all that runs on its node; then another node joins."""
    with clustered(ray, folder, 2, *DEVICE) as victim:
        said = _killed(victim, ray.kill_other, again=False)
        begun_s = time.monotonic()
        ray.add_other()
        until(lambda: slots(victim) == 32, 300, "two engines")
        return f"{said}; two engines {time.monotonic() - begun_s:.0f} s after a new node was begun"


def leave(ray: Nodes, folder: Path) -> str:
    """How soon an engine is free of a listener who has left."""
    took_ms = []
    with clustered(ray, folder, 2, *DEVICE) as victim:
        for _ in range(LEAVERS):
            aborted = _stats(victim)["requests"]["aborted"]
            left_s = asyncio.run(hang_up(victim.url, PAGE))

            def free(aborted: int = aborted) -> bool:
                now = _stats(victim)
                return now["requests"]["aborted"] > aborted and not now["slots_used"]

            until(free, 10, "the engine is free")
            took_ms.append((time.monotonic() - left_s) * 1e3)
    median_ms = statistics.median(took_ms)
    check(median_ms <= LEFT_MS, f"{median_ms:.0f} ms at the median")
    return (
        f"engine free after {median_ms:.0f} ms at the median, {max(took_ms):.0f} ms at most, "
        f"{LEAVERS} times, as /stats tells"
    )


PARTS: dict[str, Callable[[Nodes, Path], str]] = {
    "second": second,
    "leave": leave,
    "kill": kill,
    "node": node,
    "way": way,
}


def _cpu_s(arm: Victim, *on_ray: Victim) -> float:
    """CPU seconds of a server's processes, and, of those on Ray, of everything of Ray's."""
    total = tree_cpu_s(arm.process.pid)
    if arm in on_ray:
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                if words.startswith("ray::") or "raylet" in words or "gcs_server" in words:
                    times = process.cpu_times()
                    total += times.user + times.system
                elif "serving.engine.process" in words and process.parent() is not None:
                    parent = process.parent()
                    if parent is not None and "ray::" in " ".join(parent.cmdline()):
                        times = process.cpu_times()
                        total += times.user + times.system
            except psutil.NoSuchProcess:
                continue
    return total


def _stats(victim: Victim) -> dict:  # type: ignore[type-arg]
    counters = httpx.get(f"{victim.url}/stats", timeout=10).json()
    check("requests" in counters, f"no counters: {counters}")
    return dict(counters)


def _killed(victim: Victim, strike: Callable[[], None], *, again: bool = True) -> str:
    """Load, `strike` in the middle of it, and what the listeners heard."""
    struck: list[float] = []
    in_flight: list[int] = []

    def meanwhile() -> None:
        in_flight.append(_stats(victim)["slots_used"])
        struck.append(time.monotonic())
        strike()
        in_flight.append(_stats(victim)["slots_used"])

    heard, _ = asyncio.run(
        together(
            victim.url, LONG, CLIENTS, LOAD_S, meanwhile, paths=("/tts/stream", "/tts/stream", "/tts", "/tts")
        )
    )
    lost = [one for one in heard if not one.whole or one.status != 200]
    check(
        len(lost) < CLIENTS,
        f"{len(lost)} of {len(heard)} were lost, and the other engine had some of {CLIENTS}",
    )
    check(lost, "nothing was lost: nothing was killed")
    unclear = [one for one in lost if one.status not in (0, 200) and "is gone" not in one.said]
    check(not unclear, f"no clear error: {told(unclear)}")
    said = (
        f"{len(lost)} of {len(heard)} lost, half of {CLIENTS} clients hearing streams, the others whole answers "
        f"(slots in use before {in_flight[0]}, after {in_flight[1]}): {told(lost)}"
    )
    if again:
        until(lambda: slots(victim) == 32, 300, "two engines")
        said += f"; two engines {time.monotonic() - struck[0]:.0f} s after"
    return said


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "only",
        nargs="*",
        choices=[CORES, *PARTS, []],
        metavar="PART",
        help=f"of {', '.join((CORES, *PARTS))}",
    )
    parser.add_argument(
        "--model", choices=[*LOADS], nargs="+", default=[*LOADS], help="what `cores` speaks with"
    )


def main(arguments: argparse.Namespace) -> int:
    """Returns 1 if something was lost that should not have been."""
    parts: dict[str, Callable[[Nodes, Path], str]] = {}
    if not arguments.only or CORES in arguments.only:
        parts = {f"{CORES}, {model}": partial(cores, model=model) for model in arguments.model}
    parts |= {name: part for name, part in PARTS.items() if not arguments.only or name in arguments.only}
    console = Console(width=160)
    failed = 0
    with nodes() as ray, tempfile.TemporaryDirectory(prefix="tts-cluster-") as folder:
        console.print(f"two nodes at {ray.address}")
        for name, part in parts.items():
            try:
                console.print(f"{name}: {part(ray, Path(folder))}")
            except (FaultError, httpx.HTTPError, OSError) as error:
                console.print(f"{name}: FAILED: {type(error).__name__}: {error}")
                failed += 1
    return 1 if failed else 0
