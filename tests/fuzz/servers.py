"""Small servers of the document of speech: one that answers as it should, and some that take what is wrong."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.fuzz import judge
from bench.fuzz.recordings import VOICE
from serving.batch import batch_schema
from serving.http.schema import Bounds
from serving.models import load_frontend
from serving.openai import body_schema
from serving.profile import load_profile

SPEECH = "/v1/audio/speech"
BATCH = f"{SPEECH}/batch"
FORMATS: Mapping[str, judge.Check] = {"speakable": judge.speakable, "voice": VOICE.__eq__}
"""What the formats mean to a server that has one voice."""

_SPEC = load_frontend(load_profile("default", ["model.name=tone"], environ={})).spec
ITEM = Bounds(max_chars=5000, voices=None).within(body_schema(_SPEC), _SPEC, "input", "response_format")
BODIES = {SPEECH: ITEM, BATCH: batch_schema(ITEM, 8)}

Takes = Callable[[str, Any], bool]
"""Whether a server takes this body, or this item of a batch, sent to this path."""


def honest(path: str, body: Any) -> bool:
    """What is right."""
    return judge.Reader(ITEM if path == "item" else BODIES[path], FORMATS).is_valid(body)


def document() -> dict[str, Any]:
    answer = {"description": "JSON", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "speech", "version": "1"},
        "paths": {
            path: {
                "post": {
                    "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                    "responses": {"200": answer, "400": answer, "415": answer},
                }
            }
            for path, schema in BODIES.items()
        },
    }


@contextlib.contextmanager
def serving(takes: Takes) -> Iterator[str]:
    """The base URL of a server that takes these bodies, and answers any other with 400."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and content in one packet

        def do_GET(self) -> None:
            self._sent()
            if self.path == "/schema/openapi.json":
                self._answer(200, document())
            elif self.path == "/v1/audio/voices":
                self._answer(200, {"voices": [{"id": VOICE}]})
            else:
                self._answer(405 if self.path in BODIES else 404, {})

        def do_POST(self) -> None:
            sent = self._sent()
            if self.path not in BODIES:
                return self._answer(404, {})
            if self.headers.get_content_type() != judge.JSON:
                return self._answer(415, {})
            try:
                body = judge.read(sent, judge.JSON)
                right = takes(self.path, body)
            except judge.Undecided:
                right = False
            if right and self.path == BATCH:
                return self._answer(200, {"results": _results(body, takes)})
            return self._answer(200 if right else 400, {})

        def do_PUT(self) -> None:
            self._sent()
            self._answer(405, {})

        do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_TRACE = do_QUERY = do_PUT

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _sent(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", judge.JSON)
            self.send_header("Content-Length", str(len(content)))
            if status == 405:
                self.send_header("Allow", "POST")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _results(body: dict[str, Any], takes: Takes) -> list[dict[str, Any]]:
    shared = {
        name: value for name, value in body.items() if name not in ("items", "output") and value is not None
    }
    results: list[dict[str, Any]] = []
    for index, item in enumerate(body["items"]):
        own = item if isinstance(item, dict) else {"input": None}
        whole = {**shared, **{name: value for name, value in own.items() if value is not None}}
        if takes("item", whole):
            results.append({"index": index, "status": "success"})
        else:
            results.append({"index": index, "status": "error", "error_status": 400, "error": "wrong"})
    return results
