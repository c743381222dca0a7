"""All three pages: nothing for axe to find, a keyboard is enough, a phone is wide enough."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.acting import finished, heard, until
from tests.browser.conftest import OpenPage

PATHS = ("/", "/bench", "/docs")
FULL_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VISIBLE = """
(({ outlineStyle }, focused) => outlineStyle !== "none" || focused.id === "text")(
  getComputedStyle(document.activeElement), document.activeElement
)
"""
"""Whether the focus can be seen; the text has its frame for that."""
TOO_WIDE = """
[...document.querySelectorAll(".figures dd, .bar > *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth)
  .map((one) => one.textContent)
"""
FOCUSED = "(({id, textContent}) => id || textContent.trim())(document.activeElement)"


def findings(page: Page) -> list[Any]:
    found = Axe().run(page, options=FULL_RULES).response["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]


def full(page: Page, path: str) -> None:
    """Bring everything that a page can show into view."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    if path == "/":
        page.fill("#text", "These words are lit.")
        page.click("#speak")
        finished(page)
        page.fill("#text", "")
        page.click("#speak")
        until(page, "document.querySelector('#problem').textContent")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing(open_page: OpenPage, path: str, scheme: str) -> None:
    page = open_page(path, color_scheme=scheme, allowed="Failed to load resource", reduced_motion="reduce")
    assert findings(page) == []
    full(page, path)
    assert findings(page) == []


def test_axe_finds_what_is_wrong(open_page: OpenPage) -> None:
    """So that the test above can fail."""
    page = open_page()
    page.evaluate("document.body.append(document.createElement('button'))")
    assert [name for name, _ in findings(page)] == ["button-name"]


@pytest.mark.parametrize("width", [360, 390, 420])
@pytest.mark.parametrize("path", PATHS)
def test_a_phone_does_not_scroll_sideways(open_page: OpenPage, path: str, width: int) -> None:
    page = open_page(path, viewport={"width": width, "height": 800}, allowed="Failed to load resource")
    full(page, path)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(TOO_WIDE) == []


def test_a_keyboard_is_enough(open_page: OpenPage) -> None:
    page = open_page()
    order = []
    for _ in range(17):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
        assert page.evaluate(VISIBLE), order[-1]
    assert order == [
        "Skip to the text",
        "tts-serving",
        "Speak",
        "Bench",
        "API",
        "text",
        "speak",
        "voice",
        "field-speed",
        "More settings",
        "reset",
        "format",
        "download",
        "curl",
        "Python",
        "JavaScript",
        "program",
    ]
    page.focus("#text")
    page.keyboard.press("Control+A")
    page.keyboard.type("The keyboard speaks. And it goes on for quite a while, so that it can be stopped.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    heard(page, 2000)
    page.keyboard.press("Escape")
    assert page.text_content("#progress") == "Stopped"
    page.focus("#speak")
    page.keyboard.press("Space")
    heard(page, 2000)
    page.focus("#stop")
    page.keyboard.press("Space")
    assert page.text_content("#progress") == "Stopped"
    page.focus("#text")
    page.keyboard.press("Control+Enter")
    heard(page, 2000)
    page.keyboard.press("Escape")
    page.focus("#field-speed")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#field-speed") == "1.05"
    page.focus("#languages button:nth-child(2)")
    page.keyboard.press("Space")
    assert page.text_content("#program").startswith("import json")  # type: ignore[union-attr]


def test_the_skip_link_leads_to_the_text(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "text"
