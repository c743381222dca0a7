"""Fixtures: a server of the tone model, and what must hold after every test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio

from tests.live import PCM, speak, tone_server, until_idle
from tests.support import Server, children


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server may leave files: its temporary folder."""
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def tone(folder: Path) -> Iterator[Server]:
    with tone_server(folder) as started:
        yield started


@pytest_asyncio.fixture(autouse=True)
async def nothing_is_left(tone: Server) -> AsyncIterator[None]:
    """The server speaks on, and has as many open files and no more slots in use than before."""
    await speak(tone.base_url, ["Before."], **PCM)
    before = await _handles(tone, None)
    yield
    assert (await speak(tone.base_url, ["Still here."], **PCM)).sentences == ["Still here."]
    await until_idle(tone.base_url)
    after = await _handles(tone, before)
    assert after <= before, f"{after - before} handles leaked"
    assert "Traceback" not in tone.log.read_text(encoding="utf-8")


async def _handles(server: Server, at_most: int | None) -> int:
    """Open files of all processes of the server once no client is connected and there are no more than `at_most`.

    The last count after 15 s if that does not come.
    """
    total = -1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(15):
            while True:
                pids = [server.pid, *children(server.pid)]
                total = sum(psutil.Process(pid).num_fds() for pid in pids)
                if not _connected(server) and (at_most is None or total <= at_most):
                    break
                await asyncio.sleep(0.05)
    return total


def _connected(server: Server) -> int:
    port = urlsplit(server.base_url).port
    return sum(
        connection.status in (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)
        for pid in children(server.pid)
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.laddr.port == port
    )
