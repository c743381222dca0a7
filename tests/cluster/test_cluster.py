"""Engines on Ray Serve, as a client of the HTTP API meets them."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil

from serving.http.app import create_app
from tests.cluster.conftest import engines, replicas, stats, until
from tests.support import Server, running, tone_profile

LONG = "The harbour was quiet when the first boats came home. " * 12
CANCELLED_S = 0.2


def test_engines_give_way_to_no_other_program(cluster: Server) -> None:
    """Ray's own workers start with nice 15."""
    own = psutil.Process().nice()
    for replica in replicas():
        assert {process.nice() for process in (replica, *replica.children(recursive=True))} == {own}


async def test_speech_is_that_of_a_single_server(cluster: Server) -> None:
    """Also of a text whose end the replica gets while it speaks the beginning, in both voices."""
    async with running(create_app(tone_profile())) as single, httpx.AsyncClient(timeout=60) as client:
        await single.until("/readyz", lambda answer: answer["ready"])
        for text, voice in (("Hello world.", "low"), (LONG, "low"), (LONG, "high")):
            body = {"text": text, "voice": voice, "format": "pcm"}
            for path in ("/tts", "/tts/stream"):
                expected = await single.call("POST", path, body)
                answer = await client.post(cluster.base_url + path, json=body)
                assert answer.status_code == 200
                assert answer.content == expected.body


def test_times_come_through(cluster: Server) -> None:
    body = {"text": "One two. Three.", "timestamps": "word"}
    answer = httpx.post(f"{cluster.base_url}/tts", json=body, timeout=30)
    assert answer.headers["content-type"].startswith("multipart/mixed")
    assert b'"Three' in answer.content or b"Three" in answer.content


def test_bad_input_is_refused_as_ever(cluster: Server) -> None:
    answer = httpx.post(f"{cluster.base_url}/tts", json={"text": "Hello.", "voice": "nobody"}, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["field"] == "voice"


def test_the_first_sound_does_not_wait_for_the_last(cluster: Server) -> None:
    spoken = stats(cluster)["requests"]["finished"]
    body = {"text": LONG, "format": "pcm"}
    with httpx.stream("POST", f"{cluster.base_url}/tts/stream", json=body, timeout=60) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        now = stats(cluster)
        assert now["requests"]["finished"] == spoken
        assert now["slots_used"] > 0
        assert sum(map(len, pieces)) > 0


def test_who_leaves_frees_the_engine_within_200_ms(cluster: Server) -> None:
    took_s = []
    for _ in range(5):
        gave_up = stats(cluster)["requests"]["aborted"]
        connection = _ask(cluster, LONG)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        until(lambda: stats(cluster)["slots_used"] > 0, 10, "it is spoken")
        begun_s = time.monotonic()
        connection.close()
        while True:
            now = stats(cluster)
            if now["requests"]["aborted"] > gave_up and not now["slots_used"]:
                break
            assert time.monotonic() - begun_s < 10
        took_s.append(time.monotonic() - begun_s)
    assert statistics.median(took_s) <= CANCELLED_S, took_s


def test_a_reader_that_reads_nothing_is_given_up_and_disturbs_nobody(cluster: Server) -> None:
    connection = _ask(cluster, "The harbour was quiet when the first boats came home. " * 90)
    until(lambda: _pending_s(cluster) > 100, 30, "its audio is held")
    answer = httpx.post(f"{cluster.base_url}/tts", json={"text": "Hello."}, timeout=30)
    assert answer.status_code == 200
    until(lambda: _pending_s(cluster) < 0.01, 60, "its audio is dropped")
    connection.close()


def test_a_killed_replica_loses_its_own_requests_and_no_other(cluster: Server) -> None:
    whole = [_Whole(cluster, LONG, voice) for voice in ("low", "high") * 5]
    until(lambda: stats(cluster)["slots_used"] > 2, 20, "they are spoken")
    victim = replicas()[0]
    victim.kill()
    for request in whole:
        request.join(60)
    statuses = [request.answer.status_code for request in whole if request.answer is not None]
    assert len(statuses) == len(whole)
    assert 0 < statuses.count(503) < len(whole), statuses
    assert set(statuses) == {200, 503}
    for request in whole:
        assert request.answer is not None
        if request.answer.status_code == 503:
            problem = request.answer.json()
            assert problem["code"] == "engine_died"
            assert "is gone" in problem["detail"]
            assert request.answer.headers["Retry-After"] == "1"
    assert httpx.post(f"{cluster.base_url}/tts", json={"text": "Hello."}, timeout=30).status_code == 200
    until(lambda: engines(cluster) == 2, 300, "another replica is in its place")


def test_a_crashed_engine_takes_its_replica_along(cluster: Server) -> None:
    """So that nothing is routed to a replica that cannot speak. Two requests of one voice are on two engines."""
    before = {process.pid for process in replicas()}
    both = [_Heard(cluster, LONG, "low") for _ in range(2)]
    for listener in both:
        assert listener.first.wait(20)
    process = next(
        child for child in replicas()[0].children() if "serving.engine.process" in " ".join(child.cmdline())
    )
    process.kill()
    for listener in both:
        listener.join(60)
    assert sorted(listener.ended for listener in both) == ["cut", "whole"]
    until(lambda: len({process.pid for process in replicas()} - before) == 1, 120, "a new replica")
    for _ in range(10):
        answer = httpx.post(f"{cluster.base_url}/tts", json={"text": "Hello."}, timeout=30)
        assert answer.status_code == 200
    until(lambda: engines(cluster) == 2, 300, "two engines")


def test_a_deep_queue_brings_another_engine(cluster: Server) -> None:
    """The profile aims at 12 requests per engine and allows a third engine."""
    stop = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(timeout=120) as client:
            while not stop.is_set():
                client.post(f"{cluster.base_url}/tts", json={"text": LONG})

    askers = [threading.Thread(target=keep_asking, daemon=True) for _ in range(40)]
    for asker in askers:
        asker.start()
    try:
        until(lambda: engines(cluster) == 3, 240, "a third engine")
    finally:
        stop.set()
        for asker in askers:
            asker.join(120)


class _Whole(threading.Thread):
    """Asks for a text as a whole."""

    def __init__(self, server: Server, text: str, voice: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{server.base_url}/tts"
        self._body = {"text": text, "voice": voice}
        self.answer: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = httpx.post(self._url, json=self._body, timeout=60)


class _Heard(threading.Thread):
    """Asks for a text as a stream and reads it."""

    def __init__(self, server: Server, text: str, voice: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{server.base_url}/tts/stream"
        self._body = {"text": text, "voice": voice}
        self.first = threading.Event()
        self.ended = ""
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=60) as answer:
                for _ in answer.iter_raw():
                    self.first.set()
            self.ended = "whole"
        except httpx.RemoteProtocolError:
            self.ended = "cut"


def _ask(server: Server, text: str) -> socket.socket:
    """A connection that has asked for a stream."""
    address = urlsplit(server.base_url)
    assert address.hostname
    assert address.port
    body = msgspec.json.encode({"text": text, "format": "pcm"})
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect((address.hostname, address.port))
    head = f"POST /tts/stream HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def _pending_s(server: Server) -> float:
    text = httpx.get(f"{server.base_url}/metrics", timeout=10).text
    return next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("tts_audio_pending_seconds ")
    )
