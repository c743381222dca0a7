"""A limit of cores that holds: some libraries pin their own threads, and so leave the cores that they were given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import psutil


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
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(root)
        for process in (parent, *parent.children(recursive=True)):
            for thread in _threads(process):
                with contextlib.suppress(ProcessLookupError):
                    if not os.sched_getaffinity(thread) <= allowed:
                        os.sched_setaffinity(thread, allowed)
                        left += 1
    return left


def _threads(process: psutil.Process) -> list[int]:
    try:
        return [thread.id for thread in process.threads()]
    except psutil.NoSuchProcess:
        return []
