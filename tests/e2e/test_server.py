"""The real server over real sockets, with the embedded voice."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile

from serving.audio.encode import WAV_HEADER_BYTES, wav_header
from tests.support import ROOT, environment

pytestmark = pytest.mark.e2e

LONG = (
    "The harbour was quiet when the first boats came home. Nobody spoke while the nets were lifted out. "
    "By noon the market was full, and the price of herring had fallen twice. "
    "In the evening the wind turned, and every window on the quay began to rattle. "
)


def test_tts_gives_a_file_that_players_open(server: str) -> None:
    answer = httpx.post(f"{server}/tts", json={"text": "Hello world.", "temperature": 0.8})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == int(answer.headers["x-sample-rate"])
    assert answer.content[:WAV_HEADER_BYTES] == wav_header(rate, len(samples))
    assert len(samples) / rate == pytest.approx(float(answer.headers["x-audio-seconds"]), abs=1e-3)
    assert 0.3 < len(samples) / rate < 5
    assert np.abs(samples).max() > 0.05


def test_a_client_of_the_older_servers_works_unchanged(server: str) -> None:
    body = {"text": "Hello world", "temperature": 0.7, "top_p": 0.8, "top_k": 50, "speed": 1.0}
    answer = httpx.post(f"{server}/tts", json={**body, "max_text_tokens_per_segment": 120})
    assert answer.status_code == 200
    assert {"temperature", "top_k", "top_p"} <= set(answer.headers["x-ignored-fields"].split(", "))


def test_a_stream_arrives_in_pieces_before_it_is_complete(server: str) -> None:
    pieces: list[bytes] = []
    finished: list[int] = []
    with (
        httpx.Client(base_url=server) as other,
        httpx.stream("POST", f"{server}/tts/stream", json={"text": LONG * 20}, timeout=60) as answer,
    ):
        assert answer.status_code == 200
        for piece in answer.iter_raw():
            pieces.append(piece)
            if len(pieces) in (1, 3):
                finished.append(other.get("/stats").json()["requests"]["finished"])
        finished.append(other.get("/stats").json()["requests"]["finished"])
    assert finished[0] == finished[1] == finished[2] - 1, (
        "the engine still worked on it while its beginning was here"
    )
    body = b"".join(pieces)
    assert len(pieces) > 3
    assert body[:WAV_HEADER_BYTES] == wav_header(int(answer.headers["x-sample-rate"]))
    assert body.count(b"RIFF") == 1


def test_the_stream_equals_the_file_for_the_same_seed(server: str) -> None:
    body = {"text": LONG[:100], "seed": 7}
    file = httpx.post(f"{server}/tts", json=body, timeout=60).content[WAV_HEADER_BYTES:]
    stream = httpx.post(f"{server}/tts/stream", json=body, timeout=60).content[WAV_HEADER_BYTES:]
    whole, streamed = (np.frombuffer(side, "<i2").astype(int) for side in (file, stream))
    assert len(whole) == len(streamed)
    assert np.abs(whole - streamed).max() <= 4  # 1e-4 of full scale, and half a step of rounding


async def test_eight_streams_at_once_each_speak_their_own_text(server: str) -> None:
    texts = [f"This is stream number {number}." + " It goes on." * number for number in range(8)]
    async with httpx.AsyncClient(base_url=server, timeout=60) as client:
        together = await asyncio.gather(
            *(client.post("/tts/stream", json={"text": text, "seed": 3, "format": "pcm"}) for text in texts)
        )
        for text, answer in zip(texts, together, strict=True):
            alone = await client.post("/tts/stream", json={"text": text, "seed": 3, "format": "pcm"})
            first, second = (np.frombuffer(side.content, "<i2").astype(int) for side in (answer, alone))
            assert len(first) == len(second)
            assert np.abs(first - second).max() <= 1


async def test_a_client_gone_frees_its_slot_within_100_ms_while_its_neighbour_streams_on(server: str) -> None:
    departures = 5
    freed_s = []
    async with httpx.AsyncClient(base_url=server, timeout=60) as client:

        async def stats() -> dict[str, Any]:
            return dict((await client.get("/stats")).json())

        before = await stats()
        neighbour = asyncio.ensure_future(client.post("/tts/stream", json={"text": LONG * 6, "seed": 1}))
        for number in range(departures):
            async with client.stream("POST", "/tts/stream", json={"text": LONG * 6}) as leaving:
                await anext(leaving.aiter_raw())
            left_at = time.monotonic()
            while (now := await stats())["requests"]["aborted"] == before["requests"]["aborted"] + number:
                assert time.monotonic() - left_at < 5
            freed_s.append(time.monotonic() - left_at)
            assert not neighbour.done()
            assert now["requests"]["finished"] == before["requests"]["finished"]
        answer = await neighbour
        after = await stats()
        alone = await client.post("/tts/stream", json={"text": LONG * 6, "seed": 1})
    # The quickest of five: a loaded machine delays single ones, a slot that waits for its stream delays all.
    assert min(freed_s) < 0.1
    assert len(answer.content) == len(alone.content)
    assert after["requests"]["finished"] == before["requests"]["finished"] + 1
    assert after["requests"]["aborted"] == before["requests"]["aborted"] + departures
    assert after["slots_used"] == 0


def test_health_readiness_voices_and_schema(server: str) -> None:
    assert httpx.get(f"{server}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{server}/readyz").json()
    assert ready["ready"] is True
    assert (ready["model"], ready["profile"]) == ("hibari", "default")
    voices = httpx.get(f"{server}/voices").json()
    assert voices["default_voice"] in [voice["name"] for voice in voices["voices"]] == ready["voices"]
    assert "/tts/stream" in httpx.get(f"{server}/schema").json()["paths"]


def raw(server: str, request: bytes, *, then_read: bool = True) -> bytes:
    """Send bytes as they are and read until the server closes or has answered."""
    address = urlsplit(server)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        # A refusal may come before the end of the request; what was answered is still there to read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        answer = b""
        while then_read and b"\r\n\r\n" not in answer and (piece := connection.recv(65536)):
            answer += piece
        return answer


def test_broken_http_does_not_stop_the_server(server: str) -> None:
    head = b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 400 " in raw(server, b"nonsense\r\n\r\n")
    assert b" 413 " in raw(server, head + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 400 " in raw(server, head + b"Content-Length: 9\r\n\r\n" + b'{"text":"')
    raw(server, head + b"Content-Length: 500\r\n\r\n" + b'{"text": "cut', then_read=False)
    assert httpx.get(f"{server}/healthz").status_code == 200
    assert httpx.post(f"{server}/tts", json={"text": "Still here."}).status_code == 200


def test_a_body_over_the_limit_is_refused(server: str) -> None:
    for content in (b"x" * 3_000_000, iter([b"x" * 100_000] * 30)):
        answer = httpx.post(f"{server}/tts", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"
    assert httpx.post(f"{server}/tts", json={"text": "Still here."}).status_code == 200


def test_the_http_process_imports_no_torch() -> None:
    program = (
        "import sys, json\n"
        "from serving.http.app import create_app\n"
        "from serving.http.front import server\n"
        "from serving.profile import load_profile\n"
        "create_app(load_profile('default'))\n"
        "heavy = {'torch', 'torchaudio', 'onnx'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=ROOT,
        timeout=60,
    )
    assert json.loads(done.stdout) == [], done.stderr
