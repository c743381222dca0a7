"""The page of a server that wants API keys: it asks for one, keeps it in the tab alone, and speaks with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.access.keys import add_key
from tests.support import Server, serving


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    return file, add_key(file, "page")


@pytest.fixture(scope="module")
def guarded(keys: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("guarded"), "--set", f"access.keys_file={keys[0]}") as server:
        yield server


def enter(page: Page, key: str) -> None:
    page.locator("#key").fill(key)
    page.get_by_role("button", name="Use").click()


@pytest.mark.parametrize("path", ["/", "/bench", "/docs"])
def test_each_page_asks_for_a_key_and_works_with_it(
    guarded: Server, keys: tuple[Path, str], browser: Browser, path: str
) -> None:
    context = browser.new_context(base_url=guarded.base_url)
    page = context.new_page()
    page.goto(path)
    expect(page.get_by_label("API key")).to_be_visible()
    enter(page, "tts_wrong")
    expect(page.get_by_label("This API key is not known")).to_be_visible()
    enter(page, keys[1])
    page.wait_for_selector("body[data-ready=true]")
    expect(page.locator("#key-form")).to_have_count(0)
    if path == "/":
        page.click("#speak")
        expect(page.locator("#first-sound")).to_contain_text("ms")
    assert keys[1] not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    assert page.evaluate("sessionStorage.length") == 1
    context.close()
