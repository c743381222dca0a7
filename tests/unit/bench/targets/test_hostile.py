"""What servers do wrong is named in plain words, before the deadline, and the next request is none the worse."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.load.http1 import MAX_HEADER_BYTES
from bench.servers.start import Server, StartFailed, free_port, start_server, target_server
from bench.targets.spec import Target
from tests.unit.bench.targets.targets_support import HTTP, SOCKET, ask, script

pytestmark = pytest.mark.slow

URL = "http://set-by-the-plan"
OPENAI = Target(adapter="openai", url=URL, timeout_s=1.0)
GOOD = script((0.0, 2400))


@pytest.fixture(scope="module")
def http() -> Iterator[Server]:
    with start_server("fake", spec=HTTP, timeout_s=30) as server:
        yield server


@pytest.fixture(scope="module")
def websocket() -> Iterator[Server]:
    with start_server("fake", spec=SOCKET, timeout_s=30) as server:
        yield server


def raw(status: str, *headers: str, body: str = "") -> str:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return json.dumps({"raw": "\r\n".join([*lines, "", body])})


def chunks(body: str, kind: str = "audio/pcm", hang_s: float = 0.0) -> str:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return json.dumps({"raw": head + body, "hang_s": hang_s})


HTML = "<html><head><title>Welcome to nginx!</title></head><body>hello</body></html>"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (raw("302 Found", "Location: https://elsewhere/v1"), "http_error", "redirected to https://elsewhere/v1"),
        (raw("200 OK", "Content-Type: audio/mpeg", body="\xff\xfb\x90\xc4" + "\0" * 200), "bad_audio",
         "the answer is mp3; set format"),
        (raw("401 Unauthorized", body='{"error": {"message": "Bad key"}}'), "http_error", "key_env): Bad key"),
        (raw("404 Not Found", body=HTML), "http_error", "POST /v1/audio/speech is not there, or not its model"),
        (raw("400 Bad Request", body='{"detail": [{"msg": "no voice x"}]}'), "http_error", "no voice x"),
        (raw("500 Oops", body='{"title": "Broken"}'), "http_error", "(Internal Server Error): Broken"),
        (raw("429 Slow down"), "refused", "429"),
        (raw("503 Busy"), "refused", "503"),
        (raw("200 OK", "Content-Type: text/html", body=HTML), "bad_audio", "an HTML page, no audio: Welcome to nginx!"),
        (raw("200 OK", "Content-Type: application/json", body='{"error": "no GPU"}'), "bad_audio", "no audio: no GPU"),
        (raw("200 OK", "Content-Type: audio/pcm", "Content-Encoding: gzip", body="xx"), "bad_audio", "gzip"),
        (raw("200 OK", "Content-Type: audio/wav", body="RIFF\x00\x00\x00\x00WAVE"), "bad_audio", "set format"),
        (raw("200 OK", "Content-Type: audio/pcm", body="123"), "wrong_sample_count", "1 bytes"),
        (raw("204 No Content"), "http_error", "204"),
        (raw("200 OK", "Content-Type: audio/pcm"), "empty", "without a sample"),
        (json.dumps({"raw": "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcd"}), "http_error", "Content-Length: -5"),
        (json.dumps({"raw": "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nab"}), "truncated", "broke off"),
        (json.dumps({"raw": "SSH-2.0-OpenSSH_9.6\r\n\r\n"}), "http_error", "not HTTP"),
        (json.dumps({"raw": "HTTP/1.1 200 OK\r\nX: " + "a" * 2 * MAX_HEADER_BYTES}), "http_error", "without end"),
        (json.dumps({"raw": ""}), "truncated", "before an answer"),
        (chunks("zz\r\nab\r\n"), "http_error", "not a chunk size: b'zz'"),
        (chunks("-3\r\nab\r\n"), "http_error", "not a chunk size: b'-3'"),
        (chunks("1_0\r\nab\r\n"), "http_error", "not a chunk size"),
        (chunks("2\r\nabcdef\r\n0\r\n\r\n"), "http_error", "longer than its size"),
        (chunks("2\r\nab\r\n"), "truncated", "broke off"),
        (chunks("2\r\nab\r\n", hang_s=3), "timeout", "no end within 1 s"),
        (chunks("f" * 2 * MAX_HEADER_BYTES), "http_error", "without end"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_named(http: Server, answer: str, kind: str, words: str) -> None:
    bad, good = ask(http.url, OPENAI, answer, GOOD)
    assert (bad.error, words in bad.detail) == (kind, True), bad.detail
    assert good.error is None


def event(**content: Any) -> str:
    data = f"data: {json.dumps(content)}\n\n"
    return f"{len(data):x}\r\n{data}\r\n"


AUDIO = base64.b64encode(b"\0\1" * 240).decode()


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (event(type="speech.audio.delta", audio=AUDIO) + event(type="error", error={"message": "out of memory"}),
         "bad_audio", "out of memory"),
        (event(type="speech.audio.delta", audio=AUDIO), "truncated", "broke off"),
        (event(type="speech.audio.delta", audio="*?"), "bad_audio", "not Base64"),
        ("8\r\ndata: {\n\r\n", "bad_audio", "not JSON"),
        (event(type="speech.audio.done"), "empty", "without a sample"),
    ],
)  # fmt: skip
def test_events_that_are_none_are_named(http: Server, body: str, kind: str, words: str) -> None:
    target = Target(adapter="openai", url=URL, sse=True)
    bad, good = ask(http.url, target, chunks(body + "0\r\n\r\n", "text/event-stream"), GOOD)
    assert (bad.error, words in bad.detail) == (kind, True), bad.detail
    assert good.error is None


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac"])
def test_a_body_that_the_codec_does_not_know_is_named(http: Server, format: Any) -> None:
    noise = raw("200 OK", "Content-Type: audio/x", body="".join(chr(i * 89 % 251) for i in range(2000)))
    (bad,) = ask(http.url, Target(adapter="openai", url=URL, format=format), noise)
    assert bad.error == "bad_audio"
    assert format in bad.detail


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [
        (
            {"close": [1008, "no such voice"]},
            "truncated",
            "closed with 1008 (policy violation): no such voice",
        ),
        ({"close": [1013, "full"]}, "refused", "closed with 1013 (try again later): full"),
        ({"close": [4001, "bad key"]}, "truncated", "4001 (a code of its own): bad key"),
        ({"cut": True}, "truncated", "1006 (no close frame)"),
        ({"hang_s": 3}, "timeout", "no end within 1 s"),
        (
            {"say": ['{"type": "error", "code": "overloaded", "message": "busy"}']},
            "refused",
            "overloaded: busy",
        ),
        ({"say": ['{"type": "error", "error": {"message": "no GPU"}}']}, "http_error", "no GPU"),
        ({"say": ["hello"]}, "http_error", "not an event of this protocol: hello"),
        ({"say": ["[1]"]}, "http_error", "not an event"),
        ({"say": ['{"type": "audio.start", "sample_rate": "-1"}']}, "http_error", "not an event"),
    ],
)
def test_a_websocket_that_ends_badly_is_named(websocket: Server, wanted: Any, kind: str, words: str) -> None:
    target = Target(adapter="omni", url=URL, timeout_s=1.0)
    bad, good = ask(websocket.url, target, script((0.0, 240), **wanted), GOOD)
    assert (bad.error, words in bad.detail) == (kind, True), bad.detail
    assert good.error is None


def test_what_is_no_websocket_is_named(http: Server, websocket: Server) -> None:
    wrong = Target(adapter="omni", url=URL, path="/nowhere")
    (sample,) = ask(websocket.url, wrong, GOOD)
    assert sample.error == "http_error"
    assert "GET /nowhere is not there" in sample.detail
    (sample,) = ask(f"http://127.0.0.1:{free_port()}", Target(adapter="omni", url=URL), GOOD)
    assert (sample.error, "nothing listens" in sample.detail) == ("connect", True)


def test_a_key_that_the_server_repeats_is_not_kept(http: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-very-secret")
    target = Target(adapter="openai", url=URL, key_env="A_KEY", headers={"X-More": "Token another-secret"})
    answer = raw("401 No", body='{"error": "sk-very-secret or another-secret is wrong"}')
    (sample,) = ask(http.url, target, answer)
    assert "*** or *** is wrong" in sample.detail
    assert "secret" not in json.dumps(target.described())


class TlsServer:
    """Speaks TLS with a certificate of its own, or plain text, and answers every request with one sample."""

    def __init__(self, folder: Path, tls: bool) -> None:
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._tls = tls
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(plain,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
                while connection.recv(65_536):
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: 2\r\n\r\nab"
                    )
        except OSError:
            plain.close()

    def close(self) -> None:
        self._listener.close()


def test_certificates_are_checked(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, tls=True)
    url = f"https://localhost:{server.port}"
    known = Target(adapter="openai", url=url, ca_file=str(server.certificate))
    stranger = Target(adapter="openai", url=url)
    with target_server(known) as ready:
        first, second = ask(ready.url, known, "Hello.", "World.")
    assert (first.error, second.error, first.events[0][1]) == (None, None, 2)
    (sample,) = ask(url, stranger, "Hello.")
    assert (sample.error, "certificate" in sample.detail) == ("connect", True)
    with pytest.raises(StartFailed, match="certificate"), target_server(stranger):
        pass
    server.close()


def test_tls_to_a_server_without_it_is_named(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, tls=False)
    target = Target(adapter="openai", url=f"https://localhost:{server.port}")
    (sample,) = ask(target.url, target, "Hello.")
    assert sample.error == "connect"
    assert "is it http:// in place of https://?" in sample.detail
    server.close()


def test_a_host_without_an_address_is_named() -> None:
    target = Target(adapter="openai", url="http://no-such-host.invalid")
    (sample,) = ask(target.url, target, "Hello.")
    assert sample.error == "connect"
    assert "no-such-host.invalid" in sample.detail


def test_bytes_that_no_reader_expects_are_a_fault_of_the_answer(http: Server) -> None:
    half = json.dumps({"type": "speech.audio.delta", "audio": "\u00e9"})
    events = f"data: {half}\n\n"
    sse = Target(adapter="openai", url=URL, sse=True)
    for target, answer, kind in (
        (OPENAI, raw("500 Oops", body="[" * 2000), "http_error"),
        (OPENAI, raw("200 OK", "Content-Type: audio/pcm; rate=\u00b2", body="ab" * 100), None),
        (OPENAI, raw("200 OK", f"Content-Type: audio/pcm; rate={'9' * 5000}", body="ab" * 100), None),
        (sse, chunks(f"{len(events):x}\r\n{events}\r\n0\r\n\r\n", "text/event-stream"), "bad_audio"),
    ):
        bad, good = ask(http.url, target, answer, GOOD)
        assert bad.error == kind, bad.detail
        assert good.error is None
