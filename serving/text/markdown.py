"""Markdown, read by markdown-it; also what of it strays into plain text (format "auto").

markdown-it gives lines for blocks and nothing for what is inside them. Each token's place is found by walking
its block's text in step with its tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote
from markdown_it.rules_inline import StateInline, emphasis, image, link
from markdown_it.token import Token

from serving.text.blocks import Block, Builder, Pause
from serving.text.characters import mend_backticks
from serving.text.elements import Elements
from serving.text.html import TagReader, copy_with_marks
from serving.text.marks import match_mark
from serving.text.source import SourceText

_STRAY = re.compile(
    r"[*`\[~]|<[A-Za-z/!]|\\[!-/:-@\[-`{-~]|(?<!\w)_|_(?!\w)|^ {0,3}(?:#{1,6}[ \t]|>|[-+][ \t]|=+$|-+$|\|?[ :]*-)",
    re.MULTILINE,
)
"""Without one of these a text holds no markup."""
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_TASK = re.compile(r"\[[ xX]\]\s+")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]")
_CITATION = re.compile(r"(?:\[\d{1,3}\])+(?![(\[])")
_COMPARISON = re.compile(r">\s*[\d$€£=]")
_INLINE_ENDS = ("paragraph", "sentence")


class MarkdownReader:
    """A document of Markdown, window by window; a fence that is open at a window's end stays open."""

    def __init__(self, *, stray: bool) -> None:
        """`stray`: the text is plain, and has markup only where it is unmistakable."""
        self._stray = stray
        self._fence: str | None = None
        self._parser = _parser(stray)
        self._elements = Elements(speech=True)
        self._tags = TagReader(self._elements, known_only=stray)

    def __call__(self, source: SourceText, last: bool) -> list[Block]:
        source = mend_backticks(source)
        if self._fence is not None:
            return self._code(source, last)
        if self._stray and self._elements.silent is None and not _STRAY.search(source.text):
            return [Block(source, Pause("paragraph" if last else "none"), "wrap", not last)]
        builder = Builder(source, "wrap")
        _Walk(builder, self._elements, self._tags, self._stray).blocks(self._parser.parse(source.text))
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
            elif kind in ("th_close", "td_close"):
                builder.comma(self._at)
            elif kind in ("tr_close", "list_item_close", "thead_close"):
                builder.end_block("sentence")
            elif kind == "paragraph_close" and token.hidden:
                builder.end_block("sentence")
            elif token.block and token.nesting != 1:
                builder.end_block("paragraph")
            elif kind in ("heading_open", "blockquote_open", "table_open", "bullet_list_open", "ordered_list_open"):
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
        walk = _Inline(self._builder, self._elements, self._tags, token.content, places, self._stray)
        walk.put(token.children or [], skip=_task_chars(token.content) if task else 0)
        self._at = walk.place(len(token.content))


class _Inline:
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
        for token in tokens:
            kind = token.type
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
                if kind == "hardbreak":
                    builder.end_block("sentence")
                else:
                    start = self.place(end - 1)
                    builder.put("\n", start, start + 1)
                at = end
            elif kind == "html_inline":
                start = self.place(at)
                if self._elements.silent is None and self._stray and self._is_unclosed(token.content, at):
                    self._copy(at, at + len(token.content))
                else:
                    self._tags.read(builder, start, self.place(at + len(token.content)))
                at += len(token.content)
            else:
                at = self._put_span(token, at)

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


def _task_chars(content: str) -> int:
    match = _TASK.match(content)
    return match.end() if match else 0


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


def _parser(stray: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["html_block"])
    parser.core.ruler.disable("text_join")  # escapes and entities stay tokens of their own
    if stray:
        parser.disable(["code", "reference"])
        alternatives = {"alt": ["paragraph", "reference", "blockquote", "list"]}
        parser.block.ruler.at("blockquote", _quote, alternatives)
        parser.inline.ruler.at("emphasis", _emphasis)
    parser.inline.ruler.at("link", _with_end(link))
    parser.inline.ruler.at("image", _with_end(image))
    parser.inline.ruler.before("link", "speech_mark", _speech_mark)
    return parser


def _with_end(rule):  # type: ignore[no-untyped-def]
    def parse(state: StateInline, silent: bool) -> bool:
        if not rule(state, silent):
            return False
        if not silent:
            state.tokens[-1].meta["end"] = state.pos
        return True

    return parse


def _speech_mark(state: StateInline, silent: bool) -> bool:
    """Marks of our own; footnote signs; citation numbers after the end of a clause."""
    text, pos = state.src, state.pos
    if text[pos] != "[":
        return False
    match = match_mark(text, pos) or _FOOTNOTE.match(text, pos)
    said = match is not None and not match.group().startswith("[^")
    if match is None and pos and text[pos - 1] in ".,;!?\"”’)":
        match = _CITATION.match(text, pos)
    if match is None or match.end() > state.posMax:
        return False
    if not silent:
        token = state.push("speech_mark" if said else "footnote", "", 0)
        token.meta["end"] = match.end()
    state.pos = match.end()
    return True


def _quote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A quotation, unless its sign compares: "> 5 samples"."""
    at = state.bMarks[start] + state.tShift[start]
    return not _COMPARISON.match(state.src, at) and blockquote(state, start, end, silent)


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Emphasis, unless its stars multiply: "2*3*4"."""
    text, pos = state.src, state.pos
    if not silent and text[pos] == "*" and pos and text[pos - 1].isalnum():
        end = pos
        while end < state.posMax and text[end] == "*":
            end += 1
        after = text[end : end + 1]
        if after.isalnum() and (end - pos == 1 or after.isdigit() or text[pos - 1].isdigit()):
            state.append_pending(text[pos:end])
            state.pos = end
            return True
    return emphasis.tokenize(state, silent)
