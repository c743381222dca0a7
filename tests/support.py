"""What tests share: the application driven over raw ASGI, and the real server as a subprocess."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil
from litestar import Litestar

from serving.profile import Profile, load_profile

ROOT = Path(__file__).parent.parent
JSON = ((b"content-type", b"application/json"),)


def tone_profile(*overrides: str) -> Profile:
    """The tone model with its engine in this process, on one thread."""
    fixed = [
        "model.name=tests.faulty_tone",
        "engine.process=false",
        "engine.threads=1",
        "engine.workers=1",
        "engine.device=cpu",
        # The samples of the model are known; pauses have tests of their own.
        "text.pauses.sentence_s=0",
        "text.pauses.paragraph_s=0",
    ]
    return load_profile("default", [*fixed, *overrides], environ={})


@dataclass
class Answer:
    """What the application sent for one request."""

    messages: list[Any] = field(default_factory=list)
    error: Exception | None = None
    """What left the application: a server closes the connection without an end."""

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def pieces(self) -> list[bytes]:
        return [m["body"] for m in self.messages[1:] if m["body"]]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def complete(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", True)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem: dict[str, Any] = msgspec.json.decode(self.body)
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return problem

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Api:
    """Drives an application as Granian does: the body, then receive() waits for the end; send() may stall."""

    def __init__(self, app: Litestar) -> None:
        self.app = app

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] = b"",
        headers: tuple[tuple[bytes, bytes], ...] = JSON,
        *,
        query: bytes = b"",
        body_parts: list[bytes] | None = None,
        disconnect_after: int | None = None,
        gone: asyncio.Event | None = None,
        stall_after: int | None = None,
    ) -> Answer:
        """One request.

        `body_parts` send the body in pieces. The client goes away after `disconnect_after` body messages or
        when `gone` is set; with `stall_after` it stops reading there and goes a little later.
        """
        answer = Answer()
        content = msgspec.json.encode(body) if isinstance(body, dict) else body
        parts = list(body_parts or [content])
        ended = gone or asyncio.Event()

        async def receive() -> Any:
            if parts:
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts)}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.messages.append(message)
            if message["type"] != "http.response.body":
                return
            bodies = len(answer.messages) - 1
            if not message.get("more_body") or bodies == disconnect_after:
                ended.set()
            if stall_after is not None and bodies >= stall_after:
                asyncio.get_running_loop().call_later(0.05, ended.set)
                await asyncio.Event().wait()

        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [*([] if dict(headers).get(b"host") else [(b"host", b"127.0.0.1")]), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            answer.error = error
        return answer

    async def until(self, path: str, wanted: Any, limit_s: float = 30.0) -> Any:
        """GET `path` until `wanted(json)` holds; fails after limit_s."""
        async with asyncio.timeout(limit_s):
            while True:
                answer = (await self.call("GET", path)).json
                if wanted(answer):
                    return answer
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[Api]:
    """Run the lifespan around an application."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield Api(app)
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        stopped = await from_app.get()
        assert stopped["type"] == "lifespan.shutdown.complete", stopped
        await task


@dataclass
class Server:
    """The real server as a subprocess."""

    process: subprocess.Popen[str]
    base_url: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, sig: int = signal.SIGTERM, limit_s: float = 60.0) -> int:
        """Signal the main process and wait for its end; returns the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(limit_s)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "serving", *arguments]


def environment() -> dict[str, str]:
    """The environment of a subprocess: this checkout first, no TTS_ variables of the developer's."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TTS_")}
    return {**inherited, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: str,
    ready_s: float = 120.0,
    cwd: Path = ROOT,
    environ: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Start `serve` on a free port with its log in `folder`, wait until it is ready, stop it at the end."""
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as stderr:
        process = start(stderr, "serve", "--port", "0", *arguments, cwd=cwd, environ=environ)
    try:
        yield Server(process, wait_ready(process, log, ready_s), log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def start(
    stderr: IO[str], *arguments: str, cwd: Path = ROOT, environ: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environ or environment(),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def wait_ready(process: subprocess.Popen[str], log: Path, limit_s: float) -> str:
    """The base URL that the log's ready line names."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8")
        if found := re.search(r"ready at (https?://\S+): ", text):
            return found[1]
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{text}"
        time.sleep(0.02)
    raise AssertionError(f"not ready after {limit_s} s:\n{log.read_text(encoding='utf-8')}")


def children(pid: int) -> list[int]:
    """Every descendant of a process, itself left out."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def engine_pid(pid: int) -> int:
    """The engine of a server whose main process is `pid`; fails if there is none."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "serving.engine.process" in process.cmdline():
                return int(process.pid)
    raise AssertionError("the server has no engine process")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
