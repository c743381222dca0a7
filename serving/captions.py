"""When a text is spoken: times of its sentences and words, as JSON, WebVTT and SRT.

All positions and words are those of the text as it was written, not as it was spelled out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from serving.protocol import Segment, Times


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word of the text, or several that are spoken as one."""

    text: str
    start: int
    end: int
    """Its characters in the request's text."""
    start_s: float
    end_s: float


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the text."""

    text: str
    start: int
    end: int
    """Its characters in the request's text."""
    start_s: float
    end_s: float
    words: list[Word] = []
    """Only with timestamps = word."""


def sentence_of(text: str, segment: Segment, times: Times, *, words: bool) -> Sentence:
    """The part of `text` that a segment stands for, with its times rounded to a millisecond."""
    spoken = [
        Word(
            text=text[span.start : span.end],
            start=span.start,
            end=span.end,
            start_s=round(start_s, 3),
            end_s=round(end_s, 3),
        )
        for span, (start_s, end_s) in zip(segment.words, times.words, strict=bool(times.words))
    ]
    return Sentence(
        text=text[segment.start : segment.end],
        start=segment.start,
        end=segment.end,
        start_s=round(times.start_s, 3),
        end_s=round(times.end_s, 3),
        words=spoken if words else [],
    )


def joined(parts: Iterable[Sentence]) -> list[Sentence]:
    """Sentences, where a long one came as several segments."""
    sentences: list[Sentence] = []
    for part in parts:
        if sentences and (part.start, part.end) == (sentences[-1].start, sentences[-1].end):
            last = sentences.pop()
            part = msgspec.structs.replace(part, start_s=last.start_s, words=last.words + part.words)
        sentences.append(part)
    return sentences


def as_json(sentences: Sequence[Sentence]) -> bytes:
    """{"sentences": [...]}"""
    return msgspec.json.encode({"sentences": sentences})


def as_webvtt(sentences: Sequence[Sentence]) -> bytes:
    """WebVTT, a cue per sentence; with word times each word has a timestamp of its own inside the cue."""
    cues = ["WEBVTT"]
    for sentence in sentences:
        cues.append(f"{_clock(sentence.start_s)} --> {_clock(sentence.end_s)}\n{_cue_text(sentence)}")
    return ("\n\n".join(cues) + "\n").encode()


def as_srt(sentences: Sequence[Sentence]) -> bytes:
    """SubRip, a numbered cue per sentence."""
    cues = [
        f"{number}\n{_clock(sentence.start_s, ',')} --> {_clock(sentence.end_s, ',')}\n{_line(sentence.text)}"
        for number, sentence in enumerate(sentences, 1)
    ]
    return ("\n\n".join(cues) + "\n").encode()


def chapters_as_json(chapters: Sequence[tuple[str, float]], end_s: float) -> bytes:
    """{"chapters": [{"title", "start_s", "end_s"}]}"""
    told = [
        {"title": title, "start_s": round(start_s, 3), "end_s": round(stop_s, 3)}
        for title, start_s, stop_s in _with_ends(chapters, end_s)
    ]
    return msgspec.json.encode({"chapters": told})


def chapters_as_webvtt(chapters: Sequence[tuple[str, float]], end_s: float) -> bytes:
    """WebVTT chapters, a cue per chapter."""
    cues = ["WEBVTT"]
    for title, start_s, stop_s in _with_ends(chapters, end_s):
        cues.append(f"{_clock(start_s)} --> {_clock(stop_s)}\n{_escape(_line(title))}")
    return ("\n\n".join(cues) + "\n").encode()


def _with_ends(chapters: Sequence[tuple[str, float]], end_s: float) -> list[tuple[str, float, float]]:
    starts = [start_s for _, start_s in chapters]
    return [
        (title, start_s, stop_s)
        for (title, start_s), stop_s in zip(chapters, [*starts[1:], end_s], strict=True)
    ]


def _cue_text(sentence: Sentence) -> str:
    if not sentence.words:
        return _escape(_line(sentence.text))
    pieces, at = [], sentence.start
    for number, word in enumerate(sentence.words):
        before = sentence.text[at - sentence.start : max(at, word.start) - sentence.start]
        stamp = f"<{_clock(word.start_s)}>" if number else ""
        pieces.append(_escape(before) + stamp + _escape(word.text if word.start >= at else ""))
        at = max(at, word.end)
    pieces.append(_escape(sentence.text[at - sentence.start :]))
    return _line("".join(pieces))


def _line(text: str) -> str:
    """One line: a blank line would end a cue."""
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(moment_s: float, point: str = ".") -> str:
    milliseconds = round(moment_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


CAPTION_WRITERS = {".json": as_json, ".vtt": as_webvtt, ".srt": as_srt}
"""By the suffix of the file."""
CHAPTER_WRITERS = {".json": chapters_as_json, ".vtt": chapters_as_webvtt}
