"""Many clients at once, in a process of its own: each asks again when it was answered or refused.

    python -m bench.faults.crowd < plan.json > seen.json

The lean client of bench.load stamps an answer where its bytes are read; what this process itself was late by is told
beside, so that a slow crowd is not taken for a slow server.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from urllib.parse import urlsplit

import msgspec

from bench.load.http1 import Connection, HttpError, Response, request_bytes

TIMEOUT_S = 60.0
BYTES_PER_S = 48_000
"""Of the embedded voice: 24 kHz, 16 bits."""
TICK_S = 0.02


class CrowdPlan(msgspec.Struct, kw_only=True):
    """Who asks for what, how long."""

    url: str
    clients: int
    duration_s: float
    """New requests are sent for so long; those under way are read to their end."""
    settle_s: float = 0.0
    """Nothing is counted before this."""
    refused_pause_s: float = 1.0
    """A client that was refused comes again after this, whatever Retry-After asks for."""
    rate_rps: float = 0.0
    """Requests a second of all clients together, evenly; 0: each client asks again at once."""
    texts: list[str]


class Seen(msgspec.Struct, kw_only=True):
    """What the crowd saw between settle_s and duration_s. Times are of time.monotonic()."""

    took_s: float = 0.0
    """Length of that time."""
    spoken_s: float = 0.0
    """Audio that came in it, of answers that were whole in the end."""
    heard_s: float = 0.0
    """Audio of whole answers, whenever it came."""
    whole: int = 0
    broken: list[str] = []
    """Why an answer was neither whole nor a refusal."""
    refused_s: list[float] = []
    """From a request to the head of its refusal."""
    retry_after_s: list[float] = []
    """What refusals asked for."""
    first_s: list[tuple[float, float]] = []
    """When, and the delay of the first sound."""
    lag_s: list[float] = []
    """How late this process's own event loop was."""
    cpu_s: float = 0.0
    """CPU time of this process."""

    @property
    def goodput(self) -> float:
        """Seconds of audio of whole answers in a second."""
        return self.spoken_s / self.took_s


async def connected(url: str) -> Connection:
    """A connection to a server."""
    address = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection, address.hostname or "", address.port or 80
    )
    return connection


def speech_request(url: str, text: str) -> bytes:
    """POST /tts/stream for bare samples."""
    body = msgspec.json.encode({"text": text, "format": "pcm"})
    headers = {"Content-Type": "application/json"}
    return request_bytes("POST", urlsplit(url).netloc, "/tts/stream", headers, body)


class Crowd:
    """Runs one plan."""

    def __init__(self, plan: CrowdPlan) -> None:
        self._plan = plan
        self._seen = Seen()
        self._requests = [speech_request(plan.url, text) for text in plan.texts]
        self._from_s = self._until_s = 0.0

    async def run(self) -> Seen:
        """Ask until the plan's time is over."""
        plan, seen = self._plan, self._seen
        begun_s = time.monotonic()
        self._from_s, self._until_s = begun_s + plan.settle_s, begun_s + plan.duration_s
        gc.disable()
        used_s = time.process_time()
        watch = asyncio.create_task(self._watch_lag())
        await asyncio.gather(*(self._client(number) for number in range(plan.clients)))
        watch.cancel()
        seen.cpu_s = time.process_time() - used_s
        seen.took_s = plan.duration_s - plan.settle_s
        return seen

    async def _client(self, number: int) -> None:
        plan = self._plan
        connection: Connection | None = None
        turn = number
        due_s = time.monotonic() + number / plan.rate_rps if plan.rate_rps else 0.0
        while (now_s := time.monotonic()) < self._until_s:
            if due_s:
                await asyncio.sleep(due_s - now_s)
                due_s = max(due_s + plan.clients / plan.rate_rps, time.monotonic())
            turn += 1
            begun_s = time.monotonic()
            try:
                if connection is None or not connection.open:
                    connection = await connected(plan.url)
                    begun_s = time.monotonic()
                answer = await connection.request(self._requests[turn % len(self._requests)], TIMEOUT_S)
            except (OSError, HttpError) as error:
                self._seen.broken.append(f"{type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                await asyncio.sleep(plan.refused_pause_s)
                continue
            self._note(answer, begun_s)
            if answer.status == 503:
                await asyncio.sleep(plan.refused_pause_s)
        if connection is not None:
            connection.close()

    def _note(self, answer: Response, begun_s: float) -> None:
        seen = self._seen
        if answer.status not in (200, 503) or not answer.complete:
            seen.broken.append(f"status {answer.status}, {'whole' if answer.complete else 'cut'}")
            return
        counts = self._from_s <= begun_s < self._until_s
        if answer.status == 503:
            if counts:
                seen.refused_s.append(answer.header_at - begun_s)
                seen.retry_after_s.append(float(answer.headers.get("retry-after", "nan")))
            return
        seen.whole += counts
        if counts and answer.pieces:
            seen.first_s.append((begun_s, answer.pieces[0][0] - begun_s))
        seen.heard_s += sum(len(data) for _, data, _ in answer.pieces) / BYTES_PER_S
        size = sum(len(data) for at, data, _ in answer.pieces if self._from_s <= at < self._until_s)
        seen.spoken_s += size / BYTES_PER_S

    async def _watch_lag(self) -> None:
        while True:
            due_s = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._seen.lag_s.append(time.monotonic() - due_s)


def main() -> None:
    """Read a plan from standard input, run it, write what was seen to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=CrowdPlan)
    seen = asyncio.run(Crowd(plan).run())
    sys.stdout.buffer.write(msgspec.json.encode(seen))


if __name__ == "__main__":
    main()
