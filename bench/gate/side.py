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
from itertools import accumulate
from pathlib import Path
from typing import IO, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bench.gate.messages import PROBE_VERSION, Books, Hello, Reply, Request
from bench.gate.proof.planted import write_hook
from bench.gate.quality import Wave
from bench.load.answers import WaveError, WaveReader
from bench.machine import tree_cpu_s, tree_peak_rss_bytes
from bench.servers.start import Server, StartFailed, start_server

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


PROBES = ("bench.gate.probe", "bench.probe")
"""Where a tree may hold its probe; the second place is that of commits before bench/ had folders."""
PLANTED_PROBE = "bench.gate.proof.planted"
BENCH_ROOT = Path(__file__).parents[2]
"""Where this program lies: a tree that holds only a model runs on it."""

AUDIBLE = 184
"""-45 dBFS of 16 bits."""


def first_sound(pcm: bytes) -> int:
    """The byte at which 16-bit samples can first be heard; 0 if they never can."""
    loud = np.abs(np.frombuffer(pcm, "<i2", len(pcm) // 2).astype(np.int32)) > AUDIBLE
    return 2 * int(loud.argmax()) if loud.any() else 0


Answer = TypeVar("Answer", Hello, Reply)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Where a side's code lies, and what is special to it."""

    path: Path
    overrides: Sequence[str] = ()
    """Settings of this side alone; the sweep compares two settings of one tree."""
    planted: float = 0.0
    """Share of its CPU time that the engine burns in addition, for the proof of the gate."""

    @property
    def holds_server(self) -> bool:
        """Whether it is a copy of this program, and not a project that uses the installed one.

        A copy whose server was renamed or left out is one too: it must not be measured by the installed server.
        """
        places = (self.path, self.path / "src")
        return self._holds_probe() is not None or any(
            (place / "serving" / "__init__.py").is_file() for place in places
        )

    def probe_command(self) -> list[str] | None:
        """The interpreter's arguments that start this tree's own probe; None if it is a copy without one."""
        if self.planted:
            return ["-m", PLANTED_PROBE, str(self.planted)]
        if not self.holds_server:
            return ["-m", PROBES[0]]
        name = self._holds_probe()
        return None if name is None else ["-m", name]

    def _holds_probe(self) -> str | None:
        return next(
            (name for name in PROBES if self.path.joinpath(*name.split(".")).with_suffix(".py").is_file()),
            None,
        )

    def python_path(self) -> str:
        """The tree, and behind it this program if the tree is no copy of it."""
        return os.pathsep.join([str(self.path)] + [str(BENCH_ROOT)] * (not self.holds_server))


class SideFailed(RuntimeError):
    """A side could not be measured: it did not start, died, or answered with an error."""

    def __init__(self, side: str, why: str, *, layout: bool = False) -> None:
        super().__init__(f"{side}: {why}")
        self.side = side
        self.layout = layout
        """It is in order, but of another layout than this gate can drive."""


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
        self._environ = {"PYTHONPATH": tree.python_path()}
        self._stack = ExitStack()
        self._log: IO[str] = self._stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        self._probe: subprocess.Popen[str] | None = None
        self._server: Server | None = None
        self._books = Books()
        self._address = ("", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- the engine ----------------------------------------------------------------------------------------

    def start_probe(self) -> None:
        """Start the probe and wait for it. Raises SideFailed if it cannot be, or runs another tree's code."""
        self._check_tree()
        command = self._tree.probe_command()
        if command is None:
            raise SideFailed(self.name, "it holds no probe", layout=True)
        self._probe = subprocess.Popen(
            [sys.executable, *command, self._profile, *self._overrides],
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
            raise SideFailed(
                self.name,
                f"its probe speaks version {hello.version}, this gate {PROBE_VERSION}",
                layout=True,
            )
        if self._tree.holds_server and Path(hello.tree).resolve() != self._tree.path.resolve():
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
        asked_s = time.perf_counter()
        reply = self._read(Reply, ANSWER_TIMEOUT_S)
        if reply.cpu_s:
            self._books.waited_s += time.perf_counter() - asked_s
            self._books.stated_wall_s += reply.wall_s
            self._books.stated_cpu_s += reply.cpu_s
            self._books.stated_audio_s += reply.audio_s
        if reply.error is not None:
            raise self._failed(reply.error)
        if request.what == "speak" and not reply.audio_s > 0:
            raise self._failed("it spoke no audio")
        return reply

    def open_books(self) -> None:
        """Begin to hold what the probe states against what its processes take."""
        self._books = Books(opened_cpu_s=tree_cpu_s(self._running().pid))

    def books(self) -> Books:
        """What was stated and taken since open_books()."""
        self._books.used_cpu_s = tree_cpu_s(self._running().pid) - self._books.opened_cpu_s
        return self._books

    # ---- the server ----------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the HTTP server on a free port and wait for it. Raises SideFailed."""
        self._check_tree()
        environ = self._environ
        if self._tree.planted:
            hook = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-planted-")))
            write_hook(hook, self._tree.planted)
            environ = {"PYTHONPATH": os.pathsep.join([str(hook), environ["PYTHONPATH"]])}
        server = start_server(
            "granian",
            self._profile,
            cwd=str(self._tree.path),
            environ=environ,
            overrides=self._overrides,
            timeout_s=START_TIMEOUT_S,
        )
        try:
            self._server = self._stack.enter_context(server)
        except StartFailed as failure:
            raise SideFailed(self.name, str(failure)) from failure
        url = urlsplit(self._server.url)
        self._address = (url.hostname or "", url.port or 0)

    def server_cpu_s(self) -> float:
        """CPU seconds that the server's processes have used so far."""
        return self._running_server().cpu_s() or 0.0

    def server_memory_mib(self) -> float:
        """Resident memory of the server's processes at their peaks. Raises SideFailed if nothing tells."""
        pid = self._running_server().pid
        peak = None if pid is None else tree_peak_rss_bytes(pid)
        if peak is None:
            raise self._failed("nothing tells the memory of its server")
        return peak / 2**20

    def ask_http(self, text: str, path: str = "/tts/stream") -> tuple[float, float, int]:
        """One request: seconds to the first sound, seconds to the last byte, bytes of pcm. Raises SideFailed."""
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_TIMEOUT_S)
        body = json.dumps({"text": text, "format": "pcm", "seed": 1})
        try:
            connection.connect()
            started_s = time.perf_counter()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise self._failed(f"{path} answered {response.status}")
            pieces: list[tuple[float, bytes]] = []
            while data := response.read1():
                pieces.append((time.perf_counter() - started_s, data))
            total_s = time.perf_counter() - started_s
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(f"{path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        audio = b"".join(data for _, data in pieces)
        if not audio:
            raise self._failed(f"{path} sent no audio")
        ends = accumulate(len(data) for _, data in pieces)
        sound = first_sound(audio)
        first_s = next(moment for (moment, _), end in zip(pieces, ends, strict=True) if end > sound)
        return first_s, total_s, len(audio)

    def speak(self, texts: Sequence[str], clients: int) -> list[Wave]:
        """The waves of the texts through /tts/stream by `clients` clients at once, in order. Raises SideFailed."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self._speak, texts))

    def _speak(self, text: str) -> Wave:
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_TIMEOUT_S)
        body = json.dumps({"text": text, "format": "wav", "seed": 1})
        try:
            connection.request("POST", "/tts/stream", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(f"/tts/stream: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise self._failed(f"/tts/stream answered {response.status}")
        reader = WaveReader()
        try:
            audio = reader.feed(content)
        except WaveError as error:
            raise self._failed(f"/tts/stream: {error}") from error
        if reader.frame_bytes != 2 or len(audio) % 2:
            raise self._failed("/tts/stream sent a WAV that is not 16 bit mono")
        return Wave(np.frombuffer(audio, "<i2") / np.float32(32768), reader.sample_rate_hz)

    def burst(self, texts: Sequence[str], clients: int) -> tuple[float, int]:
        """The texts through /tts/stream by `clients` clients at once: seconds in all, bytes of pcm in all."""
        started_s = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            sizes = [size for _, _, size in pool.map(self.ask_http, texts)]
        return time.perf_counter() - started_s, sum(sizes)

    # ---- processes -----------------------------------------------------------------------------------------

    def _check_tree(self) -> None:
        """A copy of this program without its server would be measured by whatever server is installed."""
        if self._tree.holds_server and not (self._tree.path / "serving" / "__init__.py").is_file():
            raise SideFailed(
                self.name, "it holds no serving/, and no other server is measured for it", layout=True
            )

    def _running_server(self) -> Server:
        if self._server is None:
            raise RuntimeError("start_server() comes first")
        return self._server

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
        return SideFailed(self.name, f"{why}{last}")


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
