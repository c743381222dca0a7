"""POST /tts and POST /tts/stream, and what ties a request to the engine's work for it.

A stream that fails after its first bytes can no longer say so in its status: its connection is closed without
the last chunk, and HTTP clients report an incomplete body.

The size of a body is bounded by Litestar (request_max_body_size): by Content-Length before a byte is read,
and by the bytes that really come.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from litestar import Litestar, Request, Response, post
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, LitestarException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import RawBody
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from serving.audio.encode import Encoder, encoded, encoder_for
from serving.engine.client import EngineClient, Utterance
from serving.http.access.door import SPEAKS
from serving.http.timed import timed_stream
from serving.http.waiting import whole_answer
from serving.models import voice_fields
from serving.models.base import Frontend, ModelSpec
from serving.observe.words import described
from serving.profile import TextProfile
from serving.protocol import Segment, SpeechFailed, SpeechParams
from serving.request import Order, dropped_scripts, load_lexicon, parse, sentences
from serving.text import Sentence
from serving.text.words import spoken_characters

if TYPE_CHECKING:
    from serving.http.cached import AnswerCache

logger = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, Any]

_ABORT = "speech_abort"
BODY_CUT = "body_cut"
"""In the state of a scope: the connection ended, or lost its framing, before the body was complete."""
_UTF8 = ("utf-8", "utf8")
_PLAIN = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")
"""What stands in a header as it is; the rest is percent-encoded UTF-8."""
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_DRAINED_BYTES = 1_000_000
_DRAIN_S = 1.0

UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Keeps nginx from holding a stream back."""


class Speaker:
    """What every route that speaks does: check the request, hand it to the engine, describe the answer."""

    def __init__(
        self,
        engine: EngineClient,
        frontend: Frontend,
        text: TextProfile,
        cache: AnswerCache | None = None,
    ) -> None:
        """Raises ProfileError if the profile's lexicon cannot be read."""
        self._cache = cache
        self.engine = engine
        self.text = text
        self.lexicon = load_lexicon(text)
        self.frontend = frontend
        voice_fields(frontend.spec.fields)  # worked out once, before the first request pays for it

    async def answer(
        self, order: Order, request: AnyRequest, headers: dict[str, str], *, whole: bool
    ) -> Response[bytes] | Stream:
        """Audio for an order, whole or as it is made. Raises what serving.http.problems turns into answers."""

        async def fresh(headers: dict[str, str]) -> Response[bytes] | Stream:
            _, utterance = await self.speak(order, request, streaming=not whole)
            if whole:
                return await whole_answer(self, order, utterance, request.receive, headers)
            return await self.stream(order, utterance, headers)

        if self._cache is None:
            return await fresh(headers)
        return await self._cache.answer(order, request, headers, fresh, whole=whole)

    def order(self, body: bytes) -> Order:
        """Check a request. Raises InputError, BodyError."""
        return parse(body, self.spec, self.text.max_chars)

    @property
    def spec(self) -> ModelSpec:
        """What callers may know of the model now: voices come and go."""
        return self.frontend.spec

    async def speak(self, order: Order, request: AnyRequest, *, streaming: bool) -> tuple[Order, Utterance]:
        """Hand an order to the engine. The end of the ASGI call ends the engine's work for it."""
        utterance = await self.engine.submit(
            order.params, self.segments(order), streaming=streaming, audio_s=order.audio_s
        )
        abort_on_exit(request, functools.partial(self.engine.abort, utterance))
        return order, utterance

    def segments(self, order: Order) -> Iterator[Segment]:
        """What the model gets of an order's text, lazily. Raises InputError where it is pulled."""
        text = sentences(order, self.spec, self.text, self.lexicon)
        return self.frontend.segments(text, order.params)

    async def encoder(self, order: Order) -> Encoder:
        """What makes bytes of this order's samples."""
        return await encoder_for(order.audio_format, self.spec.sample_rate_hz, order.output_rate_hz)

    async def say(self, sentence: Sentence, params: SpeechParams) -> Utterance:
        """Hand one sentence to the engine as a request of its own. The caller aborts what it gives up.

        Raises Overloaded or NotReady, and InputError if the sentence has nothing that the model speaks.
        """
        speed = getattr(params.fields, "speed", 1.0)
        lead_s = sentence.lead_s / speed
        return await self.engine.submit(
            params,
            self.frontend.segments([replace(sentence, lead_s=lead_s)], params),
            streaming=True,
            audio_s=lead_s + spoken_characters(sentence.text) * self.spec.seconds_per_char / speed,
        )

    def headers(self, order: Order, request: AnyRequest) -> dict[str, str]:
        """The headers of SPEECH_HEADERS in serving.http.schema."""
        named = {
            "X-Request-Id": request_id(request),
            "X-Sample-Rate": str(order.output_rate_hz),
            "X-Voice": quote(order.params.voice, safe=_PLAIN),
            "X-Seed": str(order.params.seed),
            "Cache-Control": "no-store",
        }
        if dropped := dropped_scripts(order, self.spec):
            named["X-Dropped-Text"] = ", ".join(dropped)
        if order.ignored_fields:
            named["X-Ignored-Fields"] = ", ".join(order.ignored_fields)
        return named

    async def stream(self, order: Order, utterance: Utterance, headers: dict[str, str]) -> Stream:
        """The answer of a request whose audio is sent as it is made."""
        headers = headers | UNBUFFERED
        encoder = await self.encoder(order)
        if order.params.timestamps != "none":
            return timed_stream(self, order, utterance, encoder, headers)
        pieces = encoded(encoder, self.engine.chunks(utterance))
        return AudioStream(pieces, media_type=encoder.media_type, headers=headers)


