"""What POST /v1/audio/voices refuses: each with its own clear message, and nothing is left on disk or open."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from serving.http.app import create_app
from serving.models.indextts2.voice.recordings import built_in_wave
from tests.cloning import (
    BOUNDARY,
    RATE_HZ,
    VOICES,
    WAVE,
    audio,
    form,
    good,
    headers,
    names,
    png,
    profile_of,
    stored,
)
from tests.http.test_openai import error_of
from tests.support import Api, running

pytestmark = pytest.mark.slow

GOOD = good()
NAME, CONSENT, FILE = ("name", "x"), ("consent", "yes"), ("audio_sample", GOOD)
PLAYLIST = b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:1/a.ts\n"
SURROUND = np.tile(WAVE[:36000, None], (1, 6))


def holding(make: Callable[[], bytes], words: str) -> tuple[Callable[[], bytes], int, str, str]:
    """A recording that is refused."""
    return lambda: form(NAME, CONSENT, ("audio_sample", make())), 400, "audio_sample", words


def called(name: str, words: str = "no voice name") -> tuple[Callable[[], bytes], int, str, str]:
    """A name that is refused."""
    return lambda: form(("name", name), CONSENT, FILE), 400, "name", words


def parts(
    *given: tuple[str, bytes | str], param: str, words: str
) -> tuple[Callable[[], bytes], int, str, str]:
    """A form that is refused for a field."""
    return lambda: form(*given), 400, param, words


def body(make: Callable[[], bytes]) -> tuple[Callable[[], bytes], int, None, str]:
    """What is no form."""
    return make, 400, None, "no multipart"


def too_large(size: int) -> tuple[Callable[[], bytes], int, None, str]:
    return lambda: form(NAME, CONSENT, ("audio_sample", bytes(size))), 413, None, "3"


WRONG: dict[str, tuple[Callable[[], bytes], int, str | None, str]] = {
    "empty file": holding(lambda: b"", "empty"),
    "picture": holding(png, "not readable"),
    "text": holding(lambda: b"no sound " * 99, "not readable"),
    "zip": holding(lambda: b"PK\3\4" + bytes(999), "not readable"),
    "playlist": holding(lambda: PLAYLIST, "not readable"),
    "header alone": holding(lambda: GOOD[:44], "holds no samples"),
    "cut MP3": holding(lambda: audio(WAVE, kind="MP3")[:8000], "cut off"),
    "head of an MP3": holding(lambda: audio(WAVE, kind="MP3")[:90], "not readable"),
    "cut FLAC": holding(lambda: audio(WAVE, kind="FLAC")[:30000], "cut off"),
    "silence": holding(lambda: audio(np.zeros(2 * RATE_HZ)), "silent"),
    "clipped": holding(lambda: audio(np.clip(WAVE * 9, -1, 1)), "clipped"),
    "quiet": holding(lambda: audio(WAVE * 0.01), "silent"),
    "short": holding(lambda: good(0.5), "0.5 s long"),
    "long": holding(lambda: audio(np.tile(built_in_wave(16000), 16), 16000), "longer than 60 s"),
    "low rate": holding(lambda: audio(built_in_wave(8000), 8000), "8000 samples a second"),
    "many channels": holding(lambda: audio(SURROUND), "6 channels"),
    "no file": parts(NAME, CONSENT, param="audio_sample", words="required"),
    "no name": parts(CONSENT, FILE, param="name", words="required"),
    "no consent": parts(NAME, FILE, param="consent", words="required"),
    "consent false": parts(NAME, ("consent", "False"), FILE, param="consent", words="required"),
    "consent blank": parts(NAME, ("consent", " "), FILE, param="consent", words="required"),
    "consent long": parts(NAME, ("consent", "c" * 300), FILE, param="consent", words="200"),
    "replace maybe": parts(NAME, CONSENT, ("replace", "maybe"), FILE, param="replace", words="true or false"),
    "name twice": parts(NAME, NAME, CONSENT, FILE, param="name", words="twice"),
    "file twice": parts(NAME, CONSENT, FILE, FILE, param="audio_sample", words="twice"),
    "long field": parts(NAME, CONSENT, ("ref_text", "a" * 5000), FILE, param="ref_text", words="4096"),
    "no UTF-8": parts(("name", "\ud800"), CONSENT, FILE, param="name", words="UTF-8"),
    "many parts": body(lambda: form(*[(f"a{i}", "b") for i in range(99)], FILE)),
    "cut form": body(lambda: form(NAME, CONSENT, FILE)[:-9]),
    "cut head": body(lambda: form(NAME)[:30]),
    "no form": body(lambda: b"x" * 5000),
    "no body": body(lambda: b""),
    "large file": too_large(3_000_001),
    "large body": too_large(9_000_000),
    "name of slashes": called("../../etc/x"),
    "name of dots": called(".."),
    "name of a NUL": called("a\0b"),
    "name of a line end": called("a\nb"),
    "name of an emoji": called("😀"),
    "name that turns the line": called("a\u202eb"),
    "long name": called("a" * 1000, "1000 characters"),
    "empty name": called("", "0 characters"),
}
"""Body, status, param and words of the message."""


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    return {label: make() for label, (make, *_) in WRONG.items()}


async def test_what_is_refused_leaves_nothing(cloning: Api, folder: Path, bodies: dict[str, bytes]) -> None:
    process = psutil.Process()
    for label in ("silence", "picture"):  # what is opened once
        await cloning.call("POST", VOICES, bodies[label], headers())
    gc.collect()
    handles = process.num_fds()
    for label, (_, status, param, words) in WRONG.items():
        body = bodies[label]
        pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)] or [b""]
        answer = await cloning.call("POST", VOICES, headers=headers(), body_parts=pieces)
        assert answer.status == status, (label, answer.body)
        error = error_of(answer)
        assert error["param"] == param, (label, error)
        assert words in error["message"], (label, error)
        assert str(folder) not in error["message"]
        assert len(error["message"]) < 400
        assert stored(folder) == [], label
    gc.collect()
    assert process.num_fds() <= handles
    assert await names(cloning) == ["ann"]
    assert {path.name for path in folder.iterdir()} <= {"ann.wav", "added"}  # noqa: ASYNC240 - a test


async def test_a_damaged_form_is_never_a_fault_of_the_server(cloning: Api, folder: Path) -> None:
    chance = random.Random(3)
    whole = form(("name", "小明"), CONSENT, ("audio_sample", b"RIFF" * 50))
    planted = (
        b"\r\n",
        b"--" + BOUNDARY,
        b"; name=",
        b"charset=utf-7",
        b"filename*=UTF-8''%ff",
        b"\xff\xfe",
        b"\0",
    )
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.choice((0, 1, 9))] = chance.choice((b"", *planted))
        answer = await cloning.call("POST", VOICES, bytes(damaged), headers())
        assert answer.status == 400, (damaged, answer.body)
        error_of(answer)
    assert stored(folder) == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("", 415),
        ("multipart/mixed; boundary=5f1b0c", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        (f"multipart/form-data; boundary={'b' * 300}", 400),
    ],
)
async def test_a_body_of_another_type(cloning: Api, kind: str, status: int) -> None:
    answer = await cloning.call("POST", VOICES, b"{}", ((b"content-type", kind.encode()),))
    assert (answer.status, error_of(answer)["param"]) == (status, None)


async def test_a_compressed_body_is_refused_packed(cloning: Api) -> None:
    answer = await cloning.call("POST", VOICES, b"", (*headers(), (b"content-encoding", b"gzip")))
    assert (answer.status, error_of(answer)["code"]) == (415, "unsupported_media_type")


async def test_a_body_that_declares_too_much_is_not_read(cloning: Api) -> None:
    answer = await cloning.call(
        "POST", VOICES, body_parts=[b"x"] * 9, headers=headers(content_length="1000000000")
    )
    assert answer.status == 413
    assert error_of(answer)["code"] == "body_too_large"


async def test_a_body_that_does_not_arrive_is_given_up(folder: Path) -> None:
    async with running(create_app(profile_of(folder, "voices.upload_s=0.2"))) as api:
        sent: list[Any] = []
        parts = [{"type": "http.request", "body": form(("name", "x"))[:20], "more_body": True}]

        async def receive() -> Any:
            if not parts:
                await asyncio.Event().wait()
            return parts.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Any = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": VOICES, "raw_path": VOICES.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost"), *headers()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
            "extensions": {},
        }  # fmt: skip
        await api.app(scope, receive, send)
        assert sent[0]["status"] == 408
        parts.append({"type": "http.disconnect"})
        sent.clear()
        scope["state"] = {}
        await api.app(scope, receive, send)
        assert sent[0]["status"] == 499
