"""Fixtures: the application with the tone model in this process, and the real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from serving.http.app import create_app
from tests.support import Api, Server, running, serving, tone_profile


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    """The application with a warm tone engine."""
    async with running(create_app(tone_profile())) as warm:
        await warm.until("/readyz", lambda answer: answer["ready"])
        yield warm


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tts-serving serve` with the default profile, ready; one for the whole session."""
    with serving(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def server(real_server: Server) -> str:
    """Base URL of the real server with the embedded voice, e.g. http://127.0.0.1:43217."""
    assert real_server.process.poll() is None, real_server.log.read_text(encoding="utf-8")
    return real_server.base_url
