"""The bench's own page, opened as a file: nothing for axe to find, no request, readable on a phone and in the dark."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from bench.headline.history import page as history_page
from bench.headline.history import read_history
from bench.headline.report import write_report
from bench.records import write_json
from tests.browser.test_access import findings
from tests.unit.bench.headline.headline_support import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with plots and a wave to play, and the page over all reports."""
    reports = tmp_path_factory.mktemp("reports")
    for name in ("2026-01-02-a", "2026-01-03-b"):
        run = make_run()
        run.started_at = f"{name[:10]}T00:00:00Z"
        for cell in run.cells[:2]:
            cell.samples[0].wave = f"waves/{cell.arm}.wav"
            path = reports / name / str(cell.samples[0].wave)
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, 24_000, 0, "NONE", ""))
                tone = np.sin(np.arange(24_000) * 0.05) * 9000
                file.writeframes(tone.astype("<i2").tobytes())
        write_json(run, reports / name / "run.json")
        write_report(reports / name / "run.json", server="server", reference="reference")
    (reports / "history.html").write_text(history_page(read_history(reports)), encoding="utf-8")
    return reports


@pytest.fixture(params=["2026-01-02-a/run.html", "history.html"])
def address(folder: Path, request: pytest.FixtureRequest) -> str:
    return (folder / str(request.param)).as_uri()


@pytest.fixture(params=["light", "dark"])
def opened(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, which may ask for nothing but itself and say nothing in the console."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 420, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert said == []


def test_axe_finds_nothing(opened: Page) -> None:
    assert findings(opened) == []


@pytest.mark.parametrize("width", [360, 420, 1200])
def test_it_does_not_scroll_sideways(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    smallest = opened.evaluate(
        "Math.min(...[...document.querySelectorAll('figure svg text')]"
        ".map((text) => text.getBoundingClientRect().height).filter((height) => height > 0))"
    )
    assert smallest is None or smallest >= 8, "letters of a plot that nobody can read"


def test_a_wave_plays(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "2026-01-02-a/run.html").as_uri())
    assert page.locator("audio").count() == 2
    seconds = page.evaluate(
        """async () => {
          const audio = document.querySelector("audio");
          audio.muted = true;
          await audio.play();
          return audio.duration;
        }"""
    )
    assert seconds == pytest.approx(1.0, abs=0.1)
    page.close()
