"""What a client says and knows stays out of logs, answers and figures: exceptions that hold it are planted."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from serving.access.keys import Keys, add_key
from serving.cache.store import AnswerStore
from serving.http.app import create_app
from serving.http.speech import Speaker
from serving.models.tone.frontend import ToneFrontend
from serving.models.tone.model import RenderStage
from serving.observe import words
from serving.observe.logs import JsonLines, PlainLines
from serving.profile import load_profile
from tests.support import JSON, Api, running, tone_profile

CANARY = "Quetzalcoatlus"
TEXT = f"Hello there. {CANARY} said no. And {CANARY} went."
FAILING = ("first", "later", "stage", "handler", "cache", "commit")
PATHS = ("/tts", "/tts/stream", "/tts/captions", "/v1/audio/speech", "/v1/audio/speech/batch")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, in both formats."""
    out = io.StringIO()
    root = logging.getLogger()
    handlers = []
    for formatter in (JsonLines(), PlainLines()):
        handlers.append(logging.StreamHandler(out))
        handlers[-1].setFormatter(formatter)
        root.addHandler(handlers[-1])
    yield out
    for handler in handlers:
        root.removeHandler(handler)
    words.requests_come(log_texts=True)


@pytest_asyncio.fixture
async def api(tmp_path: Path, log: io.StringIO) -> AsyncIterator[tuple[Api, str]]:
    key = add_key(tmp_path / "keys.json", "ann", operator=True)
    profile = tone_profile(
        f"access.keys_file={tmp_path / 'keys.json'}",
        f"cache.folder={tmp_path / 'kept'}",
        "cache.max_bytes=1000000",
        "http.access_log=true",
    )
    async with running(create_app(profile)) as started:
        await started.until("/readyz", lambda answer: answer["ready"])
        yield started, key


def plant(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a layer raise with the words that it holds."""

    def fail(*arguments: Any, **named: Any) -> Any:
        raise KeyError(f"{arguments[1:]} {named} {TEXT}")

    def fail_later(self: Any, sentences: Any, params: Any) -> Any:
        sentences = list(sentences)
        yield from whole(self, sentences[:1], params)
        raise ValueError(f"cannot read {sentences[1].text!r}") from KeyError(TEXT)

    def fail_in_step(self: Any, states: Any, bucket: Any) -> Any:
        if states:
            said = "".join(map(chr, states[0].tokens))
            raise RuntimeError(f"{said} {TEXT}")
        return collate(self, states, bucket)

    whole, collate = ToneFrontend.segments, RenderStage.collate
    match layer:
        case "first":
            monkeypatch.setattr(ToneFrontend, "segments", fail)
        case "later":
            monkeypatch.setattr(ToneFrontend, "segments", fail_later)
        case "stage":
            monkeypatch.setattr(RenderStage, "collate", fail_in_step)
        case "handler":
            monkeypatch.setattr(Speaker, "segments", fail)
        case "cache":
            monkeypatch.setattr("serving.http.cached.answer_key", fail)
        case "commit":
            monkeypatch.setattr(AnswerStore, "record", fail)


async def session(api: Api, key: str, path: str) -> list[Any]:
    """What a WebSocket tells of one utterance."""
    coming: asyncio.Queue[Any] = asyncio.Queue()
    said: list[Any] = []
    over = asyncio.Event()

    async def send(message: Any) -> None:
        said.append(message)
        text = message.get("text") or ""
        if message["type"] == "websocket.close" or "session.done" in text or '"error"' in text:
            over.set()

    coming.put_nowait({"type": "websocket.connect"})
    for kind, fields in (
        ("session.config", {"response_format": "pcm"}),
        ("input.text", {"text": TEXT}),
        ("input.done", {}),
    ):
        coming.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": kind, **fields})})
    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {key}".encode())]
    scope: Any = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
    }
    scope |= {"scheme": "ws", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "subprotocols": []}
    task = asyncio.ensure_future(api.app(scope | {"state": {}, "extensions": {}}, coming.get, send))
    async with asyncio.timeout(20):
        await over.wait()
        coming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait({task})
    return said


@pytest.mark.parametrize("layer", FAILING)
async def test_an_exception_that_holds_the_words_tells_them_nobody(
    layer: str, api: tuple[Api, str], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, key = api
    headers = (*JSON, (b"authorization", f"Bearer {key}".encode()))
    plant(layer, monkeypatch)
    answers = []
    for path in PATHS:
        field = "input" if path.startswith("/v1") else "text"
        body: dict[str, Any] = {"items": [{"input": TEXT}]} if path.endswith("batch") else {field: TEXT}
        answers.append(await started.call("POST", path, body, headers))
        if path == "/v1/audio/speech":
            answers.append(await started.call("POST", path, body | {"stream_format": "sse"}, headers))
    answers += [await started.call("GET", path, b"", headers) for path in ("/metrics", "/stats", "/readyz")]
    told = b"".join(answer.body for answer in answers)
    told += b"".join(value.encode() for answer in answers for value in answer.headers.values())
    heard = repr(await session(started, key, "/v1/audio/speech/stream")).encode()
    said = log.getvalue()
    assert not any(word in said for word in (CANARY, key)), said[-3000:]
    if layer in ("first", "stage"):
        told += heard  # elsewhere it tells each sentence as it is spoken
        assert b"its log says why under" in heard
    if layer in ("first", "later", "stage", "handler"):
        assert not any(word.encode() in told for word in (CANARY, key, "site-packages", "serving/"))
        assert "Traceback" in said
        assert b"its log says why under" in told


async def test_an_exception_that_holds_the_key_tells_it_nobody(
    api: tuple[Api, str], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, key = api

    def fail(self: Keys, given: bytes) -> None:
        raise ValueError(f"{given!r} is no key")

    monkeypatch.setattr(Keys, "find", fail)
    for header in ((b"authorization", f"Bearer {key}".encode()), (b"xi-api-key", key.encode())):
        answer = await started.call("POST", "/tts", {"text": TEXT}, (*JSON, header))
        assert answer.status == 500
        assert key.encode() not in answer.body
    assert "Traceback" in log.getvalue()
    assert key not in log.getvalue()


def test_what_is_logged_in_place_of_a_message() -> None:
    words.requests_come(log_texts=False)
    try:
        assert CANARY not in words.described(ValueError(TEXT))
        assert words.described(ValueError(TEXT)) == words.described(ValueError(TEXT))
        assert words.described(ValueError(TEXT)) != words.described(ValueError("x"))
        assert (
            words.described(FileNotFoundError(2, "No such file", f"/{CANARY}"))
            == "FileNotFoundError: No such file"
        )
        assert words.described(ValueError("\ud800")).startswith("ValueError: (1 characters")
        try:
            raise ExceptionGroup(TEXT, [ValueError(TEXT), KeyError(TEXT)]) from OSError(TEXT)
        except ExceptionGroup as error:
            lines = words.traceback_of(error)
        assert CANARY not in lines
        assert all(
            kind in lines for kind in ("ExceptionGroup", "ValueError", "KeyError", "OSError", "test_words.py")
        )
        record = logging.LogRecord("asyncio", 40, "", 1, f"never retrieved\nfuture: {TEXT}", (), None)
        assert CANARY not in JsonLines().format(record)
    finally:
        words.requests_come(log_texts=True)
    assert CANARY in words.described(ValueError(TEXT))
    assert load_profile("default", [], environ={}).observe.log_texts is False
