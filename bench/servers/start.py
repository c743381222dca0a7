"""Start and stop the servers under test.

A server is started in a process group of its own on a free port, watched until it is ready, and ended with
its whole group, also after an exception. A start that fails raises: it is a failed run and never a zero.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

START_TIMEOUT_S = 600.0
"""A compile profile may take minutes."""
STOP_TIMEOUT_S = 15.0
POLL_S = 0.02


class StartFailed(RuntimeError):
    """The server did not become ready; the message ends with the end of its output."""


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """How a server under test is started."""

    description: str
    command: tuple[str, ...]
    """Arguments of the Python interpreter; {port} and {profile} are filled in."""

    def arguments(self, port: int, profile: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, *(word.format(port=port, profile=profile) for word in self.command)]


ARMS: dict[str, ArmSpec] = {
    "granian": ArmSpec(
        "our server: Litestar on Granian, the engine in its own process",
        ("-m", "serving", "serve", "--host", "127.0.0.1", "--port", "{port}", "--profile", "{profile}"),
    ),
    "twin": ArmSpec(
        "our server once more: what differs between it and granian is noise",
        ("-m", "serving", "serve", "--host", "127.0.0.1", "--port", "{port}", "--profile", "{profile}"),
    ),
    "uvicorn": ArmSpec(
        "our application and engine under uvicorn instead of Granian",
        ("-m", "bench.servers.under_uvicorn", "--port", "{port}", "--profile", "{profile}"),
    ),
    "reference": ArmSpec(
        "the plain server: FastAPI + uvicorn, the hibari-tts package per request in two threads",
        ("-m", "bench.servers.reference", "--port", "{port}"),
    ),
}


@dataclass(slots=True)
class Server:
    """A ready server."""

    arm: str
    url: str
    ready_s: float | None
    """Process start to ready; None for a server that someone else started."""
    info: dict[str, Any]
    """What /readyz answered."""
    process: psutil.Process | None

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        if self.process is None:
            return True
        try:
            return self.process.is_running() and bool(self.process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def cpu_s(self) -> float | None:
        """CPU seconds that the server's processes have used so far; None for a server of someone else."""
        if self.process is None:
            return None
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def stats(self) -> dict[str, Any] | None:
        """GET /stats, or None if the server has no such page."""
        status, content = get(f"{self.url}/stats")
        return content if status == 200 else None


@contextlib.contextmanager
def start_server(
    arm: str,
    profile: str = "default",
    *,
    spec: ArmSpec | None = None,
    cwd: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Server]:
    """Start an arm of ARMS (or `spec`), yield it once it is ready, and end it with all its children.

    `overrides` are added as --set arguments; `cwd` and `environ` let another checkout be measured. Raises
    StartFailed if the process ends, does not become ready in time, or another process answers on its port.
    """
    port = free_port()
    command = (spec or ARMS[arm]).arguments(port, profile)
    for override in overrides:
        command += ["--set", override]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        try:
            try:
                info = _wait_ready(process, url, started + timeout_s)
                _check_cache(info)
                _check_owner(process, port)
            except StartFailed as error:
                raise StartFailed(f"{arm}: {error}\n{_tail(log.fileno())}".rstrip()) from None
            yield Server(arm, url, time.monotonic() - started, info, psutil.Process(process.pid))
        finally:
            _stop(process)


@contextlib.contextmanager
def foreign_server(url: str) -> Iterator[Server]:
    """A server that someone else started. Raises StartFailed if nothing answers there.

    Its /readyz is optional (the seed's Rust server has none); any HTTP answer counts as alive.
    """
    url = url.rstrip("/")
    status, info = get(f"{url}/readyz")
    if status is None:
        raise StartFailed(f"nothing answers at {url}")
    _check_cache(info or {})
    yield Server("target", url, None, info or {}, None)


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, timeout_s: float = 5.0) -> tuple[int | None, dict[str, Any] | None]:
    """Status of a GET (None if nothing answers) and its body if that is a JSON object."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except OSError:
        return None, None
    try:
        content = json.loads(body)
    except ValueError:
        return status, None
    return status, content if isinstance(content, dict) else None


def _wait_ready(process: subprocess.Popen[bytes], url: str, deadline: float) -> dict[str, Any]:
    status: int | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartFailed(f"the process ended with code {process.returncode} before it was ready")
        status, info = get(f"{url}/readyz")
        if status == 200:
            return info or {}
        time.sleep(POLL_S)
    raise StartFailed(f"not ready in time; the last status of /readyz was {status}")


def _check_cache(info: dict[str, Any]) -> None:
    """What a server reads from a disk says nothing about how fast it speaks."""
    if info.get("cache"):
        raise StartFailed(
            "it answers from a cache, so no figure would count; start it with cache.max_bytes=0"
        )


def _check_owner(process: subprocess.Popen[bytes], port: int) -> None:
    """A port can be shared in silence (SO_REUSEPORT): make sure that it is our process that answers."""
    group = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    owners = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    if strangers := owners - group - {None}:
        raise StartFailed(f"port {port} is also listened on by process {min(strangers)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end what is left of its process group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(descriptor: int, size: int = 2000) -> str:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, max(0, end - size)).decode(errors="replace").strip()
