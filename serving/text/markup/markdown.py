"""Markdown, read by markdown-it; also what of it strays into plain text (format "auto").

markdown-it gives lines for blocks and nothing for what is inside them. Each token's place is found by walking
its block's text in step with its tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.token import Token

from serving.text.blocks import Block, Builder, Pause
from serving.text.characters import mend_for_markdown
from serving.text.markup.commonmark import parse
from serving.text.markup.elements import Elements
from serving.text.markup.html import TagReader
from serving.text.markup.inline import Inline, task_chars
from serving.text.source import SourceText

_STRAY = re.compile(
    r"[*`\[~]|<[A-Za-z/!]|\\[!-/:-@\[-`{-~]|(?<!\w)_|_(?!\w)|\\$|^ {0,3}(?:#{1,6}[ \t]|>|[-+][ \t]|=+$|-+$|\|?[ :]*-)",
    re.MULTILINE,
)
"""Without one of these a text holds no markup."""
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")


_PARAGRAPH_ENDS = frozenset(
    (
        "paragraph_close",
        "heading_close",
        "blockquote_close",
        "bullet_list_close",
        "ordered_list_close",
        "table_close",
        "hr",
    )
)


class MarkdownReader:
    """A document of Markdown, window by window; a fence that is open at a window's end stays open."""

    def __init__(self, *, stray: bool) -> None:
        """`stray`: the text is plain, and has markup only where it is unmistakable."""
        self._stray = stray
        self._fence: str | None = None
        self._elements = Elements(speech=True)
        self._tags = TagReader(self._elements, known_only=stray)

    def __call__(self, source: SourceText, last: bool) -> list[Block]:
        source = mend_for_markdown(source)
        if self._fence is not None:
            return self._code(source, last)
        if self._stray and self._elements.silent is None and not _STRAY.search(source.text):
            return [Block(source, Pause("paragraph" if last else "none"), "wrap", not last)]
        builder = Builder(source, "wrap")
        tokens = parse(source.text, stray=self._stray)
        _Walk(builder, self._elements, self._tags, self._stray).blocks(tokens)
        self._elements.finish(builder)
        if self._stray:
            self._elements.silent = None
        self._fence = _open_fence(source.text)
        return builder.finish(last=last)

    def _code(self, source: SourceText, last: bool) -> list[Block]:
        """A window that begins inside a fence."""
        builder = Builder(source, "wrap")
        at = 0
        for line in source.text.splitlines(keepends=True):
            fence = _FENCE.match(line)
            if fence and self._fence and fence[1].startswith(self._fence) and not line[fence.end() :].strip():
                self._fence = None
                rest = self(source.slice(at + len(line), len(source.text)), last)
                return builder.finish(last=True) + rest
            builder.copy(at, at + len(line))
            builder.end_block("sentence")
            at += len(line)
        return builder.finish(last=last)


class _Walk:
    """Puts the tokens of one window into a Builder."""

    def __init__(self, builder: Builder, elements: Elements, tags: TagReader, stray: bool) -> None:
        self._builder = builder
        self._elements = elements
        self._tags = tags
        self._stray = stray
        self._text = builder.source.text
        self._line_at = [0]
        for line in self._text.split("\n"):
            self._line_at.append(self._line_at[-1] + len(line) + 1)
        self._at = 0

    def blocks(self, tokens: Sequence[Token]) -> None:
        builder = self._builder
        task = False
        for token in tokens:
            kind = token.type
            if token.map is not None and kind != "inline":
                self._at = max(self._at, self._line_at[token.map[0]])
            if kind == "inline":
                self._inline(token, task)
                task = False
            elif kind == "list_item_open":
                builder.end_block("sentence")
                task = True
                if token.info:
                    self._enumerator(token)
            elif kind in ("fence", "code_block"):
                self._code_block(token)
            elif kind in ("th_open", "td_open"):
                builder.comma(self._at)
            elif kind in ("tr_close", "list_item_close", "thead_close") or (
                kind == "paragraph_close" and token.hidden
            ):
                builder.end_block("sentence")
            elif kind in _PARAGRAPH_ENDS:
                builder.end_block("paragraph")
            elif kind in (
                "heading_open",
                "blockquote_open",
                "table_open",
                "bullet_list_open",
                "ordered_list_open",
            ):
                builder.end_block("sentence")

    def _enumerator(self, token: Token) -> None:
        at = self._text.find(token.info + token.markup, self._at)
        if at >= 0:
            self._at = at + len(token.info) + len(token.markup)
            self._builder.copy(at, self._at)
            self._builder.space(self._at)

    def _code_block(self, token: Token) -> None:
        first, last = token.map or (0, 0)
        for line in range(first, last):
            start, end = self._line_at[line], self._line_at[line + 1] - 1
            if token.type == "fence" and line in (first, last - 1) and _FENCE.match(self._text, start, end):
                continue
            self._builder.copy(start, end)
            self._builder.end_block("sentence")
        self._builder.end_block("paragraph")

    def _inline(self, token: Token, task: bool) -> None:
        """The text of a block, line by line its own, in the window's."""
        places: list[tuple[int, int]] = []
        at = 0
        first, stop = token.map or (0, 0)
        for line, written in enumerate(token.content.split("\n"), first):
            if line < stop:
                begin = max(self._at, self._line_at[line])
                end = self._line_at[line + 1] - 1
                found = self._text.find(written, begin, end) if stop - first == 1 else -1
                if found < 0:
                    found = self._text.rfind(written.rstrip(), begin, end)
                places.append((at, found if found >= 0 else begin))
            at += len(written) + 1
        walk = Inline(self._builder, self._elements, self._tags, token.content, places, self._stray)
        walk.put(token.children or [], skip=task_chars(token.content) if task else 0)
        self._at = walk.place(len(token.content))


def _open_fence(text: str) -> str | None:
    """The marks of the fence that is open at the end of the text."""
    fence: str | None = None
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        if fence is None:
            if "`" not in line[match.end() :]:
                fence = match[1]
        elif match[1].startswith(fence) and not line[match.end() :].strip():
            fence = None
    return fence
