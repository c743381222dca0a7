"""Speak a text without a server: the engine in this process, samples written as they are made."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from serving.audio.encode import encoded_whole, make_encoder
from serving.book import Book, parts, speak_parts
from serving.captions import CAPTION_WRITERS, CHAPTER_WRITERS, joined, sentence_of
from serving.captions import Sentence as Caption
from serving.engine.client import EngineClient, EngineUnavailable
from serving.engine.many import Job, Many
from serving.flags import as_body
from serving.lines import Folder, Line, lines_of
from serving.models import load_frontend
from serving.models.base import Frontend
from serving.profile import Profile
from serving.protocol import InputError, Overloaded, SpeechFailed, Times, Timestamps
from serving.request import Order, load_lexicon, parse, sentences
from serving.text import Sentence

_START_LIMIT_S = 600.0
"""Compiling every stage takes minutes; more than this is a hang."""
_LONG_AUDIO_S = 20.0
"""From here on a progress bar is worth its line."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came out and when, counted from the submission of the text to an engine that is warm."""

    samples: int
    first_chunk_s: float
    total_s: float


def say(profile: Profile, body: bytes, output: str, captions: Path | None = None) -> int:
    """Speak a request body to the file `output`, or to standard output if it is "-". Returns the exit code.

    A file gets its true length at the end if its format tells one; on standard output the header is that of a stream.
    `captions` is a .json, .vtt or .srt file for the times of words or sentences. Raises InputError if the request
    cannot be spoken, OSError if a file cannot be written.
    """
    profile, frontend, order = _prepare(profile, body, timed=captions is not None)
    text = sentences(order, frontend.spec, profile.text, load_lexicon(profile.text))
    return _report(frontend, _speak(profile, frontend, order, text, output, captions))


def say_book(
    profile: Profile, body: bytes, output: Path, captions: Path | None = None, chapters: Path | None = None
) -> int:
    """Speak a long text to a file, going on where an earlier run of the same command was broken off.

    `chapters` is a .json or .vtt file for the moments at which chapters begin. Returns the exit code. Raises what
    say() raises, and BookError if the notes of an earlier run do not fit.
    """
    profile, frontend, order = _prepare(profile, body, timed=captions is not None)
    text = sentences(order, frontend.spec, profile.text, load_lexicon(profile.text))
    book = Book(output, order, frontend.spec.sample_rate_hz, _settings(profile))
    return _report(frontend, _speak_book(profile, frontend, order, text, book, captions, chapters))


def say_lines(profile: Profile, text: str, fields: dict[str, Any], output: Path) -> int:
    """Speak each line of a text to a file of its own in the folder `output`, many at once.

    Files that an earlier run of the same command has made are kept. A line that cannot be spoken is reported at the
    end. Returns the exit code, 1 if there was one. Raises InputError if the fields are wrong for every line, OSError.
    """
    profile, frontend, order = _prepare(profile, as_body(".", fields), timed=False)
    lines = lines_of(text)
    last = lines[-1].number if lines else 0
    with Folder(output, order.audio_format, last, _settings(profile)) as folder:
        orders: dict[int, tuple[Line, Order]] = {}
        failed: dict[int, str] = {}
        for line in lines:
            try:
                order = parse(as_body(line.text, fields), frontend.spec)
            except InputError as error:
                failed[line.number] = f"{error.field}: {error}"
            else:
                orders[line.number] = line, order
        todo = {number: known for number, known in orders.items() if not folder.has(*known)}
        if kept := len(orders) - len(todo):
            print(f"going on: {kept} of {len(lines)} lines are there already", file=sys.stderr)
        code = 0
        if todo:
            code = _report(frontend, _speak_lines(profile, frontend, todo, folder, failed))
    for number, why in sorted(failed.items()):
        print(f"tts-serving: line {number}: {why}", file=sys.stderr)
    if failed:
        print(f"tts-serving: {len(failed)} of {len(lines)} lines were not spoken", file=sys.stderr)
    return 1 if failed else code


def _settings(profile: Profile) -> str:
    """What samples depend on besides the order."""
    return msgspec.json.encode([profile.model, profile.text, profile.engine.dtype], order="sorted").decode()


def write_captions(path: Path, sentences: list[Caption]) -> None:
    """Times as JSON, WebVTT or SRT, by the file's suffix."""
    path.write_bytes(CAPTION_WRITERS[path.suffix.lower()](joined(sentences)))


def write_chapters(path: Path, chapters: list[tuple[str, float]], end_s: float) -> None:
    """Chapters as JSON or WebVTT, by the file's suffix."""
    path.write_bytes(CHAPTER_WRITERS[path.suffix.lower()](chapters, end_s))


def _prepare(profile: Profile, body: bytes, *, timed: bool) -> tuple[Profile, Frontend, Order]:
    """The engine in this process, the model's frontend, and what is asked for."""
    profile = msgspec.structs.replace(profile, engine=msgspec.structs.replace(profile.engine, process=False))
    frontend = load_frontend(profile)
    order = parse(body, frontend.spec)
    if timed:
        kind: Timestamps = "word" if frontend.spec.word_times else "sentence"
        order = msgspec.structs.replace(order, params=msgspec.structs.replace(order.params, timestamps=kind))
    return profile, frontend, order


