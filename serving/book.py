"""A long text to one file: part after part, with the parts before a break kept, and its chapters.

A part is some paragraphs. Parts are spoken at once and written in order; after each the file's length is noted in
`<output>.progress`, so that a run that was broken off goes on with the next part. A part's samples depend on the
text, the voice and the seed alone, so the file equals one that was made in one go.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from serving.audio.encode import BYTES_PER_SAMPLE, header, is_plain, pcm16
from serving.captions import Sentence as Caption
from serving.captions import sentence_of
from serving.engine.client import EngineClient
from serving.models.base import Frontend
from serving.protocol import Segment, Times
from serving.request import Order
from serving.text import Sentence
from serving.text.words import spoken_characters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PART_CHARS = 1500
"""A part ends with the paragraph in which it passes this length, or with the sentence in which it passes twice it."""
PARTS_AT_ONCE = 4
_HEADING = re.compile(
    r"(?:chapter|part|book|prologue|epilogue|introduction|preface|appendix|afterword)\b.{0,80}", re.IGNORECASE
)


class BookError(ValueError):
    """The file of an earlier run cannot be gone on with; the message says why."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What `<output>.progress` holds."""

    made_of: str
    """Digest of the text, the voice and everything else that the samples depend on."""
    parts: int
    samples: int
    chapters: list[tuple[str, float]] = []
    """Title and first moment, in seconds."""
    sentences: list[Caption] = []
    """If captions are wanted."""


@dataclass(slots=True)
class Part:
    """Sentences that are spoken as one request."""

    sentences: list[Sentence]
    chapter: str | None
    """The heading that it begins with."""


@dataclass(slots=True)
class Made:
    """A part's samples as 16-bit integers, and when its sentences are spoken."""

    chapter: str | None
    pcm: bytes
    sentences: list[Caption]


def parts(text: str, sentences: Iterable[Sentence]) -> Iterator[Part]:
    """Group the sentences of a text into parts; a heading begins one."""
    part = Part([], None)
    chars = 0
    fresh = True
    for sentence in sentences:
        heading = _heading(text, sentence) if fresh else None
        if part.sentences and (
            heading is not None or (chars > PART_CHARS and fresh) or chars > 2 * PART_CHARS
        ):
            yield part
            part, chars = Part([], None), 0
        if heading is not None:
            part.chapter = heading
        part.sentences.append(sentence)
        chars += len(sentence.text)
        fresh = sentence.pause.kind == "paragraph"
    if part.sentences:
        yield part


def _heading(text: str, sentence: Sentence) -> str | None:
    """The title that a paragraph is, if it is one: a Markdown or HTML heading, or a line such as `Chapter 3`."""
    if sentence.pause.kind != "paragraph":
        return None
    begin = text.rfind("\n", 0, sentence.start) + 1
    before = text[begin : sentence.start].strip().lower()
    title = " ".join(sentence.text.split()).strip("#* ")
    marked = before.startswith("#") or sentence.text.startswith("#") or re.search(r"<h[12][^>]*>$", before)
    if marked or (not before and "\n" not in sentence.text.strip() and _HEADING.fullmatch(title)):
        return title
    return None


