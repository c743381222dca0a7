"""A Ray of two nodes on this machine, each a raylet with a core, and what runs there."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx
import psutil

from bench.faults.server import Victim, check, serving, until

STORE_BYTES = 150_000_000
START_S = 300.0
SLOTS = 16
"""Of an engine, unless a setting says otherwise."""
_END = "import ray, sys; from ray import serve; ray.init(address=sys.argv[1]); serve.shutdown()"
PATIENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "300",
    # Other programs on the machine may hold its memory; Ray would end replicas for it.
    "RAY_memory_monitor_refresh_ms": "0",
    # As `tts-serving cluster` has it.
    "RAY_worker_niceness": "0",
}


class Nodes:
    """The head node and another; a replica takes the core of one of them."""

    def __init__(self) -> None:
        os.environ.update(PATIENT)
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={**_node(), "include_dashboard": False},
        )
        self._other = self._add()

    def _add(self) -> object:
        return self._cluster.add_node(**_node())

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def kill_other(self) -> None:
        """Kill the raylet of the node that is not the head, as a machine that fails does."""
        self._cluster.remove_node(self._other, allow_graceful=False)

    def add_other(self) -> None:
        """Another machine in its place."""
        self._other = self._add()

    def end_engines(self) -> None:
        """They outlive the HTTP process, since others might share them."""
        ended = subprocess.run(
            [sys.executable, "-c", _END, self.address],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        check(ended.returncode == 0, f"the engines cannot be ended: {ended.stderr[-300:]}")

    def close(self) -> None:
        self._cluster.shutdown()


def _node() -> dict[str, int]:
    """A node of one core. Unless its ports are given, a raylet waits 15 s for its helpers to name them, then ends."""
    ports = (
        "metrics_agent_port",
        "metrics_export_port",
        "runtime_env_agent_port",
        "dashboard_agent_listen_port",
    )
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(contextlib.closing(socket.socket())) for _ in ports]
        for one in sockets:
            one.bind(("", 0))
        free = [one.getsockname()[1] for one in sockets]
    return {"num_cpus": 1, "object_store_memory": STORE_BYTES, **dict(zip(ports, free, strict=True))}


@contextlib.contextmanager
def nodes() -> Iterator[Nodes]:
    """Both, and at the end none of their processes."""
    made = Nodes()
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def clustered(
    nodes: Nodes,
    folder: Path,
    engines: int,
    *settings: str,
    slots_each: int = SLOTS,
    profile: str = "default",
) -> Iterator[Victim]:
    """`tts-serving cluster` with so many engines on these nodes, all of them ready."""
    ours = (
        f"cluster.address={nodes.address}",
        f"cluster.replicas={engines}",
        f"engine.max_slots={slots_each}",
    )
    arguments = ("--profile", profile, *words((*ours, *settings)))
    with serving(folder, *arguments, program=("serving", "cluster"), start_s=START_S) as victim:
        until(lambda: slots(victim) == engines * slots_each, START_S, f"{engines} engines")
        yield victim
    nodes.end_engines()


@contextlib.contextmanager
def proxied(nodes: Nodes, folder: Path, port: int, *settings: str) -> Iterator[Victim]:
    """The whole server as a replica behind Ray's own proxy."""
    arguments = ("--address", nodes.address, *words((f"engine.max_slots={SLOTS}", *settings)))
    program = ("bench.cluster.proxied",)
    with serving(folder, *arguments, program=program, start_s=START_S, port=port) as victim:
        yield victim


def words(settings: tuple[str, ...]) -> list[str]:
    """Settings as the command line takes them."""
    return [word for setting in settings for word in ("--set", setting)]


def slots(victim: Victim) -> int:
    """Of all its engines together; 0 while they do not tell."""
    answer = httpx.get(f"{victim.url}/stats", timeout=10)
    return int(answer.json()["slots"]) if answer.status_code == 200 else 0


def replicas() -> list[psutil.Process]:
    """Processes of replicas on these nodes, which are children of this process; the oldest first."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ray::ServeReplica" in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def pin(count: int, others: Collection[int] = ()) -> list[psutil.Process]:
    """Give each of `count` engines a core of its own; the engines, the oldest first. `others`: ids to leave out."""
    engines = [
        child
        for replica in replicas()
        for child in replica.children(recursive=True)
        if "serving.engine.process" in child.cmdline() and child.pid not in others
    ]
    check(len(engines) == count, f"{len(engines)} engines instead of {count}")
    cores = sorted(psutil.Process().cpu_affinity() or ())
    check(len(cores) >= count, f"{count} engines want a core each, and there are {len(cores)}")
    for engine, core in zip(engines, cores, strict=False):
        for thread in engine.threads():
            psutil.Process(thread.id).cpu_affinity([core])
        engine.cpu_affinity([core])
    return engines
