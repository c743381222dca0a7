"""A limit of cores that holds: some libraries pin their own threads, and so leave the cores that they were given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import psutil

from bench.machine import family


@contextlib.contextmanager
def started_on(cores: Sequence[int] | None) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores; on those of the bench if None."""
    if cores is None:
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def hold(root: int, cores: Sequence[int]) -> int:
    """Put every thread of a process and of its descendants back on `cores`; how many had left them.

    onnxruntime, for one, gives each thread of its pool a core of the machine, whatever the process was allowed.
    """
    allowed, left = set(cores), 0
    for process in family(root):
        for thread in _threads(process):
            with contextlib.suppress(ProcessLookupError):
                if not os.sched_getaffinity(thread) <= allowed:
                    os.sched_setaffinity(thread, allowed)
                    left += 1
    return left


def advantages(root: int, *, above: int | None = None) -> list[str]:
    """How threads of a server go before others of this machine: a real-time class, a priority above the bench's.

    `above`: in place of the bench's own nice value.
    """
    if not hasattr(os, "sched_getscheduler"):
        return []
    usual = os.getpriority(os.PRIO_PROCESS, 0) if above is None else above
    found = set()
    for process in family(root):
        for thread in _threads(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                nice = os.getpriority(os.PRIO_PROCESS, thread)
                if nice < usual:
                    found.add(f"nice {nice}")
                if os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
                    found.add("a real-time class")
    return sorted(found)


def _threads(process: psutil.Process) -> list[int]:
    try:
        return [thread.id for thread in process.threads()]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
