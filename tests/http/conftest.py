"""Fixtures: a server that clones voices, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import soundfile

from serving.http.app import create_app
from tests.cloning import RATE_HZ, WAVE, profile_of
from tests.support import Api, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the operator's voice, ann."""
    soundfile.write(tmp_path / "ann.wav", WAVE[:36000], RATE_HZ)
    return tmp_path


@pytest_asyncio.fixture
async def cloning(folder: Path) -> AsyncIterator[Api]:
    async with running(create_app(profile_of(folder, "voices.max_upload_bytes=3000000"))) as warm:
        await warm.until("/readyz", lambda answer: answer["ready"])
        yield warm