class Book:
    """An audio file that grows by parts."""

    def __init__(self, output: Path, order: Order, sample_rate_hz: int, settings: str) -> None:
        """`settings` is whatever else the samples depend on. Raises BookError, and OSError.

        A book that was broken off goes on at a byte of its file, which only bare samples allow.
        """
        if not is_plain(order.audio_format, sample_rate_hz, order.output_rate_hz):
            raise BookError(
                f"a text from a file is written as wav or pcm at {sample_rate_hz} Hz, the model's rate, not as"
                f" {order.audio_format} at {order.output_rate_hz} Hz; convert the file when it is done"
            )
        self._output = output
        self._notes = output.with_name(output.name + ".progress")
        self._rate_hz = sample_rate_hz
        self._format = order.audio_format
        made_of = msgspec.json.encode([order, settings], order="sorted")
        self.progress = Progress(made_of=hashlib.sha256(made_of).hexdigest(), parts=0, samples=0)
        self._head = len(header(self._format, sample_rate_hz))
        if self._notes.is_file():
            self._resume()

    def _resume(self) -> None:
        try:
            known = msgspec.json.decode(self._notes.read_bytes(), type=Progress)
        except msgspec.DecodeError as error:
            raise BookError(f"{self._notes} is broken: {error}; delete it to begin again") from None
        if known.made_of != self.progress.made_of:
            raise BookError(f"{self._notes} is of another text, voice or setting; delete it to begin again")
        if not self._output.is_file() or self._output.stat().st_size < self._bytes(known.samples):
            raise BookError(f"{self._output} is shorter than {self._notes} says; delete both to begin again")
        self.progress = known

    def _bytes(self, samples: int) -> int:
        return self._head + samples * BYTES_PER_SAMPLE

    def open(self) -> BinaryIO:
        """The file, cut to the parts that are noted, at its end."""
        file = self._output.open("r+b" if self.progress.parts else "wb")
        file.truncate(self._bytes(self.progress.samples) if self.progress.parts else 0)
        file.seek(0)
        file.write(header(self._format, self._rate_hz))
        file.seek(0, 2)
        return file

    def add(self, file: BinaryIO, made: Made) -> None:
        """Write a part and note it."""
        file.write(made.pcm)
        file.flush()
        known = self.progress
        begin_s = known.samples / self._rate_hz
        shifted = [_later(sentence, begin_s) for sentence in made.sentences]
        chapters = [(made.chapter, begin_s)] if made.chapter is not None else []
        self.progress = msgspec.structs.replace(
            known,
            parts=known.parts + 1,
            samples=known.samples + len(made.pcm) // BYTES_PER_SAMPLE,
            chapters=known.chapters + chapters,
            sentences=known.sentences + shifted,
        )
        fresh = self._notes.with_name(self._notes.name + ".new")
        fresh.write_bytes(msgspec.json.encode(self.progress))
        fresh.replace(self._notes)

    def finish(self, file: BinaryIO) -> None:
        """Write the true length into the header, and forget the notes."""
        file.seek(0)
        file.write(header(self._format, self._rate_hz, self.progress.samples))
        file.flush()
        self._notes.unlink(missing_ok=True)


def _later(sentence: Caption, by_s: float) -> Caption:
    replace = msgspec.structs.replace
    words = [replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in sentence.words]
    return replace(sentence, start_s=sentence.start_s + by_s, end_s=sentence.end_s + by_s, words=words)


async def speak_parts(
    engine: EngineClient, frontend: Frontend, order: Order, todo: Iterable[Part]
) -> AsyncIterator[Made]:
    """Speak parts, PARTS_AT_ONCE at a time, and yield them in order. Raises SpeechFailed."""
    running: list[asyncio.Task[Made]] = []
    try:
        for part in todo:
            running.append(asyncio.create_task(_speak_part(engine, frontend, order, part)))
            if len(running) == PARTS_AT_ONCE:
                yield await running.pop(0)
        while running:
            yield await running.pop(0)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _speak_part(engine: EngineClient, frontend: Frontend, order: Order, part: Part) -> Made:
    segments: Iterator[Segment] = frontend.segments(iter(part.sentences), order.params)
    audio_s = (
        sum(spoken_characters(sentence.text) for sentence in part.sentences) * frontend.spec.seconds_per_char
    )
    utterance = await engine.submit(order.params, segments, streaming=False, audio_s=audio_s)
    pieces: list[bytes] = []
    told: list[Caption] = []
    words = order.params.timestamps == "word"
    answers: Any = engine.answers(utterance)
    async with aclosing(answers):
        answer: NDArray[np.float32] | Times
        async for answer in answers:
            if isinstance(answer, Times):
                told.append(sentence_of(order.text, utterance.segments[answer.segment], answer, words=words))
            else:
                pieces.append(pcm16(answer))
    return Made(part.chapter, b"".join(pieces), told)
