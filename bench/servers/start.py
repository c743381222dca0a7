"""Start and stop the servers under test.

A server is started in a process group of its own on a free port, watched until it is ready, and ended with
its whole group, also after an exception. A start that fails raises: it is a failed run and never a zero.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from bench.machine import FAMILY_MARK, marked, tree_cpu_s
from bench.servers.cores import advantages, hold, started_on
from bench.servers.owner import owners, root
from bench.targets.client import create_client
from bench.targets.http import address
from bench.targets.spec import Limits, Target, TargetError
from bench.targets.words import of_connection

START_TIMEOUT_S = 600.0
"""A compile profile may take minutes."""
STOP_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 10.0
POLL_S = 0.02
MOST_STATED_BYTES = 1 << 20
"""Of what a server says of itself."""


class StartFailed(RuntimeError):
    """The server did not become ready; the message ends with the end of its output."""


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """How a server under test is started."""

    description: str
    command: tuple[str, ...]
    """Arguments of the program; {port} and {profile} are filled in."""
    program: tuple[str, ...] = (sys.executable,)
    ready: str = "/readyz"
    """Path that answers 200 when the server is ready."""

    def arguments(self, port: int, profile: str) -> list[str]:
        """The whole command line."""
        words = [*self.program, *self.command]
        return [word.replace("{port}", str(port)).replace("{profile}", profile) for word in words]


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
        "the plain server: FastAPI + uvicorn, the hibari-tts package per request in a thread per core",
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
    """The root of its processes; None for one of another machine, or of another user."""
    target: Target = field(default_factory=Target)
    """How it is spoken to."""
    remote: bool = False
    """Whether it runs on another machine, and so uses nothing of this one."""
    cores: tuple[int, ...] | None = None
    """Those that it was limited to."""
    keeps_answers: bool = False
    """Whether a text that was asked again came in a fraction of the time (bench.load.again)."""
    unasked_cpu: list[float] = field(default_factory=list)
    """How many cores it used at each load point of another server (bench.load.bystanders)."""

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        if self.process is None:
            return True
        try:
            return self.process.is_running() and bool(self.process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    @property
    def pid(self) -> int | None:
        """Of the root of its processes on this machine."""
        return None if self.process is None else self.process.pid

    def hold_to_cores(self) -> int:
        """Put threads that left the cores of its limit back on them; how many there were."""
        return 0 if self.cores is None or self.process is None else hold(self.process.pid, self.cores)

    def priority(self) -> list[str]:
        """What gives the server's processes more than their share of a core, in words; empty if nothing does."""
        return [] if self.process is None else advantages(self.process.pid)

    def cpu_s(self) -> float | None:
        """CPU seconds that the server's processes have used so far: none of this machine's if it is remote.

        None if nobody can tell.
        """
        if self.process is None:
            return 0.0 if self.remote else None
        return tree_cpu_s(self.process.pid) if self.alive() else 0.0

    def stats(self) -> dict[str, Any] | None:
        """GET /stats, or None if the server has no such page."""
        if self.target.adapter != "tts":
            return None
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
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
) -> Iterator[Server]:
    """Start an arm of ARMS (or `spec`), yield it once it is ready, and end it with all its children.

    `overrides` are added as --set arguments; `cwd` and `environ` let another checkout be measured. Raises
    StartFailed if the process ends, does not become ready in time, or another process answers on its port.
    """
    port = free_port()
    spec = spec or ARMS[arm]
    command = spec.arguments(port, profile)
    for override in overrides:
        command += ["--set", override]
    url = f"http://127.0.0.1:{port}"
    mark = uuid.uuid4().hex
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        try:
            cores = _cores(limits.cores)
            with started_on(cores):
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=cwd,
                    env={**os.environ, **limits.environ, **(environ or {}), FAMILY_MARK: mark},
                    start_new_session=True,
                )
        except OSError as error:
            raise StartFailed(f"{arm}: {command[0]} cannot be started: {error.strerror}") from None
        try:
            try:
                info = _wait_ready(process, url + spec.ready, started + timeout_s)
                _check_cache(info)
                _check_owner(process, port)
            except StartFailed as error:
                raise StartFailed(f"{arm}: {error}\n{_tail(log.fileno())}".rstrip()) from None
            yield Server(arm, url, time.monotonic() - started, info, psutil.Process(process.pid), cores=cores)
        finally:
            _stop(process, mark)


