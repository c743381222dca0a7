"""The server that is hurt: started, asked, and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

TONE = ("--set", "model.name=tone", "--set", "engine.threads=1", "--set", "engine.device=cpu")
"""The smallest model: these faults are not about the voice."""
SLOW = ("--set", "model.name=bench.faults.faulty", "--set", "engine.threads=1", "--set", "engine.device=cpu")
"""The same, 20 steps a second of one letter each."""
START_S = 90.0
SERVE = ("serving", "serve")


class FaultError(AssertionError):
    """The server did not do what it should."""


def check(holds: object, otherwise: str) -> None:
    """Raise FaultError with `otherwise` unless `holds`."""
    if not holds:
        raise FaultError(otherwise)


def until(holds: Callable[[], object], limit_s: float, what: str) -> float:
    """Wait until it holds; the seconds that took. Raises FaultError after limit_s."""
    begun_s = time.monotonic()
    while not holds():
        check(time.monotonic() - begun_s < limit_s, f"{what}: not within {limit_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - begun_s


class Victim:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.host = urlsplit(url).hostname or ""
        self.port = urlsplit(url).port or 0

    def family(self) -> list[psutil.Process]:
        """Its processes, the main one first."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def http(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def engine(self) -> psutil.Process:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "serving.engine.process" in process.cmdline():
                    return process
        raise FaultError("there is no engine")

    def status(self, path: str, timeout_s: float = 2.0) -> int:
        """Status of GET; 0 if none came in time."""
        try:
            return httpx.get(self.url + path, timeout=timeout_s).status_code
        except httpx.HTTPError:
            return 0

    def speak(self, text: str = "Hello.", timeout_s: float = 30.0) -> httpx.Response:
        return httpx.post(f"{self.url}/tts", json={"text": text}, timeout=timeout_s)

    def files(self) -> int:
        """Open files of all its processes."""
        return sum(process.num_fds() for process in self.family())


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: str,
    environ: dict[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
    command: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    cwd: Path | None = None,
    program: tuple[str, ...] = SERVE,
    start_s: float = START_S,
    port: int = 0,
) -> Iterator[Victim]:
    """A server on a free port; at the end nothing of it is left. `prepare` runs in its process before it begins."""
    log = folder / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as stderr:
        process = start(
            stderr.fileno(),
            *arguments,
            port=port,
            environ=environ,
            prepare=prepare,
            command=command,
            flags=flags,
            cwd=cwd,
            program=program,
        )
    try:
        yield Victim(process, _url(process, log, start_s), log)
    finally:
        end(process)


def start(
    stderr: int,
    *arguments: str,
    port: int = 0,
    environ: dict[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
    command: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    cwd: Path | None = None,
    program: tuple[str, ...] = SERVE,
) -> subprocess.Popen[bytes]:
    """Start `serve`, or another module that takes --port, with its log in `stderr`; `flags` are the interpreter's."""
    return subprocess.Popen(
        [*command, sys.executable, *flags, "-m", *program, "--port", str(port), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=os.environ | (environ or {}),
        preexec_fn=prepare,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and whatever it left."""
    left = []
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
    for child in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    if process.poll() is None:
        process.kill()
        process.wait(10)


def _url(process: subprocess.Popen[bytes], log: Path, start_s: float) -> str:
    until_s = time.monotonic() + start_s
    while time.monotonic() < until_s:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"ready at (https?://\S+): ", text):
            return found[1]
        check(process.poll() is None, f"the server ended with {process.returncode}: {text[-500:]}")
        time.sleep(0.05)
    raise FaultError(f"the server was not ready within {start_s:g} s")


class Reader(threading.Thread):
    """Reads one stream to its end, and knows how that was."""

    def __init__(self, victim: Victim, text: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{victim.url}/tts/stream"
        self._text = text
        self.first = threading.Event()
        self.size = 0
        """Bytes that came."""
        self.ended = ""
        """whole, cut, or the status of a refusal."""
        self.start()

    def run(self) -> None:
        body = {"text": self._text, "format": "pcm"}
        try:
            with httpx.stream("POST", self._url, json=body, timeout=60) as answer:
                if answer.status_code != 200:
                    self.ended = str(answer.status_code)
                    return
                for piece in answer.iter_raw():
                    self.size += len(piece)
                    self.first.set()
            self.ended = "whole"
        except httpx.HTTPError:
            self.ended = "cut"
        finally:
            self.first.set()


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not any(_runs(process) for process in processes)


def _runs(process: psutil.Process) -> bool:
    try:
        # The first thread of a killed process may be a zombie while others hold its files for a moment more.
        is_over = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return bool(process.is_running() and not is_over)
    except psutil.NoSuchProcess:
        return False


def hang_up(victim: Victim) -> None:
    """What a terminal that is closed sends, to every process of the main one's group."""
    os.killpg(os.getpgid(victim.process.pid), signal.SIGHUP)
