"""markdown-it's parser, with rules of our own: marks, footnote signs, and care for text that is no Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock, blockquote, reference
from markdown_it.rules_inline import StateInline, emphasis, image, link
from markdown_it.token import Token

from serving.text.markup.marks import match_mark

MAX_BRACKETS = 400
"""A window with more has its links read as text."""

_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]")
_CITATION = re.compile(r"(?:\[[1-9]\d{0,2}\])+(?![(\[\w=])")
_LABEL = re.compile(r"\[[^\[\]\n]{0,60}\](?!\()")
_DEFINITION = re.compile(r" {0,3}\[[^\[\]\n]{1,60}\]:[ \t]*<?(?:https?://|www\.|mailto:|\.{0,2}/|#)\S*")
_COMPARISON = re.compile(r">\s*[\d$€£=]")

InlineRule = Callable[[StateInline, bool], bool]


def parse(text: str, *, stray: bool) -> list[Token]:
    """Tokens of a text. `stray`: it is plain text, and has markup only where it is unmistakable."""
    return _build(stray, _may_hold_links(text)).parse(text)


def _may_hold_links(text: str) -> bool:
    """markdown-it's time for brackets grows with the square of their number."""
    return ("](" in text or "]:" in text) and text.count("[") <= MAX_BRACKETS


@cache
def _build(stray: bool, links: bool) -> MarkdownIt:
    # Blocks of HTML are read tag by tag. An indented line is mostly one of a list in another window, and no code.
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["html_block", "code"])
    parser.core.ruler.disable("text_join")  # escapes and entities stay tokens of their own
    if stray:
        alternatives: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
        parser.block.ruler.at("blockquote", _quote, alternatives)
        parser.block.ruler.at("reference", _definition)
        parser.inline.ruler.at("emphasis", _emphasis)
    parser.inline.ruler.at("link", _with_end(link))
    parser.inline.ruler.at("image", _with_end(image))
    if not links:
        parser.disable(["link", "image"])
    parser.inline.ruler.before("link", "speech_mark", _speech_mark)
    return parser


def _with_end(rule: InlineRule) -> InlineRule:
    """A rule that notes on its last token where it ended."""

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
    if match is None and _is_label(text, pos):
        match = _LABEL.match(text, pos)
    if match is None and _may_be_cited(text[max(0, pos - 3) : pos]):
        match = _CITATION.match(text, pos)
    if match is None or match.end() > state.posMax:
        return False
    if not silent:
        token = state.push("speech_mark" if said else "footnote", "", 0)
        token.meta["end"] = match.end()
    state.pos = match.end()
    return True


def _is_label(text: str, pos: int) -> bool:
    """Whether the brackets that open at `pos` hold the label of a link, "[the manual][1]", and no index."""
    start = text.rfind("[", max(0, pos - 200), pos - 1) if text[pos - 1 : pos] == "]" else -1
    if start < 0 or (start and (text[start - 1].isalnum() or text[start - 1] in "])_")):
        return False
    return any(char.isalpha() for char in text[start:pos])


def _definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The target of a link, "[1]: https://example.com", and no line of plain text."""
    at = state.bMarks[start] + state.tShift[start]
    return _DEFINITION.match(state.src, at) is not None and reference(state, start, end, silent)


def _may_be_cited(before: str) -> bool:
    """Whether a number in brackets after this is that of a source, and no index of a list."""
    return before[-1:] in tuple('.,;!?"”’)') or (len(before) == 3 and before.isalpha() and before.islower())


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
