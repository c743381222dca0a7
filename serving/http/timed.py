"""Speech with the times of its sentences and words: multipart answers and captions."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from litestar import Response
from litestar.response import Stream

from serving import captions
from serving.audio.encode import Encoder, feed
from serving.engine.client import Utterance
from serving.protocol import Times
from serving.request import Order

if TYPE_CHECKING:
    from serving.http.speech import Speaker

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Collected:
    """A whole utterance."""

    audio: bytes
    """Encoded, with its true length where the format tells one."""
    media_type: str
    samples: int
    """At the model's rate."""
    sentences: list[captions.Sentence]
    """When they are spoken, if the order wants to know."""


async def collected(speaker: Speaker, order: Order, utterance: Utterance) -> Collected:
    """Read and encode an utterance to its end. Raises SpeechFailed."""
    encoder = await speaker.encoder(order)
    pieces: list[bytes] = []
    samples = 0
    sentences: list[captions.Sentence] = []
    async for answer in speaker.engine.answers(utterance):
        if isinstance(answer, Times):
            sentences.append(sentence_of(order, utterance, answer))
        else:
            samples += len(answer)
            pieces.append(await feed(encoder, answer))
    audio = b"".join([encoder.begin(samples), *pieces, encoder.end()])
    return Collected(audio, encoder.media_type, samples, captions.joined(sentences))


async def timed_whole(
    speaker: Speaker, order: Order, utterance: Utterance, headers: dict[str, str]
) -> Response[bytes]:
    """multipart/mixed of the audio and its times."""
    taken = await collected(speaker, order, utterance)
    boundary = secrets.token_hex(16)
    body = (
        part(boundary, taken.media_type, taken.audio)
        + part(boundary, JSON, captions.as_json(taken.sentences))
        + f"--{boundary}--\r\n".encode()
    )
    return Response(
        body,
        media_type=f"multipart/mixed; boundary={boundary}",
        headers=headers | {"X-Audio-Seconds": f"{taken.samples / speaker.spec.sample_rate_hz:.3f}"},
    )


def timed_stream(
    speaker: Speaker, order: Order, utterance: Utterance, encoder: Encoder, headers: dict[str, str]
) -> Stream:
    """multipart/mixed of audio as it is made, and of the times of each sentence as soon as they are known."""
    boundary = secrets.token_hex(16)

    async def parts() -> AsyncIterator[bytes]:
        if first := encoder.begin():
            yield part(boundary, encoder.media_type, first)
        async for answer in speaker.engine.answers(utterance):
            if isinstance(answer, Times):
                yield part(boundary, JSON, msgspec.json.encode(sentence_of(order, utterance, answer)))
            elif piece := await feed(encoder, answer):
                yield part(boundary, encoder.media_type, piece)
        if rest := encoder.end():
            yield part(boundary, encoder.media_type, rest)
        yield f"--{boundary}--\r\n".encode()

    return Stream(parts(), media_type=f"multipart/mixed; boundary={boundary}", headers=headers)


def sentence_of(order: Order, utterance: Utterance, times: Times) -> captions.Sentence:
    """The sentence, or the part of one, that a segment stands for."""
    words = order.params.timestamps == "word"
    return captions.sentence_of(order.text, utterance.segments[times.segment], times, words=words)


def part(boundary: str, media_type: str, content: bytes) -> bytes:
    """One part of a multipart body, RFC 2046."""
    head = f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content + b"\r\n"