@contextlib.contextmanager
def target_server(target: Target, limits: Limits = Limits()) -> Iterator[Server]:  # noqa: B008 - it is frozen
    """A target, started if it has a command. `limits` hold where its own leave something alone.

    Raises StartFailed if it cannot be asked (a key is missing), nothing answers, or what answers does not speak TLS as
    its URL says.
    """
    try:
        create_client(target, target.url or "http://127.0.0.1", "/tts/stream", {})
    except TargetError as error:
        raise StartFailed(str(error)) from None
    if target.local:
        command = target.command
        if command[0] == "python":
            command = (sys.executable, *command[1:])
        spec = ArmSpec("a server that the bench started", command, program=(), ready=target.ready)
        with start_server(
            target.name,
            spec=spec,
            cwd=target.cwd,
            environ=target.env,
            timeout_s=target.ready_timeout_s,
            limits=target.limits.over(limits),
        ) as server:
            server.target = target
            yield server
        return
    url = target.url.rstrip("/")
    at = address(url)
    try:
        with socket.create_connection((at.host, at.port), CONNECT_TIMEOUT_S) as connection:
            peer, own = str(connection.getpeername()[0]), str(connection.getsockname()[0])
            if at.tls:
                ssl.create_default_context(cafile=target.ca_file).wrap_socket(
                    connection, server_hostname=at.host
                ).close()
    except TimeoutError:
        raise StartFailed(f"{target.name}: no connection within {CONNECT_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise StartFailed(f"{target.name}: {of_connection(error, at.name)}") from None
    here = ip_address(peer).is_loopback or peer == own
    info = get(f"{url}/readyz")[1] if target.adapter == "tts" else None
    _check_cache(info or {})
    process = root(at.port) if here else None
    yield Server(target.name, url, None, info or {}, process, target, remote=not here)


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, timeout_s: float = 5.0) -> tuple[int | None, dict[str, Any] | None]:
    """Status of a GET (None if nothing answers) and its body if that is a JSON object."""
    try:
        try:
            answer = urllib.request.urlopen(url, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            status, body = answer.status, answer.read(MOST_STATED_BYTES)
    except (OSError, http.client.HTTPException, ValueError):
        return None, None
    try:
        content = msgspec.json.decode(body)  # it takes no half of a character, which a record could not keep
    except (msgspec.DecodeError, RecursionError):
        return status, None
    return status, content if isinstance(content, dict) else None


def _cores(count: int | None) -> tuple[int, ...] | None:
    """The first `count` cores that this process may use. Raises StartFailed if there are fewer."""
    usable = sorted(os.sched_getaffinity(0)) if count else []
    if count is not None and count > len(usable):
        raise StartFailed(f"{count} cores are asked for, and this machine gives {len(usable)}")
    return tuple(usable[:count]) if count else None


def _wait_ready(process: subprocess.Popen[bytes], url: str, deadline: float) -> dict[str, Any]:
    status: int | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartFailed(f"the process ended with code {process.returncode} before it was ready")
        status, info = get(url)
        if status == 200:
            return info or {}
        time.sleep(POLL_S)
    raise StartFailed(f"not ready in time; the last status of {urlsplit(url).path} was {status}")


def _check_cache(info: dict[str, Any]) -> None:
    """What a server reads from a disk says nothing about how fast it speaks."""
    cache = info.get("cache")
    if cache and not (isinstance(cache, dict) and cache.get("enabled") is False):
        raise StartFailed(
            "it answers from a cache, so no figure would count; start it with cache.max_bytes=0"
        )


def _check_owner(process: subprocess.Popen[bytes], port: int) -> None:
    """A port can be shared in silence (SO_REUSEPORT): make sure that it is our process that answers."""
    group = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    if strangers := owners(port) - group:
        raise StartFailed(f"port {port} is also listened on by process {min(strangers)}")


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask the server to stop, then end what is left of its process group and what carries its mark.

    So nothing that one arm left running serves or burdens the next.
    """
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for left in marked(mark):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()


def _tail(descriptor: int, size: int = 2000) -> str:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, max(0, end - size)).decode(errors="replace").strip()


def engine_pid(server: psutil.Process) -> int:
    """The engine's process of a server of ours, found by its command line. Raises RuntimeError if there is none."""
    for process in server.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "serving.engine.process" in process.cmdline():
                return int(process.pid)
    raise RuntimeError("the server has no engine process")
