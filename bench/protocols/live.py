"""Text over the WebSocket: when the first sentence is heard, whether later ones leave gaps, and what a cancel frees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from bench.hearing.sound import sound_of
from bench.load.http1 import Connection, request_bytes
from bench.metrics import percentile
from bench.progress import Notify
from bench.protocols.client import TIMEOUT_S, Answer, connections, post
from bench.servers.start import Server
from bench.workload import texts

WORD_S = 0.05
PACED, CANCELS, PAIRS, NEIGHBOURS = 20, 20, 10, 7


async def measure_live(server: Server, progress: Notify, effort: float) -> dict[str, Any]:
    """The figures of one word every 50 ms, of cancels alone, and of cancels beside seven streams."""

    def times(count: int) -> int:
        return max(2, round(count * effort))

    figures: dict[str, Any] = {}
    paced = []
    for number in range(times(PACED)):
        progress(f"live: text {number + 1} of {times(PACED)}, a word every {WORD_S * 1000:.0f} ms")
        paced.append(await _paced(server, " ".join(texts("short", 3, seed=100 + number))))
    for name, values in zip(("first frame", "first sound"), zip(*paced, strict=True), strict=False):
        figures[f"{name} after the first full stop, ms, p50 / max"] = _spread(values)
    figures["playback buffer empty, ms a text, p50 / max"] = _spread([stall for _, _, stall in paced])

    progress("live: cancels alone")
    alone = []
    for _ in range(times(CANCELS)):
        async with _session(server) as socket, connections(server, 1) as (asking,):
            alone.append(await _cancel(socket, asking, alone=True))
    figures["engine free after a cancel, alone, ms, p50 / max"] = _spread(alone)

    beside: list[float] = []
    quiet: list[tuple[float, float]] = []
    loud: list[tuple[float, float]] = []
    for number in range(times(PAIRS)):
        progress(f"live: cancels beside {NEIGHBOURS} streams, pair {number + 1} of {times(PAIRS)}")
        for cancels in (False, True)[:: 1 if number % 2 else -1]:
            async with _session(server) as socket, connections(server, NEIGHBOURS + 1) as opened:
                measured = await _neighbours(opened, socket, number, cancels=cancels)
            (loud if cancels else quiet).append(measured[:2])
            beside += measured[2]
    figures[f"engine free after a cancel, beside {NEIGHBOURS} streams, ms, p50 / max"] = _spread(beside)
    for at, name in enumerate(("longest gap between chunks", "playback buffer empty")):
        for label, runs in (("spoken to its end", quiet), ("cancelled", loud)):
            figures[f"{name} of {NEIGHBOURS} neighbours, the eighth {label}, ms, p50 / max"] = _spread(
                [run[at] for run in runs]
            )
    return figures


def _spread(values: Any) -> str:
    return f"{percentile(list(values), 50):.1f} / {max(values):.1f}"


@contextlib.asynccontextmanager
async def _session(server: Server) -> AsyncIterator[ClientConnection]:
    address = server.url.replace("http", "ws", 1) + "/v1/audio/speech/stream"
    async with connect(address, max_size=None) as socket:
        await _send(socket, "session.config", response_format="pcm", stream_audio=True, seed=1)
        yield socket


async def _send(socket: ClientConnection, kind: str, **fields: object) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


async def _until(socket: ClientConnection, kind: str) -> tuple[list[tuple[float, bytes]], dict[str, Any]]:
    """(time, samples) of each binary frame up to an event, and the event."""
    frames: list[tuple[float, bytes]] = []
    async with asyncio.timeout(TIMEOUT_S):
        async for message in socket:
            if isinstance(message, bytes):
                frames.append((time.monotonic(), message))
                continue
            event = json.loads(message)
            if event["type"] == kind:
                return frames, event
            if event["type"] == "error":
                raise RuntimeError(f"the server refused: {event}")
    raise RuntimeError("the server closed the connection")


async def _paced(server: Server, text: str) -> tuple[float, float, float]:
    """Milliseconds from the sending of the first full stop to the first frame and to the first sound; of stalls."""
    async with _session(server) as socket:
        hearing = asyncio.create_task(_until(socket, "session.done"))
        stop_at: float | None = None
        for word in text.split():
            await _send(socket, "input.text", text=f"{word} ")
            if stop_at is None and word[-1] in ".!?" and word not in ("Mr.", "Mrs.", "Dr.", "St."):
                stop_at = time.monotonic()
            await asyncio.sleep(WORD_S)
        await _send(socket, "input.done")
        frames, done = await hearing
        assert stop_at is not None, "every text of the workload has full stops"
        rate_hz = done["sample_rate"]
        samples = (np.frombuffer(b"".join(piece for _, piece in frames), "<i2") / 32768).astype(np.float32)
        sound = sound_of(samples, rate_hz)
        assert sound is not None, "the server speaks"
        sizes = [(at, len(piece) / 2 / rate_hz) for at, piece in frames]
        first_ms = (frames[0][0] - stop_at) * 1000
        return first_ms, first_ms + sound.head_s * 1000, _stall_ms(sizes)


def _stall_ms(pieces: list[tuple[float, float]]) -> float:
    """How long a player that begins with the first of (time, seconds of audio) waits for a later one in all."""
    worst_s = delivered_s = 0.0
    for at, seconds in pieces:
        worst_s = max(worst_s, at - pieces[0][0] - delivered_s)
        delivered_s += seconds
    return worst_s * 1000


def _one_sentence() -> str:
    """Half a minute of speech without an end in between: the engine is in the middle of it when it is cancelled."""
    return re.sub(r"[^\w\s']+", "", texts("long", 1, seed=9)[0]) + ". "


async def _stats(asking: Connection) -> dict[str, Any]:
    answer = await asking.request(request_bytes("GET", "localhost", "/stats"), TIMEOUT_S)
    counters: dict[str, Any] = msgspec.json.decode(b"".join(piece for _, piece, _ in answer.pieces))
    return counters


async def _cancel(socket: ClientConnection, asking: Connection, *, alone: bool) -> float:
    """Begin a long text and cancel it in mid-speech; milliseconds until the engine has given it up.

    `alone`: until no slot is used any more; otherwise the slots are others' too, and the count of aborts tells.
    """
    before = (await _stats(asking))["requests"]["aborted"]
    await _send(socket, "input.text", text=_one_sentence())
    while isinstance(await socket.recv(), str):
        pass
    sent_at = time.monotonic()
    await _send(socket, "response.cancel")
    while True:
        now = await _stats(asking)
        idle = not now["slots_used"] and not now["in_flight"]
        if idle if alone else now["requests"]["aborted"] > before:
            break
        if time.monotonic() - sent_at > TIMEOUT_S:
            raise RuntimeError("a cancel freed nothing")
    freed_ms = (time.monotonic() - sent_at) * 1000
    await _until(socket, "session.done")
    return freed_ms


async def _neighbours(
    opened: list[Connection], socket: ClientConnection, number: int, *, cancels: bool
) -> tuple[float, float, list[float]]:
    """Streams of long texts, and an eighth over the WebSocket that is cancelled in mid-speech or is not.

    Gives the longest gap between chunks and the longest stall of any of the streams, and the cancels' times.
    """
    *streaming, asking = opened
    streams = [
        asyncio.create_task(post(connection, "/tts/stream", {"text": text, "format": "pcm", "seed": 1}))
        for connection, text in zip(streaming, texts("long", NEIGHBOURS, seed=number), strict=True)
    ]
    freed_ms = []
    if cancels:
        freed_ms.append(await _cancel(socket, asking, alone=False))
    else:
        await _send(socket, "input.text", text=_one_sentence())
        await _send(socket, "input.done")
        await _until(socket, "session.done")
    answers = await asyncio.gather(*streams)
    return max(map(_gap_ms, answers)), max(map(_stall_of, answers)), freed_ms


def _gap_ms(answer: Answer) -> float:
    times = [at for at, _, _ in answer.response.pieces]
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0) * 1000


def _stall_of(answer: Answer) -> float:
    rate_hz = int(answer.response.headers["x-sample-rate"])
    return _stall_ms([(at, len(piece) / 2 / rate_hz) for at, piece, _ in answer.response.pieces])
