"""A text that is still being written, as sentences: each as soon as what follows shows that it has ended.

    reader = GrowingReader(languages=("en",))
    for piece in pieces:
        for sentence in reader.feed(piece):
            speak(sentence)
    for sentence in reader.flush():
        speak(sentence)

What feed gives depends on the text alone, never on where its pieces are cut. The sentences are those of read() of
the whole text where each paragraph is one line without markup. Elsewhere they may differ: line ends are judged by
the lines so far, and a span of markup that a sentence's end cuts is dropped in both halves. HTML is read when it is
complete. settle and take_clause give more, earlier; what they give depends on when they are called.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from serving.text import Lexicon, Pause, Sentence, TextFormat, read
from serving.text.scripts import text_language
from serving.text.sentences import CLOSING, STOP, WIDE_STOPS, is_end, split_sentences
from serving.text.windows import PARAGRAPH_END

LONG_CHARS = 800
"""Text without a sentence's end is cut at this length, as read() cuts a sentence that is too long."""
MAX_HELD_CHARS = 4096
"""Open markup is waited for until this much text is there."""

_GAP = rf"(?:(?!{PARAGRAPH_END.pattern})\s)*+"
_NEXT_WORD = r"[\"'“‘(\[{]*+[\w'’]{0,41}+"
_EVENT = re.compile(
    rf"""
    (?P<paragraph>{PARAGRAPH_END.pattern})
    | (?P<wide>[.!?…]*+[{WIDE_STOPS}][.!?…{WIDE_STOPS}]*+[{CLOSING}]*+){_GAP}\S
    | (?P<stop>(?:[.!?…]++[{CLOSING}]*+|[\]`>)]++))(?=.{{3}}){_GAP}{_NEXT_WORD}.
    """,
    re.VERBOSE | re.DOTALL,
)
"""Where a sentence can be known to end: the match holds all that decides it."""
_LAST_STOP = re.compile(rf"[.!?…{WIDE_STOPS}]+[{CLOSING}]*(?=\s*[\"'“‘(\[{{]*[\w'’]*\Z)")
_CLAUSE_END = re.compile(r"[,;:—–)][\"'”’]?\s|[，、：；]")
_MARKUP = re.compile(r"[*_`~\[\]<>&\\\n]")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_CONTINUATIONS = (" The cat sat.", " Smith came.", " and so on.", " 5 more.")
"""A stop that ends a sentence before each of these words ends it whatever word follows."""


