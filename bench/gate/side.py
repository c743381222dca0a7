"""Base or head, running: the probe and the HTTP server of one tree, and the work they are asked for."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from bench.gate.messages import PROBE_VERSION, Hello, Reply, Request
from bench.servers.start import StartFailed, start_server

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


PROBES = ("bench.gate.probe", "bench.probe")
"""Where a tree may hold its probe; the second place is that of commits before bench/ had folders."""
PLANTED_PROBE = "bench.gate.planted"

Answer = TypeVar("Answer", Hello, Reply)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Where a side's code lies, and what is special to it."""

    path: Path
    overrides: Sequence[str] = ()
    """Settings of this side alone; the sweep compares two settings of one tree."""
    planted: float = 0.0
    """Share of each step's CPU time that the probe's engine burns in addition, for the proof of the gate."""

    def probe_command(self) -> list[str]:
        """The interpreter's arguments that start this tree's own probe."""
        if self.planted:
            return ["-m", PLANTED_PROBE, str(self.planted)]
        paths = {name: self.path.joinpath(*name.split(".")).with_suffix(".py") for name in PROBES}
        return ["-m", next((name for name, path in paths.items() if path.is_file()), PROBES[0])]


class SideFailed(RuntimeError):
    """A side could not be measured: it did not start, died, or answered with an error."""


class Side:
    """The processes of one tree, while the context lasts. Nothing is left of them afterwards."""

    def __init__(
        self,
        name: str,
        tree: Tree,
        profile: str,
        overrides: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._tree = tree
        self._profile = profile
        self._overrides = (*overrides, *tree.overrides)
        self._environ = {"PYTHONPATH": str(tree.path)}
        self._stack = ExitStack()
        self._log: IO[str] = self._stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        self._probe: subprocess.Popen[str] | None = None
        self._address = ("", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- the engine ----------------------------------------------------------------------------------------

    def start_probe(self) -> None:
        """Start the probe and wait for it. Raises SideFailed if it cannot be, or runs another tree's code."""
        self._probe = subprocess.Popen(
            [sys.executable, *self._tree.probe_command(), self._profile, *self._overrides],
            cwd=self._tree.path,
            # As in an engine process of its own: idle OpenMP threads sleep and leave the other side its core.
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **self._environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._stack.callback(_stop, self._probe)
        hello = self._read(Hello, START_TIMEOUT_S)
        if hello.version != PROBE_VERSION:
            raise self._failed(f"its probe speaks version {hello.version}, this gate {PROBE_VERSION}")
        if Path(hello.tree).resolve() != self._tree.path.resolve():
            raise self._failed("it runs the code of another tree")

    def ask(self, request: Request) -> Reply:
        """Let the probe do some work. Raises SideFailed."""
        pipe = self._running().stdin
        assert pipe is not None
        try:
            pipe.write(msgspec.json.encode(request).decode() + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._failed("the probe died") from None
        reply = self._read(Reply, ANSWER_TIMEOUT_S)
        if reply.error is not None:
            raise self._failed(reply.error)
        return reply

    # ---- the server ----------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the HTTP server on a free port and wait for it. Raises SideFailed."""
        if self._tree.planted:
            raise SideFailed(f"{self.name}: a slow-down is planted in the probe's engine alone")
        server = start_server(
            "granian",
            self._profile,
            cwd=str(self._tree.path),
            environ=self._environ,
            overrides=self._overrides,
            timeout_s=START_TIMEOUT_S,
        )
        try:
            url = urlsplit(self._stack.enter_context(server).url)
        except StartFailed as failure:
            raise SideFailed(f"{self.name}: {failure}") from failure
        self._address = (url.hostname or "", url.port or 0)

    def stream(self, text: str) -> tuple[float, float, int]:
        """One /tts/stream request: seconds to the first audio byte, seconds to the last, bytes of pcm."""
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_TIMEOUT_S)
        body = json.dumps({"text": text, "format": "pcm", "seed": 1})
        try:
            connection.connect()
            started_s = time.perf_counter()
            connection.request("POST", "/tts/stream", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise self._failed(f"/tts/stream answered {response.status}")
            size, first_s = 0, 0.0
            while data := response.read1():
                first_s = first_s or time.perf_counter() - started_s
                size += len(data)
            total_s = time.perf_counter() - started_s
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(f"/tts/stream: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if not size:
            raise self._failed("/tts/stream sent no audio")
        return first_s, total_s, size

    def burst(self, texts: Sequence[str], clients: int) -> tuple[float, int]:
        """The texts through /tts/stream by `clients` clients at once: seconds in all, bytes of pcm in all."""
        started_s = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            sizes = [size for _, _, size in pool.map(self.stream, texts)]
        return time.perf_counter() - started_s, sum(sizes)

    # ---- processes -----------------------------------------------------------------------------------------

    def _running(self) -> subprocess.Popen[str]:
        if self._probe is None:
            raise RuntimeError("start_probe() comes first")
        return self._probe

    def _read(self, kind: type[Answer], timeout_s: float) -> Answer:
        pipe = self._running().stdout
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                raise self._failed(f"the probe did not answer within {timeout_s:g} s")
        line = pipe.readline()
        if not line:
            raise self._failed("the probe died")
        return msgspec.json.decode(line, type=kind)

    def _failed(self, why: str) -> SideFailed:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        last = f" (last line: {lines[-1][:200]})" if lines else ""
        return SideFailed(f"{self.name}: {why}{last}")


def _stop(process: subprocess.Popen[str]) -> None:
    """End the probe: by the end of its input, then by force."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