def _report(frontend: Frontend, work: Coroutine[None, None, Spoken]) -> int:
    """Run to the end and say what it took."""
    try:
        spoken = asyncio.run(work)
    except (EngineUnavailable, SpeechFailed, Overloaded) as error:
        print(f"tts-serving: {error}", file=sys.stderr)
        return 1
    rate = frontend.spec.sample_rate_hz
    audio_s = spoken.samples / rate
    factor = f"real-time factor {spoken.total_s / audio_s:.3f}" if audio_s else "silence"
    print(
        f"{audio_s:.2f} s of speech in {spoken.total_s:.2f} s: {factor},"
        f" first samples after {spoken.first_chunk_s * 1000:.0f} ms",
        file=sys.stderr,
    )
    return 0


async def _speak(
    profile: Profile,
    frontend: Frontend,
    order: Order,
    text: Iterator[Sentence],
    output: str,
    captions: Path | None,
) -> Spoken:
    spec = frontend.spec
    audio_s = order.audio_s
    encoder = make_encoder(order.audio_format, spec.sample_rate_hz, order.output_rate_hz)
    told: list[Caption] = []
    async with _running(profile, frontend) as engine:
        begun = time.perf_counter()
        segments = frontend.segments(text, order.params)
        utterance = await engine.submit(order.params, segments, streaming=True, audio_s=audio_s)
        samples, first_chunk_s = 0, 0.0
        with _sink(output) as out, _progress(audio_s) as progress:
            bar = progress.add_task("speaking", total=audio_s)
            out.write(encoder.begin())
            async for answer in engine.answers(utterance):
                if isinstance(answer, Times):
                    segment = utterance.segments[answer.segment]
                    told.append(sentence_of(order.text, segment, answer, words=spec.word_times))
                    continue
                if not samples:
                    first_chunk_s = time.perf_counter() - begun
                samples += len(answer)
                out.write(encoder.feed(answer))
                out.flush()
                made_s = samples / spec.sample_rate_hz
                progress.update(bar, completed=made_s, total=max(audio_s, made_s))
            out.write(encoder.end())
            total_s = time.perf_counter() - begun
            if output != "-" and out.seekable():
                out.seek(0)
                out.write(encoder.begin(samples))
        if captions is not None:
            write_captions(captions, told)
        return Spoken(samples, first_chunk_s, total_s)


async def _speak_book(
    profile: Profile,
    frontend: Frontend,
    order: Order,
    text: Iterator[Sentence],
    book: Book,
    captions: Path | None,
    chapters: Path | None,
) -> Spoken:
    rate_hz = frontend.spec.sample_rate_hz
    known = book.progress
    if known.parts:
        print(f"going on after {known.samples / rate_hz:.1f} s of an earlier run", file=sys.stderr)
    todo = itertools.islice(parts(order.text, text), known.parts, None)
    async with _running(profile, frontend) as engine:
        begun = time.perf_counter()
        first_s = 0.0
        with book.open() as out, _progress(order.audio_s) as progress:
            bar = progress.add_task("speaking", total=order.audio_s, completed=known.samples // rate_hz)
            async for made in speak_parts(engine, frontend, order, todo):
                first_s = first_s or time.perf_counter() - begun
                book.add(out, made)
                made_s = book.progress.samples / rate_hz
                progress.update(bar, completed=made_s, total=max(order.audio_s, made_s))
            done = book.progress
            if captions is not None:
                write_captions(captions, done.sentences)
            if chapters is not None:
                write_chapters(chapters, done.chapters, done.samples / rate_hz)
            book.finish(out)
        return Spoken(done.samples - known.samples, first_s, time.perf_counter() - begun)


async def _speak_lines(
    profile: Profile,
    frontend: Frontend,
    todo: dict[int, tuple[Line, Order]],
    folder: Folder,
    failed: dict[int, str],
) -> Spoken:
    """Speak lines into the folder; why a line was not goes into `failed`, by its number."""
    spec = frontend.spec
    lexicon = load_lexicon(profile.text)

    def jobs() -> Iterator[Job]:
        for number, (_, order) in todo.items():
            text = sentences(order, spec, profile.text, lexicon)
            yield Job(number, order.params, frontend.segments(text, order.params), order.audio_s)

    async with _running(profile, frontend) as engine:
        begun = time.perf_counter()
        samples, first_s = 0, 0.0
        many = Many(engine, jobs(), profile)
        audio_s = sum(order.audio_s for _, order in todo.values())
        with contextlib.closing(many), _progress(audio_s) as progress:
            bar = progress.add_task(f"speaking {len(todo)} lines", total=audio_s)
            await many.begin()
            async for number, spoken in many:
                line, order = todo[number]
                try:
                    if isinstance(spoken, Exception):
                        raise spoken
                    encoder = make_encoder(order.audio_format, spec.sample_rate_hz, order.output_rate_hz)
                    audio, count = await encoded_whole(encoder, engine.chunks(spoken))
                except InputError as error:
                    failed[number] = f"{error.field}: {error}"
                except (SpeechFailed, Overloaded) as error:
                    failed[number] = str(error)
                else:
                    await asyncio.to_thread(folder.add, line, order, audio, count / spec.sample_rate_hz)
                    samples += count
                    first_s = first_s or time.perf_counter() - begun
                progress.update(bar, advance=order.audio_s)
        return Spoken(samples, first_s, time.perf_counter() - begun)


@contextlib.asynccontextmanager
async def _running(profile: Profile, frontend: Frontend) -> AsyncIterator[EngineClient]:
    engine = EngineClient(profile, frontend.spec)
    await engine.start()
    try:
        await engine.wait_ready(_START_LIMIT_S)
        yield engine
    finally:
        await engine.stop()


@contextlib.contextmanager
def _sink(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield sys.stdout.buffer
    else:
        with Path(output).open("wb") as file:
            yield file


def _progress(audio_s: float) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:.1f} s of speech"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal or audio_s < _LONG_AUDIO_S,
        transient=True,
    )
