"""Fixtures: a headless Chromium, and the real server that its pages come from.

    nox -s browser                    # CHROMIUM names the program, else it is looked for on PATH
    nox -s browser -- --screenshots   # takes the pictures of docs/media again

Every page that a test opens fails it afterwards if it asked another host for anything, or threw an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.support import Server, serving

OpenPage = Callable[..., Page]

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium: install one (apt-get install chromium), or name its program in CHROMIUM"

READY_MS = 15_000

TAP = """
// Counts what reaches the loudspeaker: the last moment at which it was not silence.
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === this.context.destination) {
    const ear = new AnalyserNode(this.context, { fftSize: 256 });
    const heard = new Float32Array(256);
    connect.call(this, ear);
    setInterval(() => {
      ear.getFloatTimeDomainData(heard);
      if (heard.some((sample) => Math.abs(sample) > 1e-4)) window.lastSoundMs = performance.now();
    }, 4);
  }
  return connect.call(this, target, ...rest);
};
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="take the pictures of docs/media, and test nothing"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The pictures are taken only when they are asked for, and then nothing else is done."""
    wanted = config.getoption("--screenshots")
    items[:] = [item for item in items if (item.path.stem == "screenshots") == wanted]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """screenshots.py is no file of tests by its name."""
    if file_path.name == "screenshots.py" and parent.config.getoption("--screenshots"):
        module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
        return module
    return None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium that may play sound without a click of a real hand."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.exit(MISSING, returncode=1)
    with sync_playwright() as playwright:
        flags = ["--autoplay-policy=no-user-gesture-required", "--no-sandbox", "--force-color-profile=srgb"]
        running = playwright.chromium.launch(executable_path=found, headless=True, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="session")
def voice_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The embedded voice."""
    with serving(tmp_path_factory.mktemp("voice")) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, voice_server: Server) -> Iterator[OpenPage]:
    """Opens a path of the server, or of another one, in a context of its own, and waits until it is ready."""
    contexts: list[Any] = []
    requested: list[str] = []
    errors: list[str] = []
    servers = {voice_server.base_url}

    def opened(path: str = "/", server: Server | None = None, allowed: str = "", **options: Any) -> Page:
        base_url = (server or voice_server).base_url
        servers.add(base_url)
        context = browser.new_context(base_url=base_url, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.add_init_script(TAP)
        contexts.append(context)
        page = context.new_page()

        def asked(request: Request) -> None:
            requested.append(request.url)

        def said(message: ConsoleMessage) -> None:
            if message.type == "error" and not (allowed and allowed in message.text):
                errors.append(message.text)

        page.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        page.wait_for_selector("body[data-ready]", timeout=READY_MS)
        return page

    yield opened
    for context in contexts:
        context.close()
    foreign = [url for url in requested if not url.startswith((*servers, "blob:", "data:"))]
    assert requested
    assert not foreign
    assert not errors
