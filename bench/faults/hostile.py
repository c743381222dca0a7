"""Texts that are hard to read, kernels that were tampered with, modules and pages of others."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from pathlib import Path

import httpx

from bench.faults.server import TONE, Victim, check, serving

HARD = (
    "/" * 4900,
    "²³¹⁰" * 600,
    "supercalifragilistic" * 15,
    "((((" * 1000,
    "1" * 100,
    "a.b.c." * 40,
)
"""Hard to read, and no long speech: this is not about the engine's load."""
NEIGHBOUR = "The boats came home."
ASKS = 15


def texts_hard_to_read(folder: Path) -> str:
    """Four clients send what a phonemizer is slow with or fails at, and a neighbour speaks."""
    with serving(folder) as victim:
        _first_ms(victim)
        before_ms = statistics.median(_first_ms(victim) for _ in range(ASKS))
        statuses: list[int] = []
        ended = threading.Event()

        def ask(number: int) -> None:
            turn = number
            while not ended.is_set():
                statuses.append(victim.speak(HARD[turn % len(HARD)], timeout_s=120).status_code)
                turn += 1

        clients = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(4)]
        for client in clients:
            client.start()
        during_ms = sorted(_first_ms(victim) for _ in range(ASKS))
        ended.set()
        for client in clients:
            client.join(120)
        check(statuses and max(statuses) < 500, f"a text got {max(statuses, default=0)}")
        middle, worst = statistics.median(during_ms), during_ms[-1]
        return (
            f"{len(statuses)} texts, none with a 5xx; a neighbour's first sound {before_ms:.0f} ms before, "
            f"{middle:.0f} ms meanwhile, worst {worst:.0f} ms"
        )


def _first_ms(victim: Victim) -> float:
    begun_s = time.monotonic()
    body = {"text": NEIGHBOUR, "format": "pcm"}
    with httpx.stream("POST", f"{victim.url}/tts/stream", json=body, timeout=60) as answer:
        check(answer.status_code == 200, f"the neighbour got {answer.status_code}")
        took_s = 0.0
        for _ in answer.iter_raw():
            took_s = took_s or time.monotonic() - begun_s
    return took_s * 1e3


def kernels_tampered(folder: Path) -> str:
    """The libraries of the cache are overwritten, and made everybody's, between two starts."""
    environ = {"XDG_CACHE_HOME": str(folder / "cache")}
    folder.chmod(0o700)  # whoever may write above it may put anything there
    with serving(folder, environ=environ) as victim:
        kind = _kernels(victim)
    libraries = [path for path in (folder / "cache").rglob("*.so") if path.is_file()]
    if not libraries:
        check(kind == "torch", f"{kind} kernels came from nowhere")
        return "nothing to tamper with: this machine builds no kernels, or its wheel brought them"
    for number, path in enumerate(libraries):
        path.chmod(0o700)
        path.write_bytes(b"\x7fELF and nothing else")
        if number % 2:
            path.chmod(0o777)
    with serving(folder, environ=environ) as victim:
        again = _kernels(victim)
        check(victim.speak().status_code == 200, "it does not speak")
    check(again == kind, f"it ran on {kind} kernels, and on {again} after that")
    return f"{len(libraries)} broken: built anew, {again} as before"


def _kernels(victim: Victim) -> str:
    return str(httpx.get(f"{victim.url}/readyz", timeout=5).json().get("kernels"))


def modules_of_the_folder(folder: Path) -> str:
    """Started in a folder that holds a torch.py and others of that kind."""
    trap = folder / "trap"
    trap.mkdir(mode=0o755)
    for name in ("torch", "zmq", "numpy", "litestar", "granian", "sitecustomize", "serving"):
        (trap / f"{name}.py").write_text("import os\nos.write(2, b'TRAPPED')\nos._exit(99)\n")
    with serving(folder, *TONE, flags=("-P",), cwd=trap) as victim:
        check(victim.speak().status_code == 200, "it does not speak")
        check("TRAPPED" not in victim.log.read_text(encoding="utf-8"), "one of them was imported")
    return "7 modules lie there, none is imported"


def pages_of_others(folder: Path) -> str:
    """Names that were pointed at this machine, pages of other sites, a request with two names."""
    with serving(folder, *TONE) as victim:
        own = f"{victim.host}:{victim.port}"
        got = {
            "another Host": _status(victim, "Host: evil.example"),
            "another Origin": _status(victim, f"Host: {own}", "Origin: https://evil.example"),
            "two Hosts": _status(victim, f"Host: {own}", "Host: evil.example"),
            "its own": _status(victim, f"Host: {own}"),
        }
        wanted = {"another Host": 421, "another Origin": 403, "two Hosts": 400, "its own": 200}
        check(got == wanted, f"answered {got}")
    return ", ".join(f"{name} {status}" for name, status in got.items())


def _status(victim: Victim, *headers: str) -> int:
    lines = ["GET /voices HTTP/1.1", *headers, "Connection: close", "", ""]
    with socket.create_connection((victim.host, victim.port), 10) as client:
        client.sendall("\r\n".join(lines).encode())
        return int(client.recv(65_536).split(b" ", 2)[1])
