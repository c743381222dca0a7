"""What stands inside one block of Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.token import Token

from serving.text.blocks import Builder
from serving.text.markup.elements import Elements
from serving.text.markup.html import TagReader, copy_with_marks

_TASK = re.compile(r"\[[ xX]\]\s+")


class Inline:
    """Puts the tokens inside one block into a Builder."""

    def __init__(
        self,
        builder: Builder,
        elements: Elements,
        tags: TagReader,
        content: str,
        places: list[tuple[int, int]],
        stray: bool,
    ) -> None:
        self._builder = builder
        self._elements = elements
        self._tags = tags
        self._content = content
        self._places = places
        self._line = 0
        self._stray = stray

    def place(self, at: int) -> int:
        """Offset in the window of an offset in the block's text; calls are in order."""
        places = self._places
        while self._line + 1 < len(places) and places[self._line + 1][0] <= at:
            self._line += 1
        if not places:
            return 0
        start, found = places[self._line]
        return min(found + at - start, len(self._builder.source.text))

    def put(self, tokens: Sequence[Token], skip: int) -> None:
        builder, content = self._builder, self._content
        at = skip
        first_of_line = before = ""
        for token in tokens:
            kind = token.type
            if kind != "text" or token.content:
                first_of_line = first_of_line or kind
            if kind == "text":
                text = token.content
                if skip:
                    text, skip = text[skip:], 0
                found = content.find(text, at)
                if found >= 0 and text:
                    self._copy(found, found + len(text))
                    at = found + len(text)
            elif kind == "text_special":
                start = self.place(at)
                builder.put(token.content, start, start + len(token.markup))
                at += len(token.markup)
            elif kind in ("softbreak", "hardbreak"):
                end = content.find("\n", at) + 1
                if kind == "hardbreak" or (first_of_line == "strong_open" and before == "strong_close"):
                    builder.end_block("sentence")
                else:
                    start = self.place(end - 1)
                    builder.put("\n", start, start + 1)
                at = end
                kind = first_of_line = ""
            elif kind == "html_inline":
                start = self.place(at)
                if self._elements.silent is None and self._stray and self._is_unclosed(token.content, at):
                    self._copy(at, at + len(token.content))
                else:
                    self._tags.read(builder, start, self.place(at + len(token.content)))
                at += len(token.content)
            else:
                at = self._put_span(token, at)
            if kind != "text" or token.content:
                before = kind

    def _put_span(self, token: Token, at: int) -> int:
        """A token that is no plain text, at `at`; returns where it ends."""
        end: int = token.meta.get("end", at)
        if token.type == "speech_mark":
            if self._elements.silent is None:
                copy_with_marks(self._builder, self.place(at), self.place(end))
        elif token.type == "code_inline":
            start = at + len(token.markup)
            end = self._content.find(token.markup, start + len(token.content)) + len(token.markup)
            self._copy(start, end - len(token.markup))
        elif token.type == "image":
            self._copy(at + len("!["), at + len("![") + len(token.content))
        elif token.type == "link_open":
            return at + 1
        elif token.type == "link_close":
            return end or at + 1
        elif token.type in ("em_open", "em_close", "strong_open", "strong_close", "s_open", "s_close"):
            return at + len(token.markup)
        return end

    def _copy(self, start: int, end: int) -> None:
        """Part of one line, or of several (code), as it stands."""
        if self._elements.silent is None:
            self._builder.copy(self.place(start), self.place(end - 1) + 1)

    def _is_unclosed(self, tag: str, at: int) -> bool:
        """Whether a tag such as <script> would silence the rest of a text that only speaks of it."""
        name = tag.strip("<>/").split()[0].lower() if tag.strip("<>/ ") else ""
        return name in ("script", "style", "title", "head", "select", "object") and (
            f"</{name}" not in self._content[at:].lower()
        )


def task_chars(content: str) -> int:
    match = _TASK.match(content)
    return match.end() if match else 0
