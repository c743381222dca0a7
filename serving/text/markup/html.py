"""HTML and SSML: tags become blocks, pauses and phonemes."""

from __future__ import annotations

import html
from html.parser import HTMLParser

from serving.text.abbreviations import word_set
from serving.text.blocks import Block, Builder
from serving.text.markup.elements import KNOWN, Elements
from serving.text.markup.marks import find_mark, pause_of, phonemes_of
from serving.text.source import SourceText

_BOOLEAN_ATTRIBUTES = word_set(
    """
    checked disabled hidden open readonly required selected controls
    """
)


class TagReader(HTMLParser):
    """Feeds a window, or one tag of it, to a Builder. Never raises."""

    def __init__(self, elements: Elements, *, known_only: bool) -> None:
        """`known_only` leaves what is no element of HTML or SSML as the text that it may be."""
        super().__init__(convert_charrefs=False)
        self._elements = elements
        self._known_only = known_only

    def read(self, builder: Builder, start: int, end: int) -> None:
        """Put the window's text[start:end]."""
        self.reset()
        if self._elements.silent in self.CDATA_CONTENT_ELEMENTS:
            self.set_cdata_mode(self._elements.silent)
        self._builder = builder
        self._position = start
        # No tag begins after the last ">": the parser would look for one again and again.
        tags_end = max(start, builder.source.text.rfind(">", start, end) + 1)
        self.feed(builder.source.text[start:tags_end])
        self.close()
        if self._elements.silent is None:
            copy_with_marks(builder, tags_end, end)

    def updatepos(self, i: int, j: int) -> int:
        """Counts characters; the parser's own lines and columns are not used."""
        self._position += j - i
        return j

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        if self._known_only and not _is_meant(tag, attrs):
            self.handle_data(raw)
            return
        attributes = {name: value or "" for name, value in attrs}
        start = self._position
        self._elements.open(self._builder, tag, attributes, start, start + len(raw))

    def handle_endtag(self, tag: str) -> None:
        if self._known_only and tag not in KNOWN:
            text = self._builder.source.text
            self.handle_data(text[self._position : text.find(">", self._position) + 1])
            return
        self._elements.close(self._builder, tag, self._position)

    def handle_data(self, data: str) -> None:
        if self._elements.silent is None:
            copy_with_marks(self._builder, self._position, self._position + len(data))

    def handle_entityref(self, name: str) -> None:
        self._reference(f"&{name}")

    def handle_charref(self, name: str) -> None:
        self._reference(f"&#{name}")

    def _reference(self, written: str) -> None:
        end = self._position + len(written)
        if self._builder.source.text.startswith(";", end):
            end += 1
        if self._elements.silent is None:
            self._builder.put(
                html.unescape(self._builder.source.text[self._position : end]), self._position, end
            )

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """<![CDATA[text]]>: its text is spoken. The parser's own asserts that the keyword is known."""
        end = self.rawdata.find("]]>", i)
        if self.rawdata.startswith("<![CDATA[", i) and end >= 0:
            if self._elements.silent is None:
                start = self._position + len("<![CDATA[")
                self._builder.copy(start, start + end - i - len("<![CDATA["))
            return end + len("]]>")
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1


class HtmlReader:
    """A document of HTML, or of SSML if `speech`, window by window."""

    def __init__(self, *, speech: bool) -> None:
        self._elements = Elements(speech=speech)
        self._tags = TagReader(self._elements, known_only=False)

    def __call__(self, source: SourceText, last: bool) -> list[Block]:
        builder = Builder(source, "space")
        self._tags.read(builder, 0, len(source.text))
        self._elements.finish(builder)
        return builder.finish(last=last)


def copy_with_marks(builder: Builder, start: int, end: int) -> None:
    """Put the window's text[start:end], with its pause and phoneme marks read."""
    text = builder.source.text
    while (mark := find_mark(text, start, end)) is not None:
        builder.copy(start, mark.start())
        if (seconds := pause_of(mark)) is not None:
            builder.end_block("clause", seconds)
        else:
            first, last, phonemes = phonemes_of(mark)
            builder.copy(first, last)
            builder.mark(first, last, phonemes)
        start = mark.end()
    builder.copy(start, end)


def _is_meant(tag: str, attrs: list[tuple[str, str | None]]) -> bool:
    """Whether what looks like a tag is one: "a <b and c> d" is none."""
    return tag in KNOWN and all(
        value is not None or name in _BOOLEAN_ATTRIBUTES or not name.isalnum() for name, value in attrs
    )
