"""Voices that change while requests wait for them, and changes that wait for another process."""

from __future__ import annotations

import asyncio
import fcntl
from collections import Counter
from pathlib import Path

import pytest

from serving.http.app import create_app
from serving.http.voices import DELETIONS_AT_ONCE
from tests.cloning import (
    add,
    delete,
    good,
    names,
    profile_of,
    speak,
    stored,
)
from tests.support import Api, running

pytestmark = pytest.mark.slow


ONE_SLOT = ("engine.max_slots=1", "model.options.max_codes=200", "model.options.min_codes=200")
"""One segment is spoken at a time, and takes long enough for all others to wait."""


async def test_a_voice_that_is_deleted_while_requests_wait_is_spoken(folder: Path) -> None:
    async with running(create_app(profile_of(folder, *ONE_SLOT))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await add(api, "ben")
        alone = (await speak(api, "ben")).body
        busy = asyncio.ensure_future(speak(api, "ann"))
        waiting = [asyncio.ensure_future(speak(api, "ben")) for _ in range(2)]
        await api.until("/stats", lambda stats: stats["waiting_segments"] == 2)
        assert (await delete(api, "ben")).status == 200
        assert not any(answer.done() for answer in (busy, *waiting))
        assert await names(api) == ["ann"]
        assert (await speak(api, "ben")).status == 400
        answers = await asyncio.gather(*waiting)
        assert [(answer.status, answer.body == alone) for answer in answers] == [(200, True)] * 2
        assert (await busy).status == 200
        async with asyncio.timeout(10):
            while stored(folder):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


async def test_a_voice_that_is_replaced_while_requests_wait_is_spoken_as_it_was(folder: Path) -> None:
    async with running(create_app(profile_of(folder, *ONE_SLOT))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await add(api, "ben")
        alone = (await speak(api, "ben")).body
        busy = asyncio.ensure_future(speak(api, "ann"))
        waiting = [asyncio.ensure_future(speak(api, "ben")) for _ in range(2)]
        await api.until("/stats", lambda stats: stats["waiting_segments"] == 2)
        assert (await add(api, "ben", good(7), replace="true")).status == 201
        assert not any(answer.done() for answer in (busy, *waiting))
        answers = await asyncio.gather(*waiting)
        assert [(answer.status, answer.body == alone) for answer in answers] == [(200, True)] * 2
        assert (await speak(api, "ben")).body != alone


async def test_a_recording_that_cannot_be_read_fails_its_own_request_alone(folder: Path) -> None:
    (folder / "broken.wav").write_bytes(b"no sound at all")
    async with running(create_app(profile_of(folder, "engine.workers=1", *ONE_SLOT[1:]))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        assert (await add(api, "ben")).status == 201
        busy = asyncio.ensure_future(speak(api, "ann"))
        broken, whole = await asyncio.gather(speak(api, "broken"), speak(api, "ben"))
        assert (broken.status, whole.status, (await busy).status) == (400, 200, 200)
        assert "broken.wav" in broken.problem["detail"]


async def test_a_voice_that_is_gone_when_its_turn_comes_is_a_clear_error(folder: Path) -> None:
    async with running(create_app(profile_of(folder, *ONE_SLOT))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await add(api, "ben")
        busy = asyncio.ensure_future(speak(api, "ann"))
        waiting = [
            asyncio.ensure_future(speak(api, "ann", emo_voice="ben")),
            asyncio.ensure_future(speak(api, "ben")),
        ]
        await api.until("/stats", lambda stats: stats["waiting_segments"] == 2)
        for path in (folder / "added").glob("*.*"):
            path.unlink()
        for answer, field in zip(await asyncio.gather(*waiting), ("emo_voice", "voice"), strict=True):
            assert (answer.status, answer.problem["field"]) == (400, field)
            assert answer.problem["detail"] == f"{field}: there is no voice 'ben' any more"
        assert (await busy).status == 200


async def test_a_folder_that_another_process_holds_is_a_503(
    cloning: Api, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.voices.folder.LOCK_S", 0.05)
    assert (await add(cloning, "ben")).status == 201
    with (folder / "added" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        until = asyncio.get_running_loop().call_later(5.0, fcntl.flock, lock, fcntl.LOCK_UN)
        for answer in (await add(cloning, "eve"), await cloning.call("DELETE", "/v1/audio/voices/ben")):
            assert answer.status == 503
            assert answer.json["error"]["code"] == "overloaded"
            assert answer.headers["retry-after"]
        until.cancel()
    assert await names(cloning) == ["ann", "ben"]


async def test_who_waits_to_change_voices_takes_no_thread_from_those_who_listen(
    cloning: Api, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.voices.folder.LOCK_S", 3.0)
    assert (await add(cloning, "ben")).status == 201
    with (folder / "added" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = [asyncio.create_task(delete(cloning, "nobody")) for _ in range(40)]
        answer = await cloning.call("POST", "/tts", {"text": "Still spoken.", "format": "flac"})
        assert answer.status == 200
        assert not all(task.done() for task in waiting)
        fcntl.flock(lock, fcntl.LOCK_UN)
        statuses = Counter([(await task).status for task in waiting])
    assert set(statuses) == {404, 503}
    assert statuses[404] == DELETIONS_AT_ONCE
