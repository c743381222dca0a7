"""The engine in a process of its own: deaths in any order, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from serving.engine.client import EngineState, EngineUnavailable
from serving.engine.life.supervisor import BACKOFF_S
from serving.protocol import NotReady, SpeechFailed
from tests.unit.engine.engine_support import (
    SLOW,
    eventually,
    listen,
    make_client,
    make_profile,
    state_of,
    submit,
)

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow

ORPHAN_MAKER = """
import asyncio
from serving.engine.client import EngineClient
from serving.models import load_frontend
from serving.profile import EngineProfile, ModelProfile, Profile


async def main():
    engine = EngineProfile(device="cpu", threads=1)
    profile = Profile(name="t", model=ModelProfile(name="tone"), engine=engine)
    client = EngineClient(profile, load_frontend(profile).spec)
    await client.start()
    print((await client.wait_ready(60)).pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def until_gone(pid: int) -> None:
    async def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(gone)


def open_files() -> int:
    """Descriptors of this process; 0 where there is no /proc to count them."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a temporary folder of its own and must leave no file, descriptor or child."""
    folder = Path(tempfile.mkdtemp(prefix="e-"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    files, others = open_files(), psutil.Process().children()  # the session's own server, for one
    yield
    assert list(folder.iterdir()) == []
    folder.rmdir()
    left = [child for child in psutil.Process().children() if child not in others]
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
    assert open_files() <= files


async def test_a_dead_engine_fails_its_requests_and_comes_back_as_often_as_allowed() -> None:
    client = make_client(make_profile(SLOW | {"crash_token": ord("!")}, restart_limit=1))
    await client.start()
    first = await client.wait_ready(60)
    assert first.pid != os.getpid()
    utterance = await submit(client, "x" * 200)
    chunks = client.chunks(utterance)  # kept: a reader that is dropped gives its request up
    await anext(chunks)
    asked = asyncio.create_task(client.stats())
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(SpeechFailed) as failure:
        await listen(client, utterance)
    assert failure.value.code == "engine_died"
    assert state_of(client) is EngineState.RESTARTING
    with pytest.raises(NotReady, match="restarting"):
        await submit(client, "too early")
    await asyncio.gather(asked, return_exceptions=True)
    second = await client.wait_ready(60)
    assert second.pid != first.pid
    assert client.problem is None
    assert len(await listen(client, await submit(client, "works again"))) == 11 * 24
    # One restart was allowed, so the next death, here a crash inside a step, is the last.
    with pytest.raises(SpeechFailed) as failure:
        await listen(client, await submit(client, "boom!"))
    assert failure.value.code == "engine_died"
    with pytest.raises(EngineUnavailable, match="the engine died: exit status 70"):
        await client.wait_ready(60)
    assert state_of(client) is EngineState.FAILED
    await client.stop()
    assert state_of(client) is EngineState.STOPPED


async def test_an_engine_that_files_are_missing_for_is_started_once_there_are_some() -> None:
    client = make_client(make_profile(SLOW, restart_limit=1))
    await client.start()
    first = await client.wait_ready(60)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # of those that are open none is closed
    try:
        os.kill(first.pid, signal.SIGKILL)

        async def is_missing() -> bool:
            return "Too many open files" in (client.problem or "")

        await eventually(is_missing)
        await asyncio.sleep(3 * BACKOFF_S[-1])  # tries again, more often than deaths are allowed
        assert state_of(client) is EngineState.RESTARTING
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (await client.wait_ready(60)).pid != first.pid
    await client.stop()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder was deleted."""
    gone = Path(tempfile.mkdtemp())
    monkeypatch.chdir(gone)
    gone.rmdir()


@pytest.mark.usefixtures("nowhere")
async def test_an_engine_starts_in_a_working_folder_that_was_deleted() -> None:
    client = make_client(make_profile(SLOW))
    await client.start()
    await client.wait_ready(60)
    await client.stop()


async def test_an_engine_that_cannot_be_told_its_profile_has_failed_and_says_why() -> None:
    client = make_client(msgspec.structs.replace(make_profile(SLOW), description="no UTF-8: \udcff"))
    await client.start()
    with pytest.raises(EngineUnavailable, match="cannot be started: UnicodeEncodeError"):
        await client.wait_ready(60)
    assert state_of(client) is EngineState.FAILED
    await client.stop()


async def test_stop_ends_the_process_in_any_state() -> None:
    loading = make_client(make_profile(SLOW | {"load_s": 30.0}))
    speaking = make_client(make_profile(SLOW))
    await asyncio.gather(loading.start(), speaking.start())
    pid = (await speaking.wait_ready(60)).pid
    utterance = await submit(speaking, "x" * 200)
    chunks = speaking.chunks(utterance)  # kept: a reader that is dropped gives its request up
    await anext(chunks)
    stop = asyncio.create_task(speaking.stop())
    await asyncio.sleep(0)
    stop.cancel()
    await asyncio.gather(speaking.stop(), loading.stop())
    assert not psutil.pid_exists(pid)
    with pytest.raises(SpeechFailed, match="stopped"):
        await listen(speaking, utterance)


async def test_a_dead_parent_takes_the_engine_along() -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", ORPHAN_MAKER],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert psutil.pid_exists(pid)
        parent.kill()
        parent.wait()
    await until_gone(pid)


async def test_a_folder_whose_name_is_too_long_for_a_socket_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = Path(tempfile.gettempdir()) / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    client = make_client(make_profile(SLOW))
    await client.start()
    await client.wait_ready(60)
    assert list(deep.iterdir()) == []
    await client.stop()
    deep.rmdir()


async def test_no_folder_for_the_socket_is_a_clear_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.engine.process._MOST_PATH_BYTES", 1)
    client = make_client(make_profile(SLOW))
    await client.start()
    with pytest.raises(EngineUnavailable, match="cannot be started"):
        await client.wait_ready(10)
    await client.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "each attempt would leave some"
