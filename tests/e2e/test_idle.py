"""Connections on which nothing is asked, and long answers, which are none of those."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support import Server, serving

pytestmark = pytest.mark.e2e

HEADER_S = 0.5
IDLE_S = HEADER_S + 2.0
"""So long may a connection be idle."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("model.name=bench.faults.faulty", f"http.header_s={HEADER_S}", "http.http2=true")
    words = [word for option in options for word in ("--set", option)]
    with serving(tmp_path_factory.mktemp("idle"), *words) as started:
        yield started


def test_a_stream_that_lasts_longer_is_whole(tone: Server) -> None:
    begun_s = time.monotonic()
    body = {"text": "a" * 100, "format": "pcm"}  # 20 letters a second
    with httpx.stream("POST", f"{tone.base_url}/tts/stream", json=body, timeout=60) as answer:
        for _ in answer.iter_raw():
            pass
    assert time.monotonic() - begun_s > 1.5 * IDLE_S


@pytest.mark.parametrize(
    "said", [b"", b"GET /healthz HTTP/1.1\r\n", PREFACE], ids=["nothing", "half", "HTTP/2"]
)
def test_a_connection_without_a_request_is_ended(tone: Server, said: bytes) -> None:
    address = urlsplit(tone.base_url)
    with socket.create_connection((address.hostname, address.port), 30) as client:
        client.sendall(said)
        while client.recv(4096):  # an HTTP/2 server speaks first
            pass


def test_a_connection_that_is_used_again_in_time_stays(tone: Server) -> None:
    address = urlsplit(tone.base_url)
    ask = f"GET /healthz HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with socket.create_connection((address.hostname, address.port), 30) as client:
        until_s = time.monotonic() + 2 * IDLE_S
        while time.monotonic() < until_s:
            client.sendall(ask)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(HEADER_S / 4)
