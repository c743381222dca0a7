"""Speak a text without a server: the engine in this process, samples written as they are made."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from serving.audio.encode import header, pcm16
from serving.engine.client import EngineClient, EngineUnavailable
from serving.models import load_frontend
from serving.models.base import Frontend
from serving.profile import Profile
from serving.protocol import Overloaded, SpeechFailed
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


def say(profile: Profile, body: bytes, output: str) -> int:
    """Speak a request body to the file `output`, or to standard output if it is "-". Returns the exit code.

    A WAV file gets its true length at the end; on standard output its header keeps the sizes of a stream.
    Raises InputError if the request cannot be spoken, OSError if the file cannot be written.
    """
    profile = msgspec.structs.replace(profile, engine=msgspec.structs.replace(profile.engine, process=False))
    frontend = load_frontend(profile)
    order = parse(body, frontend.spec)
    text = sentences(order, frontend.spec, profile.text, load_lexicon(profile.text))
    try:
        spoken = asyncio.run(_speak(profile, frontend, order, text, output))
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
    profile: Profile, frontend: Frontend, order: Order, text: Iterator[Sentence], output: str
) -> Spoken:
    spec = frontend.spec
    audio_s = order.audio_s
    engine = EngineClient(profile, spec)
    await engine.start()
    try:
        await engine.wait_ready(_START_LIMIT_S)
        begun = time.perf_counter()
        segments = frontend.segments(text, order.params)
        utterance = await engine.submit(order.params, segments, streaming=True, audio_s=audio_s)
        samples, first_chunk_s = 0, 0.0
        with _sink(output) as out, _progress(audio_s) as progress:
            bar = progress.add_task("speaking", total=audio_s)
            out.write(header(order.audio_format, spec.sample_rate_hz))
            async for chunk in engine.chunks(utterance):
                if not samples:
                    first_chunk_s = time.perf_counter() - begun
                samples += len(chunk)
                out.write(pcm16(chunk))
                out.flush()
                made_s = samples / spec.sample_rate_hz
                progress.update(bar, completed=made_s, total=max(audio_s, made_s))
            total_s = time.perf_counter() - begun
            if output != "-" and out.seekable():
                out.seek(0)
                out.write(header(order.audio_format, spec.sample_rate_hz, samples))
        return Spoken(samples, first_chunk_s, total_s)
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
