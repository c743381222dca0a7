"""Server-Sent Events: speech as OpenAI's API streams it, and a heartbeat while nothing is ready."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections.abc import AsyncGenerator

import msgspec
from litestar.response import Stream

from serving import captions
from serving.audio.encode import feed
from serving.engine.client import Utterance
from serving.http.problems import STATUS_OF_FAILURE, OpenAIError, openai_error
from serving.http.speech import Speaker
from serving.http.timed import sentence_of
from serving.observe.words import described
from serving.openai import their_name
from serving.protocol import SpeechFailed, Times
from serving.request import Order

logger = logging.getLogger(__name__)

HEARTBEAT = b": still here\n\n"
"""A comment, which every reader of events skips."""

TOKENS_PER_AUDIO_S = 20
"""usage counts 50 ms of audio as one token."""


class Delta(msgspec.Struct, frozen=True, tag_field="type", tag="speech.audio.delta"):
    """A piece of the encoded audio."""

    audio: str
    """Base64; the pieces decoded and put together are the file."""


class TimesEvent(msgspec.Struct, frozen=True, tag_field="type", tag="speech.audio.times"):
    """When a sentence is spoken, for a request with `timestamps`; no event of OpenAI's."""

    sentence: captions.Sentence


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the request took, in units that a client can check."""

    input_tokens: int
    """Characters of the text."""
    output_tokens: int
    """TOKENS_PER_AUDIO_S for each second of audio, rounded up."""
    total_tokens: int
    audio_seconds: float


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="speech.audio.done"):
    """The end of the audio."""

    usage: Usage


class Failure(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The audio ends here because something failed."""

    error: OpenAIError


Event = Delta | TimesEvent | Done | Failure


async def event_stream(
    speaker: Speaker, order: Order, utterance: Utterance, headers: dict[str, str], heartbeat_s: float
) -> Stream:
    """text/event-stream of the audio as it is made. A failure is the last event."""

    encoder = await speaker.encoder(order)

    async def events() -> AsyncGenerator[bytes]:
        yield b""  # sends the headers at once
        samples = 0
        if first := encoder.begin():
            yield delta(first)
        try:
            async for answer in speaker.engine.answers(utterance):
                if isinstance(answer, Times):
                    yield event(TimesEvent(sentence_of(order, utterance, answer)))
                else:
                    samples += len(answer)
                    if piece := await feed(encoder, answer):
                        yield delta(piece)
        except SpeechFailed as error:
            logger.warning("events of a request end early (%s): %s", error.code, described(error))
            yield event(
                Failure(
                    openai_error(
                        STATUS_OF_FAILURE[error.code], error.code, error.told, their_name(error.field)
                    ).error
                )
            )
            return
        if rest := encoder.end():
            yield delta(rest)
        yield event(Done(usage(len(order.text), samples / speaker.spec.sample_rate_hz)))

    return Stream(with_heartbeat(events(), heartbeat_s), media_type="text/event-stream", headers=headers)


def event(content: Event) -> bytes:
    """One event, its type both in the JSON and nowhere else, as OpenAI's API sends it."""
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def delta(audio: bytes) -> bytes:
    """The event of a piece of audio."""
    return event(Delta(base64.b64encode(audio).decode("ascii")))


def usage(characters: int, audio_s: float) -> Usage:
    """The counts of a request whose text has `characters` and whose speech lasts `audio_s`."""
    output = math.ceil(audio_s * TOKENS_PER_AUDIO_S)
    return Usage(
        input_tokens=characters,
        output_tokens=output,
        total_tokens=characters + output,
        audio_seconds=round(audio_s, 3),
    )


async def with_heartbeat(source: AsyncGenerator[bytes], interval_s: float) -> AsyncGenerator[bytes]:
    """What `source` yields, and HEARTBEAT whenever it has yielded nothing for interval_s."""
    pending: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(source, None))
            done, _ = await asyncio.wait({pending}, timeout=interval_s)
            if not done:
                yield HEARTBEAT
                continue
            piece = pending.result()
            pending = None
            if piece is None:
                return
            yield piece
    finally:
        if pending is not None:
            pending.cancel()
