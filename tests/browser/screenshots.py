"""The pictures of docs/media. `nox -s browser -- --screenshots` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from bench.headline.report import write_report
from bench.headline.standing import reference_of
from bench.records import load_run
from tests.browser.acting import heard
from tests.browser.conftest import OpenPage
from tests.support import ROOT

MEDIA = ROOT / "docs/media"
MAX_BYTES = 200_000
DESKTOP = {"width": 1200, "height": 1120}
REPORT_HEIGHT = 1000
PHONE = {"width": 390, "height": 844}
RATE_HZ = 24_000
SPOKEN_S = 3.2
"""How far the speech is when the picture is taken."""
OLDER = ("The harbour was quiet when the first boats came home.", "Dr. Lee paid $5. Then she left.")


def speak(page: Page) -> None:
    """Leave something in the history, then speak the page's own text until the middle."""
    own = page.input_value("#text")
    for text in OLDER:
        page.fill("#text", text)
        page.click("#speak")
        heard(page, RATE_HZ // 2)
        page.click("#stop")
    page.fill("#text", own)
    page.click("#speak")
    heard(page, int(SPOKEN_S * RATE_HZ))


def take(page: Page, path: Path) -> None:
    page.screenshot(path=path)
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme, viewport=DESKTOP)
    speak(page)
    take(page, MEDIA / f"page-{scheme}.png")


def test_phone(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE, device_scale_factor=2)
    speak(page)
    take(page, MEDIA / "page-phone.png")


def test_bench(open_page: OpenPage) -> None:
    page = open_page("/bench", viewport=DESKTOP)
    take(page, MEDIA / "bench.png")


def newest_run() -> Path:
    """The newest run of the bench under reports/ that can be read, reports/latest included."""
    runs = []
    for path in (ROOT / "reports").glob("*/run.json"):
        try:
            runs.append((load_run(path).started_at, path))
        except ValueError:
            continue  # of an older schema: its page stays as it is
    if not runs:
        pytest.fail("no run under reports/ that can be read: `nox -s bench -- --quick` makes one")
    return max(runs)[1]


@pytest.mark.parametrize("width", [1200, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report(browser: Browser, scheme: Literal["light", "dark"], width: int) -> None:
    path = newest_run()
    names = [arm.name for arm in load_run(path).arms]
    _, html = write_report(path, server=names[0], reference=reference_of(names))
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": REPORT_HEIGHT})
    page = context.new_page()
    page.goto(html.as_uri())
    take(page, MEDIA / f"report-{scheme}-{width}.png")
    context.close()
