"""WS /v1/audio/speech/ws: the subprotocol nari.speech.v1 of nari-qwen3-tts, one utterance a connection.

Of our own are samples in response.done, the event response.times, and in request.start the fields of the model and
every format: the audio of an utterance is one file, in many frames as it is made.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import websocket

from serving import captions
from serving.audio.encode import AudioFormat, Encoder, feed, output_samples
from serving.http.front.turns import Turns
from serving.http.live.connection import (
    INTERNAL,
    NORMAL,
    POLICY,
    TOO_BIG,
    AnySocket,
    Connection,
    Gone,
    Message,
    Refusal,
    failure_of,
    only_from,
)
from serving.http.live.orders import order_of, text_of
from serving.http.live.turn import Ended, Event, Started, Turn
from serving.http.speech import Speaker
from serving.profile import HttpProfile, WebSocketProfile
from serving.protocol import InputError

PROTOCOL = "nari.speech.v1"
NO_SUBPROTOCOL = 1002


def nari_route(speaker: Speaker, limits: WebSocketProfile, http: HttpProfile, turns: Turns) -> Any:
    """The handler of the path, for pages of http.cors_origins and its own, and for what is no browser."""

    @websocket("/v1/audio/speech/ws", guards=[only_from(http.cors_origins)])
    async def speech_ws(socket: AnySocket) -> None:
        """Text in as it is written, audio out: nari.speech.v1."""
        offered = [name.strip() for name in socket.headers.get("sec-websocket-protocol", "").split(",")]
        if PROTOCOL not in offered:
            await socket.accept()
            await socket.close(NO_SUBPROTOCOL, f"required subprotocol: {PROTOCOL}")
            return
        await socket.accept(subprotocols=PROTOCOL)
        await _Request(speaker, limits, http.voice_aliases, Connection(socket, limits, turns)).run()

    return speech_ws


def _audio(audio_format: AudioFormat, rate_hz: int) -> dict[str, str | int]:
    """How the protocol describes audio. Bare samples have its own name, the other formats ours."""
    encoding = "pcm_s16le" if audio_format == "pcm" else audio_format
    return {"encoding": encoding, "sample_rate": rate_hz, "channels": 1}


class _Request:
    """One connection."""

    def __init__(
        self,
        speaker: Speaker,
        limits: WebSocketProfile,
        voice_aliases: Mapping[str, str],
        connection: Connection,
    ) -> None:
        self._speaker = speaker
        self._limits = limits
        self._voice_aliases = voice_aliases
        self._connection = connection
        self._request_id = f"ws-{uuid.uuid4().hex}"
        self._audio = _audio("pcm", speaker.spec.sample_rate_hz)
        self._encoder: Encoder | None = None
        self._turn: Turn | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._ended = False
        self._sequence = 0
        self._chunks = 0
        self._ignored: tuple[str, ...] = ()

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            await self._connection.send(
                {"type": "session.created", "protocol": PROTOCOL, "audio": self._audio}
            )
            while True:
                message = await self._connection.receive(self._limits.idle_s)
                if message is not None:
                    await self._handle(message)
                elif not self._ended:
                    text = f"no message came for {self._limits.idle_s:g} s"
                    raise Refusal("input_timeout", text, POLICY)
        except Gone:
            pass
        except Refusal as refusal:
            if self._speaking is not None:
                self._speaking.cancel()
            await self._fail(refusal.code, str(refusal), "invalid_request_error", refusal.close_code)
        finally:
            await self._connection.stop()
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)

    async def _handle(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "request.start":
            await self._start(message)
        elif kind not in ("input_text.append", "input_text.end", "response.cancel"):
            raise Refusal("unknown_event", f"type: {str(kind)[:60]!r} is no event", POLICY)
        elif self._turn is None or self._speaking is None:
            raise Refusal("invalid_request", "the first event is request.start", POLICY)
        elif kind == "response.cancel":
            self._ended = True
            self._speaking.cancel()
        elif self._ended:
            raise Refusal("invalid_request", "the text has ended", POLICY)
        else:
            await self._take(kind, message, self._turn)

    async def _take(self, kind: str, message: Message, turn: Turn) -> None:
        if message.get("sequence") != self._sequence:
            text = f"expected sequence {self._sequence}, got {str(message.get('sequence'))[:20]}"
            raise Refusal("invalid_sequence", text, POLICY)
        self._sequence += 1
        if kind == "input_text.append":
            try:
                turn.append(text_of(message))
            except InputError as error:
                raise Refusal("input_too_large", str(error), TOO_BIG) from None
        else:
            self._ended = True
        request_id = self._request_id if turn.sentences or self._ended else None
        acknowledged = {"event": kind, "sequence": self._sequence - 1, "request_id": request_id}
        await self._connection.send({"type": "input_text.ack", **acknowledged})
        if self._ended:
            turn.end()

    async def _start(self, message: Message) -> None:
        if self._turn is not None:
            raise Refusal("invalid_request", "the request was started already", POLICY)
        fields = {name: message[name] for name in message if name != "type"}
        order = order_of(fields, self._speaker.spec, self._voice_aliases, "pcm")
        self._audio = _audio(order.audio_format, order.output_rate_hz)
        self._encoder = await self._speaker.encoder(order)
        self._ignored = order.ignored_fields
        self._turn = Turn(
            self._speaker,
            order.params,
            text_format=order.text_format,
            granularity="sentence",
            limits=self._limits,
            take_turn=self._connection.take_turn,
        )
        await self._connection.send({"type": "request.configured"})
        self._speaking = asyncio.create_task(self._speak(self._turn))

    async def _speak(self, turn: Turn) -> None:
        """Speak the turn, tell how it ended and close."""
        reason = "stop"
        try:
            await turn.run(self._deliver)
            if not turn.sentences:
                raise InputError("text", "there is nothing to speak")
            assert self._encoder is not None
            await self._send_audio(self._encoder.end())
        except asyncio.CancelledError:
            if not self._ended:
                raise
            reason = "cancelled"
        except Gone:
            return
        except Exception as error:
            code, text, _ = failure_of(error)
            wrong = isinstance(error, InputError)
            kind = "invalid_request_error" if wrong else "generation_error"
            await self._fail("empty_input" if wrong else code, text, kind, POLICY if wrong else INTERNAL)
            return
        done: Message = {
            "type": "response.done",
            "request_id": self._request_id,
            "stop_reason": reason,
            "audio_chunks": self._chunks,
            "samples": output_samples(
                turn.samples, self._speaker.spec.sample_rate_hz, int(self._audio["sample_rate"])
            ),
        }
        if self._ignored:
            done["ignored_fields"] = list(self._ignored)
        try:
            await self._connection.send(done)
        except Gone:
            return
        await self._connection.close(NORMAL, "response.done")

    async def _deliver(self, event: Event) -> None:
        assert self._encoder is not None, "the request has started"
        match event:
            case Started(index=0):
                started = {"type": "response.started", "request_id": self._request_id, "audio": self._audio}
                await self._connection.send(started)
                await self._send_audio(self._encoder.begin())
            case Started() | Ended():
                pass
            case captions.Sentence():
                times = {"type": "response.times", "request_id": self._request_id}
                await self._connection.send({**times, **msgspec.to_builtins(event)})
            case _:
                await self._send_audio(await feed(self._encoder, event))

    async def _send_audio(self, encoded: bytes) -> None:
        if encoded:
            self._chunks += 1
            await self._connection.send(encoded)

    async def _fail(self, code: str, message: str, kind: str, close_code: int) -> None:
        error = {"type": kind, "code": code, "message": message}
        try:
            await self._connection.send({"type": "error", "request_id": self._request_id, "error": error})
        except Gone:
            return
        await self._connection.close(close_code, code)
