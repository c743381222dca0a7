"""Clients of the cluster's measurements: streams read to their end, one after another or many at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

ANSWER_S = 60.0


class Heard(NamedTuple):
    """One answer."""

    status: int
    """0: the connection was cut."""
    first_s: float
    """Asked to the first sample."""
    total_s: float
    body_bytes: int
    whole: bool
    said: str
    """Of a refusal: its detail."""


def _asked(url: str, text: str, voice: str | None, path: str) -> bytes:
    """A request for raw samples, on a connection that ends with it."""
    body = msgspec.json.encode({"text": text, "format": "pcm"} | ({} if voice is None else {"voice": voice}))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def hang_up(url: str, text: str) -> float:
    """Ask for a stream and hang up at its first samples; when that was, as time.monotonic()."""
    address = urlsplit(url)
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(_asked(url, text, None, "/tts/stream"))
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(65_536)
        writer.transport.abort()
        return time.monotonic()


async def ask(url: str, text: str, *, voice: str | None = "low", path: str = "/tts/stream") -> Heard:
    """Ask for raw samples, on a connection of its own."""
    address = urlsplit(url)
    asked_s = time.monotonic()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    status, first_s, count, said = 0, 0.0, 0, ""
    whole = False
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(_asked(url, text, voice, path))
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split(b" ", 2)[1])
            chunked = b"chunked" in answer.lower()
            rest = b""
            while piece := await reader.read(65_536):
                first_s = first_s or time.monotonic() - asked_s
                count += len(piece)
                rest = (rest + piece)[-2000:]
            whole = not chunked or rest.endswith(b"0\r\n\r\n")
            if status != 200:
                at = rest.find(b"{")
                said = str(msgspec.json.decode(rest[at : rest.rfind(b"}") + 1]).get("detail", ""))
    except (ConnectionError, asyncio.IncompleteReadError):
        whole = False
    finally:
        writer.close()
    return Heard(status, first_s, time.monotonic() - asked_s, count, whole, said)


async def one_by_one(url: str, text: str, count: int) -> list[Heard]:
    """So many requests, one after another."""
    return [await ask(url, text) for _ in range(count)]


async def together(
    url: str,
    text: str,
    clients: int,
    duration_s: float,
    meanwhile: Callable[[], Any] | None = None,
    *,
    voices: Sequence[str | None] = ("low", "high"),
    paths: Sequence[str] = ("/tts/stream",),
) -> tuple[list[Heard], float]:
    """A closed loop of clients; what they heard, and how long that took. `meanwhile` is called after a third of it."""
    heard: list[Heard] = []
    begun_s = time.monotonic()

    async def client(number: int) -> None:
        while time.monotonic() - begun_s < duration_s:
            heard.append(
                await ask(url, text, voice=voices[number % len(voices)], path=paths[number % len(paths)])
            )
            if heard[-1].status != 200:
                await asyncio.sleep(0.1)

    work = [asyncio.create_task(client(number)) for number in range(clients)]
    if meanwhile is not None:
        await asyncio.sleep(duration_s / 3)
        await asyncio.to_thread(meanwhile)
    await asyncio.gather(*work)
    return heard, time.monotonic() - begun_s


def audio_s(heard: list[Heard], rate_hz: int = 24_000) -> float:
    """Of the answers that came whole: seconds of 16-bit samples, the framing of chunks counted as nothing."""
    return sum(one.body_bytes for one in heard if one.status == 200 and one.whole) / (2 * rate_hz)


def told(heard: list[Heard]) -> str:
    """How those ended that did not end well."""
    kinds = Counter(f"{one.status} {one.said}" if one.status != 200 else "cut in the middle" for one in heard)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
