"""The Markdown pages of the repository, their fenced blocks and their links.

A comment on the line before a fence says what a test does with the block:

    <!-- not run: needs a GPU -->     its arguments are checked, nothing is started; a reason is needed
    <!-- file: mine.toml -->          it is written to this file, for the blocks after it
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_MARK = re.compile(r"<!-- (not run|file): *(.*?) *-->\s*")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its opening fence, from 1."""
    language: str
    """The word after the fence; empty without one, and "indented" for a block without a fence."""
    text: str
    not_run: str | None = None
    """Why no test runs it; None if one does."""
    file: str | None = None
    """The name under which a reader saves it."""

    def __str__(self) -> str:
        return f"{page_name(self.page)}:{self.line}"


def page_name(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def parse(text: str) -> list[Token]:
    """The page's block tokens; `children` of the inline ones hold links and code."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    found = []
    before: Token | None = None
    for token in parse(page.read_text(encoding="utf-8")):
        if token.type in {"fence", "code_block"}:
            mark = _MARK.fullmatch(before.content) if before and before.type == "html_block" else None
            found.append(
                Block(
                    page=page,
                    line=(token.map or [0])[0] + 1,
                    language=token.info.strip() if token.type == "fence" else "indented",
                    text=token.content,
                    not_run=mark[2] if mark and mark[1] == "not run" else None,
                    file=mark[2] if mark and mark[1] == "file" else None,
                )
            )
        before = token
    return found


def links(page: Path) -> Iterator[str]:
    """Where the links, pictures and sounds of a page point to."""
    for token in _inline(page):
        target = token.attrs.get("href" if token.type == "link_open" else "src")
        if token.type in {"link_open", "image"} and isinstance(target, str):
            yield target


def code(page: Path) -> Iterator[str]:
    """What stands between backticks in the prose of a page."""
    return (token.content for token in _inline(page) if token.type == "code_inline")


def headings(page: Path) -> list[str]:
    """The headings of a page, in Markdown."""
    tokens = parse(page.read_text(encoding="utf-8"))
    return [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]


def anchors(page: Path) -> set[str]:
    """The fragments that links to the headings of a page may carry, as forges derive them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


def _inline(page: Path) -> Iterator[Token]:
    for token in parse(page.read_text(encoding="utf-8")):
        yield from token.children or ()