class GrowingReader:
    """Reads one text. Offsets of the sentences are those of the whole text. Not safe in threads."""

    def __init__(
        self,
        *,
        languages: Sequence[str],
        text_format: TextFormat = "auto",
        normalize: bool = True,
        lexicon: Lexicon | None = None,
    ) -> None:
        """`languages` are those of the model; of Chinese and English the text that waits decides."""
        self._languages = languages
        self._format: TextFormat = text_format
        self._normalize = normalize
        self._lexicon = lexicon
        self._pending = ""
        self._base = 0
        """Offset of _pending in the whole text."""
        self._patience = 0
        """An event before this offset in _pending is passed over: so what waits is not read at every abbreviation."""
        self._scanned = 0
        """Before this offset in _pending nothing can end a sentence."""
        self.reads_whole = normalize and text_format in ("html", "ssml-lite")
        """All is read by flush, and nothing before."""
        self._marked = normalize and text_format != "plain"

    @property
    def waiting(self) -> bool:
        """Text is here that was not given yet."""
        return bool(self._pending.strip())

    def feed(self, text: str) -> list[Sentence]:
        """Add text; returns the sentences that are complete now. Time is linear in the text."""
        self._pending += text
        sentences: list[Sentence] = []
        while not self.reads_whole:
            event = _EVENT.search(self._pending, self._scanned)
            held = self._marked and _is_open(self._pending[:LONG_CHARS])
            limit = MAX_HELD_CHARS if held else LONG_CHARS
            if event is not None and event.end() <= limit:
                sentences += self._at(event)
            elif len(self._pending) >= limit:
                sentences += self._cut_long(limit)
            else:
                break
        return sentences

    def settle(self) -> list[Sentence]:
        """The text that ends with a stop which ends a sentence whatever follows; nothing if none does.

        For when no more text has come for a moment. Stops of abbreviations and initials wait on, and so do one
        inside a quotation, whose end may follow, and one after a digit, which may be a decimal point.
        """
        stop = _LAST_STOP.search(self._pending, self._scanned)
        if stop is None or self.reads_whole or (self._marked and _is_open(self._pending)):
            return []
        before = self._pending[: stop.end()]
        follows = self._pending[stop.end() :]
        if not follows[:1].isspace() and (
            follows or self._pending[stop.start() - 1 : stop.start()].isdigit()
        ):
            return []
        if before.count('"') % 2 or before.count("“") > before.count("”"):
            return []
        language = text_language(before, self._languages)
        for continuation in _CONTINUATIONS:
            if all(end != stop.end() for _, end, _ in split_sentences(before + continuation, language)):
                return []
        return self._give(stop.end(), Pause("sentence"))

    def take_clause(self) -> list[Sentence]:
        """The text to its last clause's end; nothing if it has none. For when a listener would wait otherwise."""
        if self.reads_whole or (self._marked and _is_open(self._pending)):
            return []
        ends = [match.end() for match in _CLAUSE_END.finditer(self._pending)]
        return self._give(ends[-1], Pause("clause")) if ends else []

    def flush(self) -> list[Sentence]:
        """The rest: the text has ended."""
        return self._give(len(self._pending), None)

    def _at(self, event: re.Match[str]) -> list[Sentence]:
        """What has ended at an event, if anything."""
        if event["paragraph"] is not None:
            if self._marked and len(_FENCE.findall(self._pending, 0, event.start())) % 2:
                self._scanned = event.end()
                return []
            return self._give(event.start(), None, skip=event.end())
        self._scanned = event.end("wide") if event["wide"] is not None else event.end("stop")
        if (
            event.end() < self._patience
            or self._goes_on(event)
            or (self._marked and _is_open(self._pending[: event.end()]))
        ):
            return []
        sentences = self._read(event.end())
        ended = _ended(sentences)
        if ended:
            return self._take(ended, sentences[len(ended)].start)
        self._patience = event.end() * 9 // 8 + 16
        return []

    def _goes_on(self, event: re.Match[str]) -> bool:
        """Whether a stop surely ends no sentence: it spares the reading of what is waiting."""
        stop = STOP.match(self._pending, event.start("stop")) if event["stop"] is not None else None
        if stop is None or _MARKUP.search(self._pending, 0, event.end()):
            return False
        text = self._pending[: event.end()]
        return not is_end(text, 0, stop, text_language(text, self._languages) == "en")

    def _cut_long(self, limit: int) -> list[Sentence]:
        """The sentences of lines that have ended; without any, the first piece of a sentence that is too long."""
        sentences = self._read(limit)
        if len(sentences) < 2:
            return self._give(limit, None)
        ended = _ended(sentences) or (sentences[:1] if limit == LONG_CHARS else sentences[:-1])
        return self._take(ended, sentences[len(ended)].start)

    def _give(self, end: int, pause: Pause | None, skip: int = 0) -> list[Sentence]:
        """All up to `end`, the last sentence with `pause`, if it is given; goes on at `skip` or `end`."""
        sentences = self._read(end)
        if sentences and pause is not None and sentences[-1].pause.seconds is None:
            sentences[-1] = replace(sentences[-1], pause=pause)
        return self._taken(sentences, skip or end)

    def _take(self, sentences: list[Sentence], next_start: int) -> list[Sentence]:
        """Give sentences and go on before the next one, with the marks that open it."""
        cut = next_start
        while cut > sentences[-1].end and self._pending[cut - 1] in " \t\n*_`[\"'“‘(":
            cut -= 1
        return self._taken(sentences, cut)

    def _taken(self, sentences: list[Sentence], cut: int) -> list[Sentence]:
        given = [_shifted(sentence, self._base) for sentence in sentences]
        self._pending = self._pending[cut:]
        self._base += cut
        self._scanned = self._patience = 0
        return given

    def _read(self, end: int) -> list[Sentence]:
        text = self._pending[:end]
        return list(
            read(
                text,
                text_format=self._format,
                language=text_language(text, self._languages),
                normalize=self._normalize,
                lexicon=self._lexicon,
            )
        )


def _is_open(text: str) -> bool:
    """Whether a link, a mark of our own, a tag or a fence of code has begun and not ended."""
    if text.rfind("[") > text.rfind("]") or text.rfind("](") > text.rfind(")"):
        return True
    tag = text.rfind("<")
    after = text[tag + 1 : tag + 2]
    if tag > text.rfind(">") and (after.isalpha() or after in ("", "/", "!")):
        return True
    return len(_FENCE.findall(text)) % 2 == 1


def _ended(sentences: list[Sentence]) -> list[Sentence]:
    """Those before the last one that begins behind an end, not behind the cut of one that is too long."""
    count = len(sentences) - 1
    while count > 0 and _is_length_cut(sentences[count - 1].pause):
        count -= 1
    return sentences[: max(count, 0)]


def _is_length_cut(pause: Pause) -> bool:
    """Whether a sentence ended only because it was too long."""
    return pause.kind in ("none", "clause") and pause.seconds is None


def _shifted(sentence: Sentence, by: int) -> Sentence:
    words = tuple(word._replace(start=word.start + by, end=word.end + by) for word in sentence.words)
    return replace(sentence, start=sentence.start + by, end=sentence.end + by, words=words)
