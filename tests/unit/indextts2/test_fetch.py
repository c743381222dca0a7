"""`tts-serving fetch` against a hub of our own on this machine: what it says of its files, and what it then sends."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.models.indextts2.weights.fetch import LOCK
from tests.support import environment

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
CONTENT = {"model.bin": b"weights " * 400, "config.yaml": b"size: small\n"}
LARGE = frozenset(("model.bin",))
PROGRAM = """
import sys
from pathlib import Path
from serving.models.indextts2.weights.fetch import HubFile, fetch
files = [HubFile("us/model", "config.yaml", "config.yaml"), HubFile("us/model", "model.bin", "parts/model.bin")]
try:
    fetch(Path(sys.argv[1]), files=files, notice="")
except RuntimeError as error:
    sys.exit(f"refused: {error}")
"""


class Hub(ThreadingHTTPServer):
    """Tells of CONTENT, and sends what it was told to send in its place."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sends = dict(CONTENT)
        self.commit = COMMIT
        self.redirects = False
        self.cuts, self.cut_path = 0, ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Not to standard error."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub = self.server
        if self.path.startswith("/api/models/us/model"):
            content = json.dumps(
                {"id": "us/model", "sha": hub.commit, "siblings": [*map(_sibling, CONTENT)]}
            ).encode()
            self._send(200, content, {"Content-Type": "application/json"}, body)
            return
        name = self.path.partition("?")[0].rsplit("/", 1)[-1]
        if name not in CONTENT:
            self._send(404, b"", {}, body)
            return
        sent, told = hub.sends[name], CONTENT[name]
        headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{_etag(name)}"', "Accept-Ranges": "bytes"}
        if name in LARGE:
            headers |= {"X-Linked-Etag": f'"{_etag(name)}"', "X-Linked-Size": str(len(told))}
        if hub.redirects and not self.path.startswith("/elsewhere/"):
            self._send(302, b"", headers | {"Location": f"{hub.url}/elsewhere/{name}"}, body)
            return
        self._send(200, sent, headers, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.server.cuts if self.path.endswith(self.server.cut_path) else 0
        if body:
            self.wfile.write(content[: len(content) - cut])


def _sha256(name: str) -> str:
    return hashlib.sha256(CONTENT[name]).hexdigest()


def _blob(name: str) -> str:
    return hashlib.sha1(b"blob %d\0" % len(CONTENT[name]) + CONTENT[name]).hexdigest()


def _etag(name: str) -> str:
    return _sha256(name) if name in LARGE else _blob(name)


def _sibling(name: str) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": name, "size": len(CONTENT[name]), "blobId": _blob(name)}
    if name in LARGE:
        told["lfs"] = {"sha256": _sha256(name), "size": len(CONTENT[name]), "pointerSize": 100}
    return told


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(hub: Hub, to: Path) -> subprocess.CompletedProcess[str]:
    environ = environment() | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(to.parent / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}
    arguments = [sys.executable, "-c", PROGRAM, str(to)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environ, check=False)


def kept(to: Path) -> set[str]:
    places = (path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file())
    return {place for place in places if not place.startswith("hf_cache/")}


def test_what_the_hub_tells_of_is_fetched_at_one_commit_and_remembered(hub: Hub, tmp_path: Path) -> None:
    to = tmp_path / "to"
    hub.redirects = True
    first = fetched(hub, to)
    assert first.returncode == 0, first.stderr
    assert (to / "parts/model.bin").read_bytes() == CONTENT["model.bin"]
    lock = json.loads((to / LOCK).read_text())
    assert lock["commits"] == {"us/model": COMMIT}
    assert lock["files"] == {"config.yaml": _sha256("config.yaml"), "parts/model.bin": _sha256("model.bin")}
    (to / "parts/model.bin").write_bytes(b"changed")
    again = fetched(hub, to)
    assert "model.bin is not what was fetched" in again.stderr
    (to / "parts/model.bin").unlink()
    hub.commit = "b" * 40
    moved = fetched(hub, to)
    assert f"the lock has {COMMIT}" in moved.stderr
    assert kept(to) == {"config.yaml", LOCK}


@pytest.mark.parametrize(
    "what", ["other bytes", "longer", "shorter", "cut", "cut list", "other bytes elsewhere"]
)
def test_what_the_hub_does_not_tell_of_is_not_kept(what: str, hub: Hub, tmp_path: Path) -> None:
    right = CONTENT["model.bin"]
    match what:
        case "other bytes" | "other bytes elsewhere":
            hub.sends["model.bin"] = b"W" + right[1:]
            hub.redirects = "elsewhere" in what
        case "longer":
            hub.sends["model.bin"] = right + b"!"
        case "shorter":
            hub.sends["model.bin"] = right[:-7]
        case "cut":
            hub.cuts, hub.cut_path = 5, "model.bin"
        case "cut list":
            hub.cuts = 5
    ended = fetched(hub, tmp_path / "to")
    assert ended.returncode == 1
    assert "refused: " in ended.stderr
    assert not (tmp_path / "to/parts/model.bin").exists()


def test_a_link_is_not_taken_for_a_file_that_was_fetched(hub: Hub, tmp_path: Path) -> None:
    to, secret = tmp_path / "to", tmp_path / "secret"
    secret.write_bytes(b"{}")
    to.mkdir()
    (to / LOCK).symlink_to(secret)
    assert "it is a link" in fetched(hub, to).stderr
    (to / LOCK).unlink()
    (to / "parts").mkdir()
    (to / "parts/model.bin").symlink_to(tmp_path / "nothing")
    assert fetched(hub, to).returncode == 0
    assert not (to / "parts/model.bin").is_symlink()
    assert not (tmp_path / "nothing").exists()