class AudioStream(Stream):
    """Pieces of audio, sent in the task of the request: a group of tasks for it costs as much as several pieces."""

    iterator: AsyncIterator[bytes]

    def to_asgi_response(self, app: Litestar | None, request: AnyRequest, **settings: Any) -> ASGIResponse:
        """See litestar.Response; `settings` are those of the route."""
        settings["headers"] = {**(settings.get("headers") or {}), **self.headers}
        settings["media_type"] = self.media_type
        settings["status_code"] = self.status_code or settings.get("status_code")
        settings.pop("type_encoders", None)
        return _AudioSender(iterator=self.iterator, **settings)


class _AudioSender(ASGIStreamingResponse):
    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send the pieces to their end, or until the client leaves."""
        task = asyncio.current_task()
        assert task is not None
        left = False

        async def listen() -> None:
            nonlocal left
            while (await receive())["type"] != "http.disconnect":
                pass
            left = True
            task.cancel()

        listening = asyncio.ensure_future(listen())
        try:
            await self._stream(send)
        except asyncio.CancelledError:
            if not left or task.uncancel() > 0:
                raise
        finally:
            listening.cancel()


def speech_routes(
    speaker: Speaker, operation: type[Operation], responses: dict[int, ResponseSpec]
) -> list[HTTPRouteHandler]:
    """The two handlers, documented by `operation` and `responses`."""
    documented: dict[str, Any] = {
        "status_code": 200,
        "guards": [json_only],
        "opt": SPEAKS,
        "operation_class": operation,
        "responses": responses,
    }

    @post("/tts", **documented)
    async def tts(body: RawBody, request: AnyRequest) -> Response[bytes] | Stream:
        """Speak a text; the answer is the whole audio, with its true length in the header if the format has one.

        With `timestamps` the answer is multipart/mixed: the audio, then application/json with the times.
        """
        order = speaker.order(body)
        return await speaker.answer(order, request, speaker.headers(order, request), whole=True)

    @post("/tts/stream", **documented)
    async def tts_stream(body: RawBody, request: AnyRequest) -> Response[bytes] | Stream:
        """Speak a text; the answer begins at once and brings the samples as they are made.

        With format wav it is one WAV stream: a single header whose sizes are 0xFFFFFFFF, then samples to the end.
        The other formats too begin to play with their first frames.
        With `timestamps` it is multipart/mixed: the audio in parts, which add up to that stream, and before the
        audio of each sentence a part of application/json with its times.
        """
        order = speaker.order(body)
        return await speaker.answer(order, request, speaker.headers(order, request), whole=False)

    return [tts, tts_stream]


def abort_on_exit(request: AnyRequest, abort: Callable[[], None]) -> None:
    """Call `abort`, which never waits, when the ASGI call ends."""
    request.scope["state"].setdefault(_ABORT, []).append(abort)


def request_id(request: AnyRequest) -> str:
    """The client's X-Request-Id if it is short and plain, else a new one; the same for the whole request."""
    known = request.scope["state"].get("request_id")
    if isinstance(known, str):
        return known
    given = request.headers.get("x-request-id", "")
    chosen = given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    request.scope["state"]["request_id"] = chosen
    return chosen


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the body is JSON in UTF-8 and not compressed, or 415. Not async, it would wait for a thread."""
    media_type, *rest = connection.headers.get("content-type", "").split(";", maxsplit=1)
    media_type = media_type.strip().lower()
    options = rest[0].strip().lower() if rest else ""
    if media_type != "application/json":
        raise HTTPException(
            f"send Content-Type: application/json, not {media_type[:100] or 'nothing'}", status_code=415
        )
    if options.startswith("charset=") and options.removeprefix("charset=").strip('"') not in _UTF8:
        raise HTTPException(f"send the body in UTF-8, not {options[:100]}", status_code=415)
    if (encoding := connection.headers.get("content-encoding", "identity")) != "identity":
        raise HTTPException(f"send the body without Content-Encoding, not {encoding[:100]}", status_code=415)


class AbortOnExit(ASGIMiddleware):
    """The end of the ASGI call, for any reason (the stream's end, an error, a disconnect), frees the engine's slots.

    The generator of a stream cannot do this: Litestar does not close it when a stalled client goes away.
    abort() is synchronous and idempotent, so no cancellation can come between.

    A stream that fails after its start is logged and left without its last message: the server then closes
    the connection, and the client sees that the body is incomplete.

    A refusal is sent once the body that it refuses has come, if that is small: a server that closes a connection on
    unread bytes resets it, and the client loses the answer.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        body = _Body(scope, receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await body.drain()
            await send(message)

        try:
            await next_app(scope, body.receive, answer)
        except LitestarException as error:
            failure = _speech_failure(error)
            if failure is None:
                raise
            request = scope["state"].get("request_id")
            logger.warning("stream %s is cut (%s): %s", request, failure.code, described(failure))
        finally:
            for abort in scope["state"].pop(_ABORT, ()):
                abort()


class _Body:
    """The body of a request, read by the application or, where that refuses it unread, by drain."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._is_large = not declared.isdigit() or int(declared) > _DRAINED_BYTES
        self._state = scope["state"]
        self._receive = receive
        self._ended = False

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._ended:
            self._state[BODY_CUT] = True
        self._ended = self._ended or not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Read what is left and drop it, unless it is too large or slow in coming."""
        left = 0 if self._is_large else _DRAINED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and not self._ended:
                    message = await self.receive()
                    left -= len(message["body"]) if message["type"] == "http.request" else 0


def _speech_failure(error: BaseException | None) -> SpeechFailed | None:
    """The SpeechFailed behind what Litestar raises once an answer has begun, if that is what it was."""
    while error is not None and not isinstance(error, SpeechFailed):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error
