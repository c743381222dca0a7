"""A text in any format as sentences of clean plain text, before their words are written out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from serving.text.blocks import Block, BlockReader, Builder, Pause
from serving.text.characters import clean, drop_controls
from serving.text.lines import join_lines
from serving.text.markup.html import HtmlReader, copy_with_marks
from serving.text.markup.markdown import MarkdownReader
from serving.text.markup.subtitles import drop_cues
from serving.text.sentences import split_sentences
from serving.text.source import SourceText
from serving.text.windows import windows

TextFormat = Literal["auto", "plain", "markdown", "html", "ssml-lite"]
"""auto: plain text, in which stray markup is recognised and not spoken."""

_LINE_END = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\x00")
_ESCAPED_LINE_END = re.compile(r"(?:\\r)?\\n(?![a-z])|(?<=[.!?,;\"')])(?:\\r)?\\n")
"""A backslash and an n, of a text that was escaped twice; not those of a path."""


def clean_sentences(
    text: str, text_format: TextFormat, language: str, normalize: bool
) -> Iterator[tuple[SourceText, Pause]]:
    """Yield each sentence and the pause after it. One without text is a pause alone.

    Windows are read one at a time. The last sentence of an open block is held back: the next block goes on with it.
    """
    tail: SourceText | None = None
    for block in _blocks(text, text_format, normalize):
        if tail is not None:
            block = block._replace(source=tail + block.source)
            tail = None
        held: tuple[SourceText, Pause] | None = None
        for source, pause in _stretches(block, text_format, normalize):
            if not source.text:
                held = source, pause
            for start, end, kind in split_sentences(source.text, language):
                if held is not None:
                    yield held
                stop = end if kind is not None or not block.open else len(source.text)
                held = source.slice(start, stop), pause if kind is None else Pause(kind)
        if held is not None and block.open:
            tail = held[0]
        elif held is not None:
            yield held
    if tail is not None:
        yield tail, Pause("paragraph")


def _stretches(block: Block, text_format: TextFormat, normalize: bool) -> Iterator[tuple[SourceText, Pause]]:
    """Yield the parts of a block that hold no line end."""
    if not normalize:
        source = drop_controls(block.source)
        spaced = [(at, at + 1, " ") for at, char in enumerate(source.text) if char == "\n"]
        yield source.edit(spaced), block.pause
        return
    cleaned = clean(block.source, entities=text_format != "plain")
    yield from join_lines(block._replace(source=cleaned))


def _blocks(text: str, text_format: TextFormat, normalize: bool) -> Iterator[Block]:
    reader = _reader(text_format) if normalize else _as_written
    for start, end, last in windows(text, tags=normalize and text_format != "plain"):
        source = SourceText.of(text, start, end)
        if not source.text.isprintable():
            source = source.edit(
                [
                    (match.start(), match.end(), "" if match.group() == "\x00" else "\n")
                    for match in _LINE_END.finditer(source.text)
                ]
            )
        if normalize:
            source = drop_cues(_with_line_ends(source))
        yield from reader(source, last)


def _with_line_ends(source: SourceText) -> SourceText:
    """Line ends in place of those that were escaped."""
    if "\\n" not in source.text:
        return source
    return source.edit([(*match.span(), "\n") for match in _ESCAPED_LINE_END.finditer(source.text)])


def _reader(text_format: TextFormat) -> BlockReader:
    if text_format in ("auto", "markdown"):
        return MarkdownReader(stray=text_format == "auto")
    if text_format in ("html", "ssml-lite"):
        return HtmlReader(speech=text_format == "ssml-lite")
    return _plain


def _plain(source: SourceText, last: bool) -> list[Block]:
    """Plain text: only the marks of our own are read."""
    builder = Builder(source, "wrap")
    copy_with_marks(builder, 0, len(source.text))
    return builder.finish(last=last)


def _as_written(source: SourceText, last: bool) -> list[Block]:
    return [Block(source, Pause("paragraph" if last else "none"), "wrap", not last)]
