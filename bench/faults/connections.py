"""Connections that are held, flooded or never finished: TLS, HTTP/1.1, HTTP/2, WebSockets."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from bench.faults.clients import established, head, health_ms, opened
from bench.faults.server import SLOW, TONE, Victim, check, serving, until

PLACES = 300
"""http.max_connections of these servers."""
HOLDERS = 400
FEW_PLACES = (
    *("--set", f"http.max_connections={PLACES}"),
    *("--set", "http.header_s=3"),
    *("--set", "http.send_s=3"),
    *("--set", "http.max_per_address=2000"),
)
FLOOD_S = 4.0
GROWN_MB = 100.0
"""What a flood may add to the server's memory."""
CROWD = 300
"""WebSockets that send as fast as they can."""
GROWN_EACH_MB = 4.0
"""What each of them may add to the server's memory."""
FORGOTTEN_S = 30.0
"""After they have left, their address may ask again."""
OTHER_ADDRESS = "127.0.0.2"
"""Of the neighbour of a crowd: this machine is all of 127.0.0.0/8."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RESET, _SETTINGS, _PING, _CONTINUATION = 1, 3, 4, 6, 9
_TEXT, _PING_FRAME = 1, 9


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, of nobody's, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def tls_handshakes_held(folder: Path) -> str:
    """More who begin a TLS handshake and go no further than the server has places."""
    cert, key = certificate(folder)
    files = ("--set", f"http.tls_cert={cert}", "--set", f"http.tls_key={key}")
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with serving(folder, *TONE, *FEW_PLACES, *files) as victim, opened(victim, HOLDERS) as clients:
        for number, client in enumerate(clients):
            if number % 2:
                client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

        def answers() -> bool:
            try:
                return httpx.get(f"{victim.url}/healthz", verify=trusting, timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        took_s = until(answers, 20, "/healthz answers over TLS")
        ended_s = until(lambda: not established(victim), 30, "all are closed")
    return f"/healthz answered after {took_s:.1f} s, all were closed after {ended_s:.1f} s"


def connections_kept_open(folder: Path) -> str:
    """More who ask once and keep their connection than the server has places."""
    with serving(folder, *TONE, *FEW_PLACES) as victim, opened(victim, HOLDERS) as clients:
        ask = f"GET /healthz HTTP/1.1\r\nHost: {victim.host}:{victim.port}\r\n\r\n".encode()
        for client in clients:
            client.sendall(ask)
        took_s = until(lambda: victim.status("/healthz") == 200, 20, "/healthz answers")
        check(victim.speak().status_code == 200, "it does not speak")
    return f"/healthz answered after {took_s:.1f} s"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def _http2_floods() -> dict[str, Iterator[bytes] | None]:
    """What each client sends, again and again, after the preface and its settings."""

    def resets() -> Iterator[bytes]:
        connection = H2Connection()
        connection.initiate_connection()
        connection.data_to_send()
        fields = [(":method", "POST"), (":path", "/tts"), (":scheme", "http"), (":authority", "localhost")]
        while True:
            for _ in range(100):
                number = connection.get_next_available_stream_id()
                connection.send_headers(number, [*fields, ("content-type", "application/json")])
                connection.reset_stream(number, ErrorCodes.CANCEL)
            yield connection.data_to_send()

    def always(piece: bytes) -> Iterator[bytes]:
        while True:
            yield piece

    def continuations() -> Iterator[bytes]:
        yield _frame(_HEADERS, 0, 1, b"\x82")
        yield from always(_frame(_CONTINUATION, 0, 1, b"\x40\x01a\x01b" * 200) * 20)

    return {
        "resets": resets(),
        "pings": always(_frame(_PING, 0, 0, b"12345678") * 200),
        "settings": always(_frame(_SETTINGS, 0, 0, struct.pack("!HI", 4, 65_535)) * 200),
        "empty continuations": continuations(),
        "nothing": None,
    }


def http2_floods(folder: Path) -> str:
    """Rapid resets, pings, settings and endless heads of HTTP/2, and connections that say nothing more."""
    with serving(folder, *TONE, *FEW_PLACES, "--set", "http.http2=true") as victim:
        victim.speak()
        begin = _PREFACE + _frame(_SETTINGS, 0, 0)
        return "; ".join(_flood(victim, name, begin, pieces) for name, pieces in _http2_floods().items())


def _flood(victim: Victim, name: str, begin: bytes, pieces: Iterator[bytes] | None) -> str:
    """Let one client send `begin` and then `pieces` for a while; without these, more clients than there are places send
    `begin` and wait.
    """
    before_mb = _memory_mb(victim)
    with opened(victim, 1 if pieces is not None else HOLDERS) as clients:
        for client in clients:
            client.sendall(begin)
        flood = threading.Thread(target=_send_for, args=(clients[0], pieces or ()), daemon=True)
        flood.start()
        silent_s = until(lambda: victim.status("/healthz", 1) == 200, 20, f"{name}: /healthz answers")
        _, worst = health_ms(victim)
        grown_mb = _memory_mb(victim) - before_mb
        flood.join(FLOOD_S + 10)
        if pieces is None:
            until(lambda: not established(victim), 30, f"{name}: all are closed")
    check(grown_mb < GROWN_MB, f"{name}: memory grew by {grown_mb:.0f} MB")
    check(victim.speak().status_code == 200, f"{name}: it does not speak")
    return f"{name}: /healthz after {silent_s:.1f} s, then worst {worst:.0f} ms, {grown_mb:+.0f} MB"


def _send_for(client: socket.socket, pieces: Iterable[bytes]) -> None:
    """Send for FLOOD_S, or until the server has had enough; what comes back is not read."""
    until_s = time.monotonic() + FLOOD_S
    client.settimeout(1)
    with contextlib.suppress(OSError):
        for piece in pieces:
            client.sendall(piece)
            if time.monotonic() > until_s:
                return


def requests_in_a_row(folder: Path) -> str:
    """Requests one behind another on one connection, whose answers nobody reads; then the client leaves."""
    body = b'{"text": "Hello."}'
    with serving(folder, *SLOW, *FEW_PLACES) as victim:
        with opened(victim, 20) as clients:
            for client in clients:
                client.settimeout(1)
                with contextlib.suppress(OSError):
                    client.sendall((head(victim, "/tts", len(body)) + body) * 500)
            _, worst = health_ms(victim, 20)
        took_s = until(lambda: _slots_used(victim) == 0, 20, "every slot is free")
        check(victim.speak("a").status_code == 200, "it does not speak")
    return f"10,000 requests; /healthz worst {worst:.0f} ms; free {took_s:.1f} s after they left"


def _slots_used(victim: Victim) -> int:
    return int(httpx.get(f"{victim.url}/stats", timeout=5).json()["in_flight"])


def websocket_floods(folder: Path) -> str:
    """Pings, and text in frames of one byte, without an end; and more who open one than the server has places."""

    def always(piece: bytes, first: bytes = b"") -> Iterator[bytes]:
        yield first
        while True:
            yield piece

    floods = {
        "pings": always(websocket_frame(_PING_FRAME, b"?", final=True) * 500),
        "bytes": always(
            websocket_frame(0, b" ", final=False) * 500, websocket_frame(_TEXT, b"{", final=False)
        ),
        "nothing": None,
    }
    with serving(folder, *TONE, *FEW_PLACES, "--set", "websocket.idle_s=4") as victim:
        victim.speak()
        begin = _upgrade(victim)
        return "; ".join(_flood(victim, name, begin, pieces) for name, pieces in floods.items())


def websocket_crowd(folder: Path) -> str:
    """Hundreds of WebSockets that send words, sentences or texts at once, beside a neighbour who asks and listens."""
    kinds = {
        "words": b'{"type":"input.text","text":" word"}',
        "sentences": b'{"type":"input.text","text":"Hello there. "}',
        "texts": b'{"type":"input.text","text":"' + b"The cat sat. He left at 5.30 p.m. " * 800 + b'"}',
    }
    return "; ".join(_crowd_beside_a_neighbour(folder, name, text) for name, text in kinds.items())


def _crowd_beside_a_neighbour(folder: Path, name: str, text: bytes) -> str:
    with serving(folder, *TONE, "--set", f"http.max_per_address={CROWD}") as victim:
        victim.speak()
        before_mb = _memory_mb(victim)
        with opened(victim, CROWD) as clients:
            over = threading.Event()
            crowd = threading.Thread(target=_send_on_all, args=(clients, victim, text, over), daemon=True)
            crowd.start()
            try:
                asked_ms, heard_ms = _asked_and_heard_ms(victim)
            finally:
                over.set()
                crowd.join(30)
        forgotten_s = until(
            lambda: victim.status("/voices") == 200, FORGOTTEN_S, f"{name}: they are forgotten"
        )
        grown_mb = _memory_mb(victim) - before_mb
        check(grown_mb < CROWD * GROWN_EACH_MB, f"{name}: memory grew by {grown_mb:.0f} MB")
    return (
        f"{name}: /healthz {asked_ms}, a neighbour's first sound {heard_ms}, {grown_mb:+.0f} MB; "
        f"their address was served {forgotten_s:.1f} s after they left"
    )


def _send_on_all(clients: list[socket.socket], victim: Victim, text: bytes, over: threading.Event) -> None:
    """Open a WebSocket on each connection and send `text` on all of them, until it is over or the server ends them."""
    config = b'{"type":"session.config","stream_audio":true,"response_format":"pcm"}'
    for client in clients:
        client.sendall(_upgrade(victim) + websocket_frame(_TEXT, config, final=True))
        client.setblocking(False)
    piece = websocket_frame(_TEXT, text, final=True)
    piece *= max(1, 4096 // len(piece))
    unsent = dict.fromkeys(clients, b"")
    while unsent and not over.is_set():
        for client, rest in list(unsent.items()):
            try:
                client.recv(1 << 16)
            except BlockingIOError:
                pass
            except OSError:
                del unsent[client]
                continue
            try:
                rest = rest or piece
                unsent[client] = rest[client.send(rest) :]
            except BlockingIOError:
                continue
            except OSError:
                del unsent[client]


def _asked_and_heard_ms(victim: Victim) -> tuple[str, str]:
    """Median and worst of /healthz, and of the first sound, for FLOOD_S from another address."""
    asked_ms, heard_ms = [], []
    there = httpx.HTTPTransport(local_address=OTHER_ADDRESS)
    with httpx.Client(base_url=victim.url, transport=there, timeout=10) as http:
        until_s = time.monotonic() + FLOOD_S
        while time.monotonic() < until_s:
            begun_s = time.monotonic()
            check(http.get("/healthz").status_code == 200, "/healthz is silent")
            asked_ms.append((time.monotonic() - begun_s) * 1e3)
            begun_s = time.monotonic()
            with http.stream("POST", "/tts/stream", json={"text": "Hello."}) as answer:
                if answer.status_code == 200:
                    next(answer.iter_raw())
                    heard_ms.append((time.monotonic() - begun_s) * 1e3)
            time.sleep(0.02)
    check(heard_ms, "the neighbour was never spoken to")
    return _middle_and_worst(asked_ms), _middle_and_worst(heard_ms)


def _middle_and_worst(took_ms: list[float]) -> str:
    return f"{statistics.median(took_ms):.0f} ms, worst {max(took_ms):.0f} ms"


def websocket_frame(opcode: int, payload: bytes, *, final: bool) -> bytes:
    """A frame of RFC 6455, as a client sends it, of less than 65,536 bytes."""
    long = len(payload) > 125
    size = struct.pack("!BH", 0x80 | 126, len(payload)) if long else bytes((0x80 | len(payload),))
    return bytes(((0x80 if final else 0) | opcode,)) + size + bytes(4) + payload


def _upgrade(victim: Victim) -> bytes:
    lines = [
        "GET /v1/audio/speech/stream HTTP/1.1",
        f"Host: {victim.host}:{victim.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(b'x' * 16).decode()}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _memory_mb(victim: Victim) -> float:
    return float(sum(process.memory_full_info().uss for process in victim.family())) / 1e6
