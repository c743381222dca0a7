"""Servers that speak other APIs and send known bytes at known times: the test of the adapters.

    python tests/unit/bench/targets/fake_targets.py --port N [--socket]

Over HTTP: /v1/audio/speech (OpenAI's: raw samples, or events if stream_format is sse), /v1/text-to-speech/VOICE/stream
(ElevenLabs', by its public documentation: the key in xi-api-key, output_format in the query, text and model_id in the
body) and /any, which takes JSON, a form or a query. With --socket: the WebSocket of vLLM-Omni.

The text is a script, a JSON object: `chunks`, a list of [pause_s, samples]; `raw`, an answer to be sent as it is;
`hang_s`, how long nothing is sent at the end; `close`, a code and a reason for a WebSocket; `say`, what it sends first.
GET /log tells when each request was read and each chunk sent, and what was asked.
"""

from __future__ import annotations

import argparse
import base64
import json
import struct
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

RATE_HZ = 24_000
SAMPLE = struct.pack("<h", 1000)
KEY = "a-key-for-the-tests"
NOTES: list[dict[str, Any]] = []
DEFAULT: dict[str, Any] = {"chunks": [[0.005, 2400], [0.02, 2400]]}


def script_of(text: str) -> dict[str, Any]:
    script: dict[str, Any] = json.loads(text) if text.startswith("{") else DEFAULT
    return script


class Handler(BaseHTTPRequestHandler):
    """Answers by script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self._answer(200, {"ready": True})
        elif self.path == "/log":
            self._answer(200, {"notes": NOTES})
        else:
            self._speak(parse_qs(urlsplit(self.path).query)["text"][0], {}, False)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if "form" in self.headers["Content-Type"]:
            body = {name: values[0] for name, values in parse_qs(content.decode()).items()}
        elif "json" in self.headers["Content-Type"]:
            body = json.loads(content)
        else:
            body = {"text": content.decode()}
        if path.startswith("/v1/text-to-speech/"):
            if self.headers["xi-api-key"] != KEY:
                self._answer(401, {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}})
            elif query.get("output_format") != [f"pcm_{RATE_HZ}"] or path.split("/")[3:] != [
                "bella",
                "stream",
            ]:
                self._answer(422, {"detail": [{"loc": ["query"], "msg": "output_format or voice"}]})
            else:
                self._speak(body["text"], body, False)
        elif path == "/v1/audio/speech":
            self._speak(body["input"], body, body.get("stream_format") == "sse")
        elif path == "/any":
            self._speak(body["text"], body, False)
        else:
            self._answer(404, {"error": {"message": "no such path"}})

    def _speak(self, text: str, body: dict[str, Any], events: bool) -> None:
        script = script_of(text)
        note: dict[str, Any] = {"received": time.monotonic(), "sent": []}
        note["body"] = {**body, "text": "", "input": ""}
        note["headers"] = {name.lower(): value for name, value in self.headers.items()}
        NOTES.append(note)
        if "raw" in script:
            self.wfile.write(script["raw"].encode("latin-1"))
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream" if events else "audio/pcm")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for pause_s, samples in script["chunks"]:
                time.sleep(pause_s)
                data = SAMPLE * samples
                if events:
                    audio = base64.b64encode(data).decode()
                    data = f"data: {json.dumps({'type': 'speech.audio.delta', 'audio': audio})}\n\n".encode()
                note["sent"].append([time.monotonic(), samples])
                self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
            done = b'data: {"type": "speech.audio.done"}\n\n' if events and not script.get("undone") else b""
            self.wfile.write((b"%x\r\n" % len(done) + done + b"\r\n" if done else b"") + b"0\r\n\r\n")
        time.sleep(script.get("hang_s", 0))
        self.close_connection = "raw" in script

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


def page(_: ServerConnection, request: Request) -> Response | None:
    """What is not the WebSocket: /readyz, /log, and nothing else."""
    if request.path == "/v1/audio/speech/stream":
        return None
    known = {"/readyz": {"ready": True}, "/log": {"notes": NOTES}}
    content = known.get(request.path)
    status = HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND
    body = json.dumps(content if content is not None else {"detail": "no such path"}).encode()
    headers = Headers(
        {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    )
    return Response(status, status.phrase, headers, body)


def converse(connection: ServerConnection) -> None:
    """The messages of vLLM-Omni, by script. An utterance is over when its text is."""
    text = ""
    note: dict[str, Any] = {"sent": [], "words": []}
    for message in connection:
        event = json.loads(message)
        if event["type"] == "input.text":
            note["words"].append(time.monotonic())
            text += event["text"]
        if event["type"] != "input.done":
            continue
        script = script_of(text)
        NOTES.append(note)
        for said in script.get("say", ()):
            connection.send(said)
        if "close" in script:
            connection.close(*script["close"])
            return
        connection.send(json.dumps({"type": "audio.start", "sample_rate": RATE_HZ, "format": "pcm"}))
        for pause_s, samples in script["chunks"]:
            time.sleep(pause_s)
            note["sent"].append([time.monotonic(), samples])
            connection.send(SAMPLE * samples)
        time.sleep(script.get("hang_s", 0))
        if script.get("cut"):
            connection.socket.close()
            return
        connection.send(json.dumps({"type": "audio.done"}))
        connection.send(json.dumps({"type": "session.done"}))
        text, note = "", {"sent": [], "words": []}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", action="store_true")
    parser.add_argument("--script", type=json.loads, default={}, help="of a text that is none")
    arguments = parser.parse_args()
    DEFAULT.update(arguments.script)
    if arguments.socket:
        serve(converse, "127.0.0.1", arguments.port, process_request=page).serve_forever()
    else:
        Server(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
