"""Clients that send slowly, read nothing, or leave half of the connection open."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.faults.server import TONE, Victim, check, serving, until

READERS = 145
SLOW_BODIES = 1050
LONG = "The harbour was quiet when the first boats came home, and nobody spoke of it. " * 60
PLAYED_BYTES_PER_S = 48_000
"""24 kHz, 16 bits."""
PLAYER_SEND_S = 6
"""A player's own system takes 0.1 MB at once, which are two seconds of speech."""
SHORT_DEADLINES = (
    *("--set", "http.send_s=3"),
    *("--set", "http.body_s=4"),
    *("--set", "http.header_s=4"),
    *("--set", "http.max_per_address=2000"),
)


@contextlib.contextmanager
def opened(victim: Victim, count: int, *, small_window: bool = False) -> Iterator[list[socket.socket]]:
    """Connections of clients, closed at the end; `small_window`: they take little before they read."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.socket()
            if small_window:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect((victim.host, victim.port))
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            client.close()


def head(victim: Victim, path: str, length: int) -> bytes:
    """The head of a POST of JSON of so many bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {victim.host}:{victim.port}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def health_ms(victim: Victim, count: int = 50) -> tuple[float, float]:
    """Median and worst time of /healthz on new connections, one after another."""
    took_ms = []
    for _ in range(count):
        begun_s = time.monotonic()
        check(victim.status("/healthz", 5) == 200, "/healthz is silent")
        took_ms.append((time.monotonic() - begun_s) * 1e3)
    return statistics.median(took_ms), max(took_ms)


def readers_that_never_read(folder: Path) -> str:
    """145 who ask for long texts and read nothing: given up, and their place is free."""
    with serving(folder, *TONE, *SHORT_DEADLINES) as victim:
        body = b'{"text": "' + LONG.encode() + b'"}'
        with opened(victim, READERS, small_window=True) as clients:
            begun_s = time.monotonic()
            for client in clients:
                client.sendall(head(victim, "/tts/stream", len(body)) + body)
            time.sleep(0.5)
            middle, worst = health_ms(victim)
            until(lambda: victim.speak(LONG[:4000]).status_code == 200, 30, "a long text is taken")
            took_s = time.monotonic() - begun_s
            until(lambda: not established(victim), 30, "their connections are closed")
        return f"a long text was taken {took_s:.1f} s after they came; /healthz {middle:.0f} ms, worst {worst:.0f} ms"


def reader_at_the_pace_of_speech(folder: Path) -> str:
    """One who takes a long text as slowly as it is played, with a deadline for those who take nothing."""
    with serving(folder, *TONE, "--set", f"http.send_s={PLAYER_SEND_S}") as victim:
        body = b'{"format": "pcm", "text": "' + LONG.encode() + b'"}'
        with opened(victim, 1) as (client,):
            client.sendall(head(victim, "/tts/stream", len(body)) + body)
            taken, begun_s = 0, time.monotonic()
            while (passed_s := time.monotonic() - begun_s) < 4 * PLAYER_SEND_S:
                while taken < PLAYED_BYTES_PER_S * passed_s:
                    data = client.recv(4096)
                    check(bool(data), f"cut after {passed_s:.1f} s and {taken} bytes")
                    taken += len(data)
                time.sleep(0.05)
        check("took nothing" not in victim.log.read_text(encoding="utf-8"), "given up")
    return f"{taken / 1e6:.1f} MB taken in {passed_s:.0f} s, four times http.send_s"


def bodies_of_one_byte(folder: Path) -> str:
    """1,050 who send one byte of a body and wait: /healthz answers, and all are closed."""
    with serving(folder, *TONE, *SHORT_DEADLINES) as victim:
        with opened(victim, SLOW_BODIES) as clients:
            for client in clients:
                client.sendall(head(victim, "/tts", 100) + b"{")
            middle, worst = health_ms(victim)
            check(victim.speak().status_code == 200, "it does not speak")
            answers = [client.recv(65_536).split(b" ", 2)[1] for client in clients]
            check(set(answers) == {b"408"}, f"they got {set(answers)}")
        return f"all got 408; meanwhile /healthz {middle:.0f} ms, worst {worst:.0f} ms, and a neighbour was served"


def heads_that_never_end(folder: Path) -> str:
    """300 who send half a head, and 300 who send nothing."""
    with serving(folder, *TONE, *SHORT_DEADLINES) as victim, opened(victim, 600) as clients:
        for client in clients[:300]:
            client.sendall(b"POST /tts HTTP/1.1\r\nHost: loc")
        middle, worst = health_ms(victim)
        took_s = until(lambda: not established(victim), 30, "all are closed")
        return f"all closed after {took_s:.1f} s; /healthz {middle:.0f} ms, worst {worst:.0f} ms"


def half_closed(folder: Path) -> str:
    """200 who close their sending half in the middle of a body, or after it."""
    with serving(folder, *TONE, *SHORT_DEADLINES) as victim:
        victim.speak()
        before = victim.files()
        body = b'{"text": "Hello."}'
        whole = 0
        with opened(victim, 200) as clients:
            for number, client in enumerate(clients):
                sent = body if number % 2 else body[:5]
                client.sendall(head(victim, "/tts", len(body)) + sent)
                client.shutdown(socket.SHUT_WR)
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    whole += client.recv(65_536).startswith(b"HTTP/1.1 200")
        until(lambda: victim.files() <= before, 20, "the files are closed")
        check(victim.speak().status_code == 200, "it does not speak")
        return f"{whole} of 100 with a whole body were answered (Granian takes the others as gone); no file stays open"


def few_files(folder: Path) -> str:
    """700 connections to a server that may open 320 files in all."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (320, 320))

    with serving(folder, *TONE, *SHORT_DEADLINES, prepare=limit) as victim:
        with opened(victim, 700):
            time.sleep(1)
            lives = victim.process.poll() is None
        check(lives, "it ended")
        took_s = until(lambda: victim.status("/healthz") == 200, 20, "/healthz answers")
        check(victim.speak().status_code == 200, "it does not speak")
        return f"answers {took_s:.1f} s after they left"


def engine_killed_without_files(folder: Path) -> str:
    """More clients than a server may open files, which are 64 in all, while its engine is killed."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with serving(folder, *TONE, *SHORT_DEADLINES, prepare=limit) as victim:
        with opened(victim, 100):
            time.sleep(0.5)
            victim.engine().kill()
            time.sleep(2)
        took_s = until(lambda: victim.status("/readyz") == 200, 30, "/readyz says 200")
        check(victim.speak().status_code == 200, "it does not speak")
        check("Too many open files" not in victim.log.read_text(encoding="utf-8"), "it had no file left")
        return f"a new engine started beside 100 clients; it was ready {took_s:.1f} s after they left"


def established(victim: Victim) -> int:
    """Connections of clients that the server's side holds."""
    return sum(
        connection.status == "ESTABLISHED" and connection.laddr.port == victim.port
        for connection in victim.http().net_connections("tcp")
    )
