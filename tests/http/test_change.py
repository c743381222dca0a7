"""Another profile for a server that speaks: streams go on to their end, a wrong profile changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from serving.engine.client import EngineUnavailable
from serving.engine.life import succession
from serving.http.app import create_app
from serving.profile import Profile, load_profile
from tests.support import Answer, Api, running, tone_profile

SLOW = ("model.options.step_s=0.02", "model.options.max_window_tokens=1")
LONG = {"text": "a" * 60, "seed": 1}
"""At least 1.2 s of steps."""


class File:
    """A profile that is read again and again, as from a file."""

    def __init__(self, *overrides: str) -> None:
        self.overrides = overrides

    def read(self) -> Profile:
        return tone_profile(*SLOW, *self.overrides)


@contextlib.asynccontextmanager
async def server(file: File) -> AsyncIterator[Api]:
    async with running(create_app(file.read(), reread=file.read)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        yield api


def ask() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


async def slots(api: Api) -> int:
    answer = await api.call("GET", "/stats")
    return int(answer.json["slots"])


async def said(caplog: pytest.LogCaptureFixture, words: str, limit_s: float = 20.0) -> str:
    """The log, once it holds these words."""
    async with asyncio.timeout(limit_s):
        while words not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    return caplog.text


def streams(api: Api, count: int) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(api.call("POST", "/tts/stream", LONG)) for _ in range(count)]


async def test_streams_go_on_while_a_new_engine_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = File("engine.max_slots=3", "admission.max_requests=4")
    async with server(file) as api:
        alone = await api.call("POST", "/tts/stream", LONG)
        before = streams(api, 3)
        await api.until("/stats", lambda stats: stats["slots_used"] == 3)
        file.overrides = ("engine.max_slots=7", "admission.max_requests=5", "model.options.load_s=0.2")
        ask()
        between = streams(api, 1)  # while the new one loads the old one takes requests
        assert (await api.call("GET", "/readyz")).status == 200
        await said(caplog, "speaks from now on")
        assert await slots(api) == 7
        after = streams(api, 1)  # a fifth at once, which the profile before would not have let in
        answers = await asyncio.gather(*before, *between, *after)
        assert all(answer.complete and answer.body == alone.body for answer in answers)
        await said(caplog, "has spoken to its end, and is gone")
        metrics = (await api.call("GET", "/metrics", headers=())).body
        assert b"tts_engine_restarts_total 0.0" in metrics, "nothing died"
        assert (await api.call("POST", "/tts/stream", LONG)).body == alone.body


WRONG = {
    "engine.max_slots='three'": "engine.max_slots",
    "http.max_per_address=3": "http.max_per_address: changes only when the server is restarted",
    "model.name=tone": "model.name: is tests.faulty_tone until the server is restarted",
    "model.options.samples_per_token=48": "what callers are told of the model would change",
    "model.options.first_stage=nowhere": "first_stages has 'nowhere'",
    "model.options.nothing=1": "model.options",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_profile_changes_nothing(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    file = File("engine.max_slots=3")
    async with server(file) as api:
        alone = await api.call("POST", "/tts/stream", LONG)
        ready = (await api.call("GET", "/readyz")).json
        (stream,) = streams(api, 1)
        await api.until("/stats", lambda stats: stats["slots_used"] == 1)
        file.overrides = ("engine.max_slots=7", wrong)
        ask()
        log = await said(caplog, "the profile is not taken, and the server speaks on as before")
        assert WRONG[wrong] in log
        assert (await stream).body == alone.body
        assert (await api.call("GET", "/readyz")).json == ready
        assert await slots(api) == 3
        file.overrides = ("engine.max_slots=5",)
        ask()
        await api.until("/stats", lambda stats: stats.get("slots") == 5)


async def test_answers_are_kept_again_after_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kept = (f"cache.folder={tmp_path}", "cache.max_bytes=10000000")

    async def asked(api: Api) -> str:
        return (await api.call("POST", "/tts", {"text": "a", "seed": 1})).headers["x-cache"]

    file = File("engine.max_slots=3", *kept)
    async with server(file) as api:
        async with asyncio.timeout(20):
            while await asked(api) != "hit":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        file.overrides = ("engine.max_slots=4", "model.options.step_s=0.01", *kept)
        ask()
        await said(caplog, "speaks from now on")
        async with asyncio.timeout(20):
            while await asked(api) == "bypass":  # noqa: ASYNC110 - the new profile's digest is made
                await asyncio.sleep(0.01)
        assert await asked(api) == "hit"


def test_without_memory_for_two_there_is_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as small:
        succession.check_memory(small.pid)
    succession.check_memory(small.pid)  # it is gone: nothing says how large it was
    monkeypatch.setattr(succession, "_lines", lambda _: {"RssAnon": 1_000_000})
    monkeypatch.setattr(succession, "free_bytes", lambda: 900_000_000)
    with pytest.raises(EngineUnavailable, match=r"needs about 1\.0 GB beside the first, 0\.9 GB are free"):
        succession.check_memory(small.pid)


async def test_the_server_ends_while_an_engine_is_being_started(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = File("engine.max_slots=3")
    async with server(file) as api:
        file.overrides = ("model.options.load_s=0.5",)
        ask()
        await said(caplog, "an engine is started beside")
        assert (await api.call("GET", "/readyz")).status == 200


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What the application set is undone, so that a stray signal of a failed test is seen."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_profile_is_read_again_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "default"\n[engine]\nmax_slots = 3\n')
    first = load_profile(str(path), environ={})
    path.write_text('extends = "default"\n[engine]\nmax_slots = 4\n')
    second = load_profile(str(path), environ={})
    succession.check_fixed(first, second)
    assert (first.engine.max_slots, second.engine.max_slots) == (3, 4)
