"""A tree with a planted slow-down: its engine takes a known share more CPU time, and as much longer.

    python -m bench.gate.proof.planted SHARE PROFILE [KEY=VALUE ...]

The proof of the gate starts it in place of the probe. A server is planted by a file sitecustomize.py that it finds on
its path. The server's code knows nothing of either: the runner's methods are replaced in the process that runs them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

RUNNER = "serving.engine.runner"
IDLE_S = 0.005
"""After a longer gap between two steps the engine was idle, and what the process did then is not a step's."""
BLOCK = bytes(8192)
"""Hashing this takes microseconds and frees the interpreter for other threads, as a step of torch does."""

Clock = Callable[[], float]


class Burner:
    """Burns `share` of the CPU time that the process's steps take, all threads and the way between steps included.

    It burns and does not sleep, so that CPU seconds show it as the clock does: with one thread of work both grow by
    the share. What one burn took too much, the next takes less, so the sum is exact whatever the clock's grain.
    """

    def __init__(
        self,
        share: float,
        process_cpu: Clock = time.process_time,
        thread_cpu: Clock = time.thread_time,
        wall: Clock = time.perf_counter,
    ) -> None:
        self.share = share
        self._process_cpu, self._thread_cpu, self._wall = process_cpu, thread_cpu, wall
        self._lock = threading.Lock()
        self._counted_s = 0.0
        """CPU time of the process that was paid for, the burnt included."""
        self._owed_s = 0.0
        self._left_at = float("-inf")

    def __call__(self, call: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        """The same call, after which the calling thread burns what is owed."""

        @functools.wraps(call)
        def slow(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            if self._wall() - self._left_at > IDLE_S:
                self._counted_s = self._process_cpu()
            try:
                return call(*args, **kwargs)
            finally:
                with self._lock:
                    self._pay()

        return slow

    def _pay(self) -> None:
        now_s = self._process_cpu()
        self._owed_s += self.share * (now_s - self._counted_s)
        began_s = self._thread_cpu()
        while (burnt_s := self._thread_cpu() - began_s) < self._owed_s:
            hashlib.sha256(BLOCK)
        self._owed_s -= burnt_s
        self._counted_s = now_s + burnt_s
        self._left_at = self._wall()


def plant(share: float, runner: ModuleType) -> None:
    """Slow down every step of the engines that this process runs: its launch and its finish."""
    burner = Burner(share)
    runner.Runner.launch = burner(runner.Runner.launch)
    runner.Runner.finish = burner(runner.Runner.finish)


class _Planter(importlib.abc.MetaPathFinder):
    """Plants as soon as a process of the server imports the runner; one that never does imports no torch for it."""

    def __init__(self, share: float) -> None:
        self._share = share

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != RUNNER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_and_plant(module: ModuleType) -> None:
            execute(module)
            plant(self._share, module)

        loader.exec_module = exec_and_plant
        return spec


def plant_on_import(share: float) -> None:
    """Plant in this process, now or when it imports the runner."""
    if RUNNER in sys.modules:
        plant(share, sys.modules[RUNNER])
    else:
        sys.meta_path.insert(0, _Planter(share))


def write_hook(folder: Path, share: float) -> None:
    """Write a sitecustomize.py: Python runs it at the start of every process that has the folder on its path."""
    (folder / "sitecustomize.py").write_text(
        f"from {__name__} import plant_on_import\n\nplant_on_import({share!r})\n", encoding="utf-8"
    )


def main(arguments: Sequence[str]) -> None:
    """Plant, then run the probe."""
    plant_on_import(float(arguments[0]))
    from bench.gate import probe  # it imports the server, which is to find the hook

    probe.main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
