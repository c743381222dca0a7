"""Clients of the cluster's measurements: streams read to their end, one after another or many at once."""

from __future__ import annotations

import asyncio
import time
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


async def ask(url: str, text: str, *, voice: str | None = "low", path: str = "/tts/stream") -> Heard:
    """Ask for raw samples, on a connection of its own."""
    address = urlsplit(url)
    body = msgspec.json.encode({"text": text, "format": "pcm"} | ({} if voice is None else {"voice": voice}))
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    asked_s = time.monotonic()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    status, first_s, count, said = 0, 0.0, 0, ""
    whole = False
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
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
    path: str = "/tts/stream",
) -> tuple[list[Heard], float]:
    """A closed loop of clients; what they heard, and how long that took. `meanwhile` is called after a third of it."""
    heard: list[Heard] = []
    begun_s = time.monotonic()

    async def client(number: int) -> None:
        while time.monotonic() - begun_s < duration_s:
            heard.append(await ask(url, text, voice=voices[number % len(voices)], path=path))
            if heard[-1].status != 200:
                await asyncio.sleep(0.1)

    work = [asyncio.create_task(client(number)) for number in range(clients)]
    if meanwhile is not None:
        await asyncio.sleep(duration_s / 3)
        await asyncio.to_thread(meanwhile)
    await asyncio.gather(*work)
    return heard, time.monotonic() - begun_s


def audio_s(heard: list[Heard]) -> float:
    """Of the answers that came whole: seconds of 16-bit samples at 24 kHz, the framing of chunks counted as nothing."""
    return sum(one.body_bytes for one in heard if one.status == 200 and one.whole) / 48_000
