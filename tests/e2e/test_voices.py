"""Voices that users add to the real server: at once in both processes, kept, and no harm from what is sent wrongly."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import psutil
import pytest
import soundfile

from tests.cloning import RATE_HZ, VOICES, WAVE, audio, good
from tests.e2e.test_indextts2 import SETTINGS
from tests.support import Server, engine_pid, serving

pytestmark = pytest.mark.e2e

LIMIT_BYTES = 2_000_000


def overrides(folder: Path) -> list[str]:
    settings = SETTINGS | {"model.options.voices": folder, "voices.max_upload_bytes": LIMIT_BYTES}
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("voices")
    soundfile.write(place / "ann.wav", WAVE[:36000], RATE_HZ)
    return place


@pytest.fixture(scope="module")
def cloning(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("server"), "--profile", "indextts2-default", *overrides(folder)
    ) as it:
        yield it


def add(url: str, name: str, recording: bytes, **fields: str) -> httpx.Response:
    return httpx.post(
        url + VOICES,
        data={"name": name, "consent": "true", **fields},
        files={"audio_sample": (f"{name}.wav", recording, "audio/wav")},
        timeout=60,
    )


def speak(url: str, voice: str) -> httpx.Response:
    return httpx.post(
        f"{url}/tts", json={"text": "Hello.", "voice": voice, "seed": 1, "format": "pcm"}, timeout=60
    )


def names(url: str) -> list[str]:
    return [voice["id"] for voice in httpx.get(url + VOICES).json()["voices"]]


def http_process(server: Server) -> psutil.Process:
    """The process that answers, of the three."""
    return psutil.Process(engine_pid(server.pid)).parent()


def test_add_speak_list_delete(cloning: Server, folder: Path) -> None:
    url = cloning.base_url
    added = add(url, "小明", good(), ref_text="Hello.")
    assert added.status_code == 201, added.text
    assert added.json()["id"] == "小明"
    assert added.headers["x-ignored-fields"] == "ref_text"
    assert speak(url, "小明").status_code == 200
    assert names(url) == ["ann", "小明"]
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
    speech = client.audio.speech.create(model="any", voice="小明", input="Hello.", response_format="pcm")
    assert len(speech.content) > 1000

    first = speak(url, "小明").content
    assert add(url, "小明", audio(WAVE[::-1].copy())).status_code == 409
    assert add(url, "小明", audio(WAVE[::-1].copy()), replace="true").status_code == 201
    assert speak(url, "小明").content != first, "the engine uses the new recording"

    deleted = httpx.delete(f"{url}{VOICES}/%E5%B0%8F%E6%98%8E")
    assert deleted.json() == {"id": "小明", "object": "audio.voice", "deleted": True}
    assert httpx.delete(f"{url}{VOICES}/小明").status_code == 404
    gone = speak(url, "小明")
    assert (gone.status_code, gone.json()["field"]) == (400, "voice")
    assert names(url) == ["ann"]
    assert [path.name for path in (folder / "added").iterdir()] == [".lock"]
    for path in ("%2e%2e%2fann", "..%2f..%2fetc%2fpasswd", "%00", "a" * 1000):
        answer = httpx.delete(f"{url}{VOICES}/{path}")
        assert answer.status_code in (404, 409), answer.text
        assert str(folder) not in answer.text


def test_a_gigabyte_is_refused_and_not_kept(cloning: Server, folder: Path) -> None:
    url, process = cloning.base_url, http_process(cloning)
    add(url, "x", b"no sound")
    before_bytes, handles = process.memory_info().rss, process.num_fds()
    head = b'--b\r\nContent-Disposition: form-data; name="audio_sample"; filename="x.wav"\r\n\r\n'
    sent = 0

    def gigabyte() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while sent < 1_000_000_000:
            sent += 1_000_000
            yield bytes(1_000_000)

    kind = {"content-type": "multipart/form-data; boundary=b"}
    with httpx.Client(timeout=60) as client:
        for _ in range(3):
            answer = client.post(url + VOICES, headers=kind, content=gigabyte())
            assert answer.status_code == 413
            assert sent < 1_000_000_000
            sent = 0
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        lines = f"POST {VOICES} HTTP/1.1", f"Host: {host}", f"Content-Type: {kind['content-type']}"
        plain.sendall("\r\n".join((*lines, "Content-Length: 1000000000", "", "")).encode() + head)
        assert plain.recv(100).startswith(b"HTTP/1.1 413")
    assert add(url, "x", bytes(LIMIT_BYTES + 1)).status_code == 413
    for _ in range(20):
        assert add(url, "x", np.random.default_rng(0).bytes(LIMIT_BYTES)).status_code == 400
    assert process.memory_info().rss - before_bytes < 60_000_000
    assert process.num_fds() <= handles + 2
    assert names(url) == ["ann"]
    assert [path.name for path in (folder / "added").iterdir() if path.name != ".lock"] == []


def test_a_voice_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "ann.wav", WAVE[:36000], RATE_HZ)
    settings = ["--profile", "indextts2-default", *overrides(tmp_path)]
    with serving(tmp_path, *settings) as server:
        assert add(server.base_url, "ben", good()).status_code == 201
        spoken = speak(server.base_url, "ben").content
        answering = http_process(server)
        os.kill(answering.pid, signal.SIGKILL)
        server.process.wait(60)
    (tmp_path / "added" / ".0123").write_bytes(b"half")
    with serving(tmp_path, *settings) as server:
        assert names(server.base_url) == ["ann", "ben"]
        assert speak(server.base_url, "ben").content == spoken
        assert not (tmp_path / "added" / ".0123").exists()
