"""WS /v1/audio/speech/ws, the subprotocol nari.speech.v1, with a client library and the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.live import PCM, TEXT, hear, send, speak, tone_server, until_idle
from tests.support import Server

pytestmark = pytest.mark.e2e

NARI = Subprotocol("nari.speech.v1")


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tone_server(tmp_path_factory.mktemp("tone")) as started:
        yield started


@contextlib.asynccontextmanager
async def nari(base_url: str, **start: Any) -> AsyncIterator[ClientConnection]:
    address = base_url.replace("http", "ws", 1) + "/v1/audio/speech/ws"
    async with connect(address, subprotocols=[NARI], max_size=None) as client:
        assert client.subprotocol == NARI
        created = json.loads(await client.recv())
        assert (created["type"], created["protocol"], created["audio"]["encoding"]) == (
            "session.created",
            NARI,
            "pcm_s16le",
        )
        await send(client, "request.start", **start)
        yield client


async def test_nari_speech_v1_with_one_word_every_10_ms(server: str) -> None:
    words = [f"{word} " for word in TEXT.split()]
    async with nari(server, model="x", language="english", seed=5) as client:
        reading = asyncio.ensure_future(hear(client, "response.done", "error"))
        for number, word in enumerate(words):
            await send(client, "input_text.append", sequence=number, text=word)
            await asyncio.sleep(0.01)
        await send(client, "input_text.end", sequence=len(words))
        heard = await reading
        await client.wait_closed()
        assert client.close_code == 1000
    assert [event["sequence"] for event in heard.of("input_text.ack")] == list(range(len(words) + 1))
    assert heard.order.index("response.started") < heard.order.index("audio")
    (done,) = heard.of("response.done")
    assert (done["stop_reason"], done["audio_chunks"]) == ("stop", len(heard.frames))
    whole = await speak(server, [TEXT], seed=5, **PCM)
    assert len(whole.samples) == len(heard.samples) == done["samples"]
    assert np.abs(whole.samples - heard.samples).max() <= 4


async def test_nari_cancel(server: str) -> None:
    async with nari(server) as client:
        await send(client, "input_text.append", sequence=0, text=TEXT * 5)
        while isinstance(await client.recv(), str):
            pass
        await send(client, "response.cancel")
        heard = await hear(client, "response.done", "error")
        assert heard.events[-1]["stop_reason"] == "cancelled"
        await client.wait_closed()
        assert client.close_code == 1000
    await until_idle(server)


@pytest.mark.parametrize(
    ("message", "code", "close_code"),
    [
        ({"type": "input_text.append", "sequence": 1, "text": "Hi"}, "invalid_sequence", 1008),
        ({"type": "request.start"}, "invalid_request", 1008),
        ({"type": "input_text.end", "sequence": 0}, "empty_input", 1008),
        ({"type": "input_text.append", "sequence": 0, "text": "x" * 20_001}, "input_too_large", 1009),
        ({"type": "hop"}, "unknown_event", 1008),
    ],
)
async def test_nari_errors(tone: Server, message: dict[str, Any], code: str, close_code: int) -> None:
    async with nari(tone.base_url) as client:
        await client.send(json.dumps(message))
        heard = await hear(client, "response.done", "error")
        assert heard.events[-1]["error"]["code"] == code
        await client.wait_closed()
        assert client.close_code == close_code


async def test_nari_needs_its_subprotocol(tone: Server) -> None:
    async with connect(tone.base_url.replace("http", "ws", 1) + "/v1/audio/speech/ws") as client:
        await client.wait_closed()
        assert client.close_code == 1002
