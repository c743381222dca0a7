"""HTTP/2 without TLS (`http.http2`), beside HTTP/1.1 and WebSockets on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded
from h2.exceptions import ProtocolError

from tests.live import PCM, TEXT, speak, stats, until, until_idle
from tests.support import Server, children, serving

pytestmark = pytest.mark.e2e

CANCEL = 8
"""The error code of RFC 9113 for a stream that is not wanted any more."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("http2"), "--set", "http.http2=true") as started:
        yield started


class Client(contextlib.AbstractContextManager["Client"]):
    """One HTTP/2 connection, begun without asking."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=60)
        self.connection = H2Connection()
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(2**30)
        self.flush()

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def post(self, path: str, body: dict[str, object]) -> int:
        """Ask; the number of the stream."""
        number = self.connection.get_next_available_stream_id()
        names = {":method": "POST", ":path": path, ":scheme": "http", ":authority": "localhost"}
        self.connection.send_headers(number, [*names.items(), ("content-type", "application/json")])
        self.connection.send_data(number, json.dumps(body).encode(), end_stream=True)
        self.connection.increment_flow_control_window(2**30, number)
        self.flush()
        return number

    def events(self) -> list[Event]:
        """What the next bytes of the server hold."""
        data = self.socket.recv(65_536)
        assert data, "the server closed the connection"
        events = self.connection.receive_data(data)
        self.flush()
        return list(events)

    def until_audio(self) -> None:
        while not any(isinstance(event, DataReceived) and event.data for event in self.events()):
            pass


def test_a_stream_comes_as_it_is_made(both: Server) -> None:
    audio, arrivals, status, ended = b"", [], None, False
    with Client(both.base_url) as client:
        client.post("/tts/stream", {"text": TEXT * 5, "format": "pcm", "seed": 1})
        while not ended:
            for event in client.events():
                if isinstance(event, ResponseReceived):
                    status = dict(event.headers)[b":status"]
                elif isinstance(event, DataReceived):
                    audio += event.data
                    arrivals.append(time.monotonic())
                ended = ended or isinstance(event, StreamEnded)
    assert status == b"200"
    plain = httpx.post(
        f"{both.base_url}/tts/stream", json={"text": TEXT * 5, "format": "pcm", "seed": 1}, timeout=60
    )
    assert plain.http_version == "HTTP/1.1"
    ours, theirs = (np.frombuffer(side, "<i2").astype(int) for side in (audio, plain.content))
    assert len(ours) == len(theirs)
    assert np.abs(ours - theirs).max() <= 4
    assert len({round(at, 3) for at in arrivals}) > 3, "it came in one piece"


@pytest.mark.parametrize("how", ["the stream is reset", "the connection is closed"])
async def test_a_client_that_leaves_frees_the_engine(both: Server, how: str) -> None:
    before = await stats(both.base_url)
    with Client(both.base_url) as client:
        number = client.post("/tts/stream", {"text": TEXT * 15, "format": "pcm"})
        client.until_audio()
        if how == "the stream is reset":
            client.connection.reset_stream(number, CANCEL)
            client.flush()
        else:
            client.socket.close()
        await until(both.base_url, lambda now: now["requests"]["aborted"] > before["requests"]["aborted"])
    after = await until_idle(both.base_url)
    assert after["requests"]["finished"] == before["requests"]["finished"]


async def test_streams_share_a_connection(both: Server) -> None:
    async with httpx.AsyncClient(base_url=both.base_url, http1=False, http2=True, timeout=60) as client:
        bodies = [{"text": f"Number {number} speaks.", "seed": 1} for number in range(8)]
        together = await asyncio.gather(*(client.post("/tts/stream", json=body) for body in bodies))
        assert {answer.http_version for answer in together} == {"HTTP/2"}
        assert [answer.status_code for answer in together] == [200] * 8
        wrong = await client.post("/tts", json={"text": "Hi.", "format": "midi"})
        assert wrong.json()["field"] == "format"


def test_a_head_that_unpacks_to_megabytes_is_not_unpacked(both: Server) -> None:
    """HPACK writes a field that came before as one byte."""

    def memory() -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in children(both.pid))

    before = memory()
    with contextlib.suppress(OSError, AssertionError, ProtocolError), Client(both.base_url) as client:
        client.events()
        names = {":method": "POST", ":path": "/tts", ":scheme": "http", ":authority": "localhost"}
        for _ in range(20):
            number = client.connection.get_next_available_stream_id()
            client.connection.send_headers(number, [*names.items(), *[("x", "a" * 3900)] * 3900])
            client.flush()
        deadline = time.monotonic() + 2  # the server unpacks what came
        while time.monotonic() < deadline:
            client.events()
    assert memory() - before < 100_000_000
    assert httpx.get(f"{both.base_url}/healthz").status_code == 200


async def test_websockets_go_on_over_http_1(both: Server) -> None:
    heard = await speak(both.base_url, [TEXT], **PCM)
    assert len(heard.samples) == heard.of("session.done")[0]["samples"] > 0


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with serving(tmp_path, "--set", "model.name=tone") as plain:
        with httpx.Client(http1=False, http2=True) as client, pytest.raises(httpx.HTTPError):
            client.get(f"{plain.base_url}/readyz")
        assert httpx.get(f"{plain.base_url}/readyz").http_version == "HTTP/1.1"
