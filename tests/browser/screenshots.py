"""The pictures of docs/media. `nox -s browser -- --screenshots` takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.acting import heard
from tests.browser.conftest import OpenPage
from tests.support import ROOT

MEDIA = ROOT / "docs/media"
MAX_BYTES = 200_000
DESKTOP = {"width": 1200, "height": 1120}
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
