"""The pages of the repository: what they link to and name is there, and each block says whether it is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT, anchors, blocks, code, headings, links, page_name

WRITTEN = ("reports/latest", "reports/gpu", "reports/indextts2-cpu", "bench/dist")
"""Folders that a bench writes; they are named and not committed."""
_PATH = re.compile(r"\.?(serving|bench|profiles|tests|reports|docs|ci|github)/[\w./*-]*\w/?")
_MODULE = re.compile(r"(serving|bench|tests)(\.[a-z_0-9]+)+")

every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@every_page
def test_files_and_modules_that_it_names_exist(page: Path) -> None:
    missing = []
    for name in code(page):
        if _PATH.fullmatch(name) and not name.startswith(WRITTEN):
            if not any(ROOT.glob(name.rstrip("/"))):
                missing.append(name)
        elif _MODULE.fullmatch(name) and not is_module(name):
            missing.append(name)
    assert not missing


def is_module(name: str) -> bool:
    """Whether it is a module of the tree, or a name in one."""
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file() or path.parent.with_suffix(".py").is_file()


@every_page
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language != "indented", f"{block}: write it between fences, with its language"
        assert block.language, f"{block}: which language? `text` is for what nobody runs"
        assert block.not_run is None or len(block.not_run) > 10, f"{block}: why is it not run?"


def test_every_page_of_docs_is_in_the_index() -> None:
    index = ROOT / "docs/index.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    missing = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - listed - {index}
    assert not missing


def test_a_comment_before_a_fence_is_its_mark(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: needs a GPU -->\n```sh\none\n```\n\n<!-- file: mine.toml -->\n\n```toml\ntwo = 2\n```\n\n"
        "<!-- not run: of another block -->\nA paragraph.\n\n1. a list\n\n   ```python\n   three\n   ```\n\n    four\n",
        encoding="utf-8",
    )
    found = [(block.line, block.language, block.text, block.not_run, block.file) for block in blocks(page)]
    assert found[:3] == [
        (2, "sh", "one\n", "needs a GPU", None),
        (8, "toml", "two = 2\n", None, "mine.toml"),
        (17, "python", "three\n", None, None),
    ]


def test_messages_under_troubleshooting_are_those_of_the_programs() -> None:
    messages = re.findall("`(.*?)`", "\n".join(headings(ROOT / "docs/troubleshooting.md")))
    paths = [path for folder in ("serving", "bench") for path in (ROOT / folder).rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert len(messages) > 5
    assert not [message for message in messages if message not in sources]
