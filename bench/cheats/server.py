"""A server in this process that answers as a cheat tells it, over true waves of the embedded voice."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from hibari import Hibari

from bench.cheats.answer import Answer, Floats
from bench.servers.start import Server
from serving.native.cores import usable_cores


class Voice:
    """The embedded voice; a text is spoken once and kept."""

    def __init__(self) -> None:
        self._model = Hibari(threads=min(2, usable_cores()))
        self._waves: dict[tuple[str, float], Floats] = {}
        self._lock = threading.Lock()

    def speak(self, text: str, speed: float = 1.0) -> Floats:
        """The wave of a text at 24 kHz."""
        with self._lock:
            if (text, speed) not in self._waves:
                parts = list(self._model.stream(text, speed=speed))
                self._waves[text, speed] = np.concatenate(parts).astype(np.float32)
            return self._waves[text, speed]


@dataclass
class Asked:
    """One request, as a cheat sees it."""

    text: str
    number: int
    """Requests before it."""
    at_once: int
    """Requests that are being answered, this one too."""
    speak: Callable[..., Floats]
    kept: dict[Any, Any] = field(default_factory=dict)
    """What the server remembers, the same for all requests."""

    @property
    def wave(self) -> Floats:
        return self.speak(self.text)


Cheat = Callable[[Asked], Answer]


@contextlib.contextmanager
def serve(cheat: Cheat, voice: Voice, stats: dict[str, Any] | None = None) -> Iterator[Server]:
    """Serve on a free port of the loopback address while the context lasts; `stats` is what /stats answers."""
    kept: dict[Any, Any] = {}
    lock = threading.Lock()
    counts = {"number": 0, "at_once": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = json.dumps(stats or {}).encode()
            self.send_response(200 if stats is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = counts["number"]
                counts["number"] += 1
                counts["at_once"] += 1
            try:
                time.sleep(0.02)  # so that requests of many clients overlap
                self._send(cheat(Asked(request["text"], number, counts["at_once"], voice.speak, kept)))
            finally:
                with lock:
                    counts["at_once"] -= 1

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            chunked = not answer.until_close
            self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
            self.end_headers()
            pieces = list(answer.pieces())
            if answer.one_chunk:
                self.wfile.write(b"%x\r\n" % sum(len(data) for _, data in pieces))
            for pause_s, data in pieces:
                if pause_s:
                    time.sleep(pause_s)
                alone = chunked and not answer.one_chunk
                self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n" if alone else data)
            if answer.one_chunk:
                self.wfile.write(b"\r\n")
            if answer.breaks_off or not chunked:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing on standard error."""

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Server("cheat", f"http://127.0.0.1:{server.server_address[1]}", None, {}, None)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
