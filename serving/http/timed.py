"""Speech with the times of its sentences and words: multipart answers and captions."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec
from litestar import Response
from litestar.response import Stream

from serving import captions
from serving.audio.encode import BYTES_PER_SAMPLE, MEDIA_TYPES, header, pcm16
from serving.engine.client import Utterance
from serving.protocol import Times
from serving.request import Order

if TYPE_CHECKING:
    from serving.http.speech import Speaker

JSON = "application/json"


async def timed_whole(
    speaker: Speaker, order: Order, utterance: Utterance, headers: dict[str, str]
) -> Response[bytes]:
    """multipart/mixed of the audio and its times."""
    rate_hz = speaker.spec.sample_rate_hz
    pieces: list[bytes] = []
    sentences: list[captions.Sentence] = []
    async for answer in speaker.engine.answers(utterance):
        if isinstance(answer, Times):
            sentences.append(sentence_of(order, utterance, answer))
        else:
            pieces.append(pcm16(answer))
    samples = b"".join(pieces)
    count = len(samples) // BYTES_PER_SAMPLE
    boundary = secrets.token_hex(16)
    body = (
        part(boundary, MEDIA_TYPES[order.audio_format], header(order.audio_format, rate_hz, count) + samples)
        + part(boundary, JSON, captions.as_json(captions.joined(sentences)))
        + f"--{boundary}--\r\n".encode()
    )
    return Response(
        body,
        media_type=f"multipart/mixed; boundary={boundary}",
        headers=headers | {"X-Audio-Seconds": f"{count / rate_hz:.3f}"},
    )


def timed_stream(speaker: Speaker, order: Order, utterance: Utterance, headers: dict[str, str]) -> Stream:
    """multipart/mixed of audio as it is made, and of the times of each sentence as soon as they are known."""
    boundary = secrets.token_hex(16)
    media_type = MEDIA_TYPES[order.audio_format]

    async def parts() -> AsyncIterator[bytes]:
        if first := header(order.audio_format, speaker.spec.sample_rate_hz):
            yield part(boundary, media_type, first)
        async for answer in speaker.engine.answers(utterance):
            if isinstance(answer, Times):
                yield part(boundary, JSON, msgspec.json.encode(sentence_of(order, utterance, answer)))
            else:
                yield part(boundary, media_type, pcm16(answer))
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
