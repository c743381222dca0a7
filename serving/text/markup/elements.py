"""What the elements of HTML and SSML mean to a listener."""

from __future__ import annotations

from collections.abc import Mapping

from serving.text.abbreviations import word_set
from serving.text.blocks import Builder, PauseKind
from serving.text.markup.marks import parse_duration
from serving.text.markup.say_as import say_as

_PARAGRAPHS = word_set(
    """
    p h1 h2 h3 h4 h5 h6 blockquote section article aside header footer main nav table ul ol dl hr pre
    figure form fieldset body
    """
)
_LINES = word_set(
    """
    br li tr dt dd div figcaption summary caption details address legend
    """
)
_CELLS = frozenset(("td", "th"))
_SILENT = word_set(
    """
    script style template noscript head title svg math iframe object canvas desc rt rp select textarea
    """
)
_SPACED = word_set("button input label option")
"""Of a line, but words of their own."""
_INLINE = word_set(
    """
    a abbr acronym b bdi bdo big center cite code data del dfn em font i img ins kbd
    link mark meta meter picture progress q ruby s samp small source span strike strong sub sup thead
    tbody tfoot colgroup col time tt u var video wbr html
    """
)
_SPEECH = word_set(
    """
    speak break prosody voice emphasis say-as sub phoneme audio lang token w lexicon lookup metadata
    """
)
KNOWN = _PARAGRAPHS | _SPACED | _LINES | _CELLS | _SILENT | _INLINE | _SPEECH
"""Elements that are taken for markup in a text that says nothing about its format."""

_STRENGTHS: dict[str, PauseKind] = {
    "x-weak": "clause",
    "weak": "clause",
    "medium": "clause",
    "strong": "sentence",
    "x-strong": "paragraph",
}

_INSTRUCTIONS = {"say-as": "interpret-as", "phoneme": "ph", "sub": "alias"}
"""Elements that change how their text is said, where they have the attribute."""
_POWERS = str.maketrans("0123456789-−+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁺")


class Elements:
    """Applies tags to a Builder. What is open stays open from one window to the next."""

    def __init__(self, *, speech: bool) -> None:
        """`speech`: the text is SSML, where <s> is a sentence; in HTML it is struck out."""
        self.silent: str | None = None
        """The element whose text is not spoken and that is open now."""
        self._speech = speech
        self._depth = 0
        self._captured: tuple[str, Mapping[str, str]] | None = None

    def open(self, builder: Builder, name: str, attributes: Mapping[str, str], start: int, end: int) -> None:
        """A start tag that stands at [start, end)."""
        if self.silent is not None:
            self._depth += name == self.silent
            return
        if name in _SILENT:
            self.silent, self._depth = name, 1
        elif name == "break":
            self._break(builder, attributes)
        elif name == "sup" or (name in _INSTRUCTIONS and attributes.get(_INSTRUCTIONS[name], "").strip()):
            self._release(builder)
            self._captured = name, attributes
            builder.start_capture()
        elif name in _CELLS:
            builder.comma(start)
        elif name == "img":
            builder.put(attributes.get("alt", ""), start, end)
        else:
            self._boundary(builder, name, start)

    def close(self, builder: Builder, name: str, start: int) -> None:
        """An end tag that stands at `start`."""
        if self.silent is not None:
            self._depth -= name == self.silent
            if self._depth <= 0:
                self.silent = None
        elif self._captured is not None and name == self._captured[0]:
            self._release(builder)
        else:
            self._boundary(builder, name, start)

    def finish(self, builder: Builder) -> None:
        """The window ends."""
        self._release(builder)

    def _boundary(self, builder: Builder, name: str, at: int) -> None:
        if name in _PARAGRAPHS:
            builder.end_block("paragraph")
        elif name in _LINES or (name == "s" and self._speech):
            builder.end_block("sentence")
        elif name in _SPACED:
            builder.space(at)
        elif name == "q":
            builder.put('"', at, at)

    def _break(self, builder: Builder, attributes: Mapping[str, str]) -> None:
        seconds = parse_duration(attributes.get("time", ""))
        if seconds is not None:
            builder.end_block("clause", seconds)
        elif (strength := attributes.get("strength", "medium")) != "none":
            builder.end_block(_STRENGTHS.get(strength, "clause"))

    def _release(self, builder: Builder) -> None:
        """Put what a say-as, phoneme or sub element held."""
        if self._captured is None:
            return
        (name, attributes), self._captured = self._captured, None
        parts = builder.take_capture()
        if not parts:
            return
        start, end = parts[0][0], parts[-1][1]
        text = "".join(builder.source.text[first:last] if new is None else new for first, last, new in parts)
        if name == "say-as":
            builder.put(say_as(attributes["interpret-as"], attributes.get("format", ""), text), start, end)
        elif name == "sup":
            power = bool(text) and all(ord(char) in _POWERS for char in text)
            builder.put(text.translate(_POWERS) if power else text, start, end)
        elif name == "sub":
            builder.put(attributes["alias"], start, end)
        else:
            builder.put(text, start, end)
            builder.mark(start, end, attributes["ph"].strip())
