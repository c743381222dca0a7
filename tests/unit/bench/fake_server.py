"""A speech server that sends known bytes at known times and notes when it did: the load generator's test.

    python tests/unit/bench/fake_server.py --port N [--value 0]

The text of a request is its script, a JSON object:

    chunks        list of [pause_s, samples]: wait, then send that many samples as one HTTP chunk, --value and its
                  negative in turn
    status        200
    end           "clean", "cut" (close without the last chunk) or "hang" (never end)
    stated        samples that the WAV header states; absent: unknown length (0xFFFFFFFF)
    header        "once", "each" (a whole WAV per chunk, as some servers do) or "none" (raw pcm)
    length        true: Content-Length in place of HTTP chunks
    more_headers  further response headers
    drip          bytes per write to the socket; absent: all at once
    drip_s        seconds between these writes

GET /stats answers how many requests came, GET /log the notes: of each request the monotonic time when it was
read, of each chunk [time, samples].
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RATE_HZ = 24_000
VALUE = 1000

DEFAULT = '{"chunks": [[0.005, 2400], [0.02, 2400]]}'
"""The script of a text that is none."""
NOTES: list[dict[str, Any]] = []


def wav_header(samples: int | None) -> bytes:
    """16-bit mono at RATE_HZ; None: of unknown length."""
    size = 0xFFFFFFFF if samples is None else samples * 2
    riff = 0xFFFFFFFF if samples is None else size + 36
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", size)


class Handler(BaseHTTPRequestHandler):
    """Answers by script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/log":
            self._answer(200, {"notes": NOTES})
        elif self.path == "/stats":
            self._answer(200, {"requests": len(NOTES)})
        elif self.path == "/readyz":
            self._answer(200, {"ready": True, "model": "fake"})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        note: dict[str, Any] = {"received": time.monotonic(), "sent": []}
        NOTES.append(note)
        text = request["text"]
        self._speak(json.loads(text if text.startswith("{") else DEFAULT), note)

    def _speak(self, script: dict[str, Any], note: dict[str, Any]) -> None:
        kind = script.get("header", "once")
        head = b"" if kind == "none" else wav_header(script.get("stated"))
        whole = script.get("length", False)
        self.send_response(script.get("status", 200))
        for name, value in script.get("more_headers", {}).items():
            self.send_header(name, value)
        if whole:
            count = sum(samples for _, samples in script["chunks"])
            self.send_header("Content-Length", str(len(head) + 2 * count))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index, (pause_s, samples) in enumerate(script["chunks"]):
            time.sleep(pause_s)
            data = (struct.pack("<hh", VALUE, -VALUE) * (samples // 2 + 1))[: 2 * samples]
            if kind == "each":
                data = wav_header(samples) + data
            elif index == 0:
                data = head + data
            note["sent"].append([time.monotonic(), samples])
            self._write(
                data if whole else b"%x\r\n" % len(data) + data + b"\r\n",
                script.get("drip"),
                script.get("drip_s", 0.0002),
            )
        end = script.get("end", "clean")
        if end == "hang":
            time.sleep(30)
        if end == "clean" and not whole:
            self._write(b"0\r\n\r\n", script.get("drip"))
        self.close_connection = end != "clean"

    def _write(self, data: bytes, drip: int | None, drip_s: float = 0.0002) -> None:
        size = drip or len(data)
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            if drip:
                time.sleep(drip_s)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on standard error."""


class Server(ThreadingHTTPServer):
    """A thread per connection, none of which outlives the server."""

    daemon_threads = True


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--value", type=int, default=VALUE, help="of every other sample; 0 is silence")
    arguments = parser.parse_args()
    globals()["VALUE"] = arguments.value
    Server(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
