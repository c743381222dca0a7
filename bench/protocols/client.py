"""Streams over HTTP for the parts of this room, and the CPU time that the front door spends on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil

from bench.load.http1 import Connection, Response, request_bytes
from bench.servers.start import Server, engine_pid

TIMEOUT_S = 120.0


class Refused(RuntimeError):
    """An answer that is no complete 200."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, and when it was asked for, by time.monotonic()."""

    sent_at: float
    response: Response

    def bytes_after_ms(self, skipped: int = 0) -> float:
        """Milliseconds until the first byte behind so many."""
        for at, piece, _ in self.response.pieces:
            skipped -= len(piece)
            if skipped < 0:
                return (at - self.sent_at) * 1000
        raise Refused("the answer holds a header alone")

    @property
    def complete_after_ms(self) -> float:
        """Milliseconds until the last byte."""
        return (self.response.pieces[-1][0] - self.sent_at) * 1000


@contextlib.asynccontextmanager
async def connections(server: Server, count: int) -> AsyncIterator[list[Connection]]:
    """So many open connections to a server."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(Connection, address.hostname, address.port))[1] for _ in range(count)
    ]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def post(connection: Connection, path: str, body: dict[str, object]) -> Answer:
    """One answer. Raises Refused if it is not complete or not 200."""
    sent_at = time.monotonic()
    content = msgspec.json.encode(body)
    message = request_bytes("POST", "localhost", path, {"Content-Type": "application/json"}, content)
    answer = await connection.request(message, TIMEOUT_S)
    if answer.status != 200 or not answer.complete:
        raise Refused(f"{path} answered {answer.status}: {b''.join(p for _, p, _ in answer.pieces)[:200]!r}")
    return Answer(sent_at, answer)


async def post_all(
    opened: Sequence[Connection], path: str, bodies: Sequence[dict[str, object]]
) -> list[Answer]:
    """The answers to all bodies, each connection taking the next body as soon as its answer is complete."""
    left = list(enumerate(bodies))[::-1]
    answers: dict[int, Answer] = {}

    async def work(connection: Connection) -> None:
        while left:
            number, body = left.pop()
            answers[number] = await post(connection, path, body)

    await asyncio.gather(*map(work, opened))
    return [answers[number] for number in range(len(bodies))]


def front_cpu_s(server: Server) -> float:
    """CPU seconds that the HTTP process has used: all processes of the server but the engine. Linux, to the nanosecond.

    Raises RuntimeError where the kernel does not tell.
    """
    assert server.process is not None, "the server was started here"
    engine, total_ns = engine_pid(server.process), 0
    for process in server.process.children(recursive=True):
        if process.pid == engine:
            continue
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                total_ns += int((task / "schedstat").read_text().split()[0])
    if not total_ns:
        raise RuntimeError("this kernel keeps no schedstat: no CPU time of the HTTP process")
    return total_ns / 1e9
