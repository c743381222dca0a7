"""A client of the WebSocket endpoints, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support import Server, serving

SENTENCES = [
    "The harbour was quiet when the first boats came home.",
    "Nobody spoke while the nets were lifted out.",
    "By noon the market was full, and the price of herring had fallen twice.",
]
TEXT = " ".join(SENTENCES)
PAUSE_S = 0.4
PCM: dict[str, Any] = {"response_format": "pcm", "stream_audio": True}


@dataclass
class Heard:
    """What came for one utterance."""

    events: list[dict[str, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    """Types of the events, with "audio" for a frame."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def samples(self) -> NDArray[np.int64]:
        return np.frombuffer(b"".join(self.frames), "<i2").astype(np.int64)

    @property
    def sentences(self) -> list[str]:
        return [event["sentence_text"] for event in self.of("audio.start")]


@contextlib.asynccontextmanager
async def session(base_url: str, **config: Any) -> AsyncIterator[ClientConnection]:
    """A connection to /v1/audio/speech/stream with its first message sent."""
    async with connect(
        base_url.replace("http", "ws", 1) + "/v1/audio/speech/stream", max_size=None
    ) as client:
        await send(client, "session.config", **config)
        yield client


async def send(client: ClientConnection, kind: str, **fields: Any) -> None:
    await client.send(json.dumps({"type": kind, **fields}))


async def hear(client: ClientConnection, *last: str) -> Heard:
    """Read up to an event of one of these types, or to the end of the connection."""
    heard = Heard()
    with contextlib.suppress(ConnectionClosed):
        while not heard.events or heard.events[-1]["type"] not in (last or ("session.done", "error")):
            message = await asyncio.wait_for(client.recv(), 60)
            if isinstance(message, bytes):
                heard.frames.append(message)
                heard.order.append("audio")
            else:
                heard.events.append(json.loads(message))
                heard.order.append(heard.events[-1]["type"])
    return heard


async def speak(base_url: str, pieces: list[str], pause_s: float = 0.0, **config: Any) -> Heard:
    async with session(base_url, **config) as client:
        reading = asyncio.ensure_future(hear(client))
        for piece in pieces:
            await send(client, "input.text", text=piece)
            await asyncio.sleep(pause_s)
        await send(client, "input.done")
        return await reading


async def alone(base_url: str, text: str, seed: int) -> NDArray[np.int64]:
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        answer = await client.post("/tts", json={"text": text, "seed": seed, "format": "pcm"})
    return np.frombuffer(answer.content, "<i2").astype(np.int64)


async def stats(base_url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=base_url) as client:
        return dict((await client.get("/stats")).json())


async def until_idle(base_url: str) -> dict[str, Any]:
    return await until(base_url, lambda now: not now["slots_used"] and not now["in_flight"])


async def until(base_url: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            if wanted(now := await stats(base_url)):
                return now
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def tone_server(folder: Path, *more: str) -> Iterator[Server]:
    """The real server with the tone model and short limits; it tells when words are spoken."""
    settings = [
        *more,
        "model.name=tone",
        "websocket.send_s=0.5",
        "websocket.idle_s=0.5",
        "websocket.max_chars=20000",
    ]
    with serving(folder, *(part for key in settings for part in ("--set", key))) as started:
        yield started
