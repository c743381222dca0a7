"""What the tests of the pages do and look for."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page

POLL_MS = 20
LIMIT_S = 30.0


def until(page: Page, expression: str, limit_s: float = LIMIT_S) -> Any:
    """The first true value of a JavaScript expression. (wait_for_function needs eval, which the pages forbid.)"""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if value := page.evaluate(expression):
            return value
        page.wait_for_timeout(POLL_MS)
    raise AssertionError(f"not true within {limit_s} s: {expression}")


def value(page: Page, element: str) -> float:
    """The raw value of a figure, as its data-value has it."""
    return float(page.get_attribute(f"#{element}", "data-value") or "nan")


def heard(page: Page, samples: int) -> None:
    """Wait until so many samples have been played."""
    until(page, f"Number(document.querySelector('#played').dataset.value) >= {samples}")


def finished(page: Page) -> None:
    """Wait until the speech is over by itself."""
    until(page, "document.querySelector('#progress').textContent === 'Finished'")
