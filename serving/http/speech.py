"""POST /tts and POST /tts/stream.

A stream that fails after its first bytes can no longer say so in its status: its connection is closed without
the last chunk, and HTTP clients report an incomplete body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import RawBody, SkipValidation
from litestar.response import Stream

from serving.audio.encode import BYTES_PER_SAMPLE, MEDIA_TYPES, AudioFormat, header, pcm16
from serving.engine.client import EngineClient, Handle
from serving.http.guards import hold, json_only, while_connected
from serving.http.problems import AnyRequest, request_id
from serving.http.schema import PROBLEM_RESPONSES, SpeechOperation
from serving.models.base import Frontend
from serving.request import expected_audio_s, ignored_fields, parse, speech_params

_Engine = NamedDependency[SkipValidation[EngineClient]]
_Frontend = NamedDependency[SkipValidation[Frontend]]


@dataclass(frozen=True, slots=True)
class Speech:
    """A request that the engine has taken."""

    handle: Handle
    audio_format: AudioFormat
    sample_rate_hz: int
    headers: dict[str, str]


@post(
    "/tts",
    status_code=200,
    guards=[json_only],
    operation_class=SpeechOperation,
    responses=PROBLEM_RESPONSES,
)
async def tts(body: RawBody, request: AnyRequest, engine: _Engine, frontend: _Frontend) -> Response[bytes]:
    """Speak a text; the answer is the whole audio, with its true length in the header."""
    speech = await _begin(body, request, engine, frontend, streaming=False)
    samples = await while_connected(request.receive, _collect(speech.handle))
    count = len(samples) // BYTES_PER_SAMPLE
    return Response(
        header(speech.audio_format, speech.sample_rate_hz, count) + samples,
        media_type=MEDIA_TYPES[speech.audio_format],
        headers={**speech.headers, "X-Audio-Seconds": f"{count / speech.sample_rate_hz:.3f}"},
    )


@post(
    "/tts/stream",
    status_code=200,
    guards=[json_only],
    operation_class=SpeechOperation,
    responses=PROBLEM_RESPONSES,
)
async def tts_stream(body: RawBody, request: AnyRequest, engine: _Engine, frontend: _Frontend) -> Stream:
    """Speak a text; the answer begins at once and brings the samples as they are made.

    With format wav it is one WAV stream: a single header whose sizes are 0xFFFFFFFF, then samples to the end.
    """
    speech = await _begin(body, request, engine, frontend, streaming=True)
    return Stream(
        _encoded(speech),
        media_type=MEDIA_TYPES[speech.audio_format],
        headers=speech.headers,
    )


async def _begin(
    body: RawBody, request: AnyRequest, engine: EngineClient, frontend: Frontend, *, streaming: bool
) -> Speech:
    """Check the request and hand it to the engine. Raises what serving.http.problems turns into answers."""
    wanted, sent = parse(body)
    spec = frontend.spec
    params = speech_params(wanted, spec)
    handle = await engine.submit(
        params,
        frontend.segments(wanted.text, params),
        streaming=streaming,
        audio_s=expected_audio_s(wanted, spec),
    )
    hold(request.scope, handle)
    headers = {
        "X-Request-Id": request_id(request),
        "X-Sample-Rate": str(spec.sample_rate_hz),
        "X-Voice": params.voice,
        "X-Seed": str(params.seed),
        "Cache-Control": "no-store",
    }
    if ignored := ignored_fields(sent, spec):
        headers["X-Ignored-Fields"] = ", ".join(ignored)
    return Speech(handle, wanted.format, spec.sample_rate_hz, headers)


async def _collect(handle: Handle) -> bytes:
    """All samples of a request as 16-bit integers."""
    return b"".join([pcm16(samples) async for samples in handle.chunks()])


async def _encoded(speech: Speech) -> AsyncIterator[bytes]:
    """The body of a stream. Its first piece, empty for raw samples, sends the headers at once."""
    yield header(speech.audio_format, speech.sample_rate_hz)
    async for samples in speech.handle.chunks():
        yield pcm16(samples)
