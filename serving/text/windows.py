"""A text of any length in pieces of bounded size: its paragraphs, and the pieces of those that are too long."""

from __future__ import annotations

import re
from collections.abc import Iterator

WINDOW_CHARS = 4096
"""Longest piece; a tag or comment that is open at its end makes it longer, by at most MAX_TAG_CHARS."""
MAX_TAG_CHARS = 1 << 16

_BREAK = r"(?:\r\n?+|[\n\x0b\x1c-\x1e\x85\u2028])"
PARAGRAPH_END = re.compile(rf"{_BREAK}[ \t\xa0\u3000]*+(?:{_BREAK}[ \t\xa0\u3000]*+)+|[\f\u2029]\s*+")
_BLANK = re.compile(r"[\s\ufeff]*+")
_STOP_AND_SPACE = re.compile(r"[.!?…]['\"”’)\]]?\s|[。！？；]|\n")
_SPACE = re.compile(r"\s")


def windows(text: str, *, tags: bool) -> Iterator[tuple[int, int, bool]]:
    """Yield [start, end) of each piece and whether a paragraph ends with it. `tags` keeps tags in one piece."""
    matched = _BLANK.match(text)
    start = matched.end() if matched else 0
    while start < len(text):
        limit = start + WINDOW_CHARS
        paragraph_end = _paragraph_end(text, start, limit + 64)
        if paragraph_end and paragraph_end.start() <= limit:
            yield start, paragraph_end.start(), True
            matched = _BLANK.match(text, paragraph_end.end())
            start = matched.end() if matched else paragraph_end.end()
            continue
        if limit >= len(text):
            yield start, len(text), True
            return
        end = _cut(text, start, limit)
        if tags:
            end = _after_open_tag(text, start, end)
        yield start, end, end == len(text)
        start = end


def _paragraph_end(text: str, start: int, limit: int) -> re.Match[str] | None:
    """The first that is not a page's end within a sentence."""
    for match in PARAGRAPH_END.finditer(text, start, limit):
        page = text[match.start()] == "\f" and text[match.end() : match.end() + 1].islower()
        if not (page and (text[match.start() - 1].isalpha() or text[match.start() - 1] in ",-")):
            return match
    return None


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut text[start:limit]: after the last sentence stop, else after the last blank, else at the limit."""
    for pattern in (_STOP_AND_SPACE, _SPACE):
        ends = [match.end() for match in pattern.finditer(text, start + WINDOW_CHARS // 2, limit)]
        if ends:
            return ends[-1]
    return limit


def _after_open_tag(text: str, start: int, end: int) -> int:
    opening, closing = (
        ("<!--", "-->") if text.rfind("<!--", start, end) > text.rfind("-->", start, end) else ("<", ">")
    )
    last = text.rfind(opening, start, end)
    if last < 0 or text.find(closing, last, end) >= 0:
        return end
    following = text[last + 1 : last + 2]
    if not (following.isalpha() or following in ("/", "!")):
        return end
    stop = text.find(closing, end, end + MAX_TAG_CHARS)
    return stop + len(closing) if stop >= 0 else end
