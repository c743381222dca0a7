"""WS /v1/audio/speech/stream: the messages of vLLM-Omni's streaming speech, so that its clients work.

Of our own are the message response.cancel; the fields seed, text_format, normalize, timestamps and those of the
model in session.config; the event audio.times; samples, sample_rate and reason in audio.done and session.done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import websocket

from serving.http.front.turns import Turns
from serving.http.live.connection import (
    NORMAL,
    POLICY,
    AnySocket,
    Connection,
    Gone,
    Message,
    Refusal,
    failure_of,
    only_from,
)
from serving.http.live.frames import Frames, SessionConfig
from serving.http.live.orders import order_of, text_of
from serving.http.live.turn import Turn
from serving.http.speech import Speaker
from serving.profile import HttpProfile, WebSocketProfile
from serving.protocol import InputError
from serving.request import Order

MAX_WAITING = 8
"""Utterances of a connection whose audio is not complete."""


def stream_route(speaker: Speaker, limits: WebSocketProfile, http: HttpProfile, turns: Turns) -> Any:
    """The handler of the path, for pages of http.cors_origins and its own, and for what is no browser."""

    @websocket("/v1/audio/speech/stream", guards=[only_from(http.cors_origins)])
    async def speech_stream(socket: AnySocket) -> None:
        """Text in as it is written, audio out."""
        await socket.accept()
        await _Session(speaker, limits, http.voice_aliases, Connection(socket, limits, turns)).run()

    return speech_stream


class _Session:
    """One connection: any number of utterances, one after another."""

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
        self._config: SessionConfig | None = None
        self._order: Order | None = None
        self._turn: Turn | None = None
        """Whose text is still coming."""
        self._speaking: list[asyncio.Task[None]] = []
        """One for each utterance that is not complete, the oldest first; each waits for the one before."""
        self._utterances = 0

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            while (message := await self._receive()) is not None:
                await self._handle(message)
            await self._connection.close(NORMAL)
        except Gone:
            pass
        except Refusal as refusal:
            await self._refuse(refusal)
        finally:
            await self._connection.stop()
            for task in self._speaking:
                task.cancel()
            await asyncio.gather(*self._speaking, return_exceptions=True)

    async def _refuse(self, refusal: Refusal) -> None:
        for task in self._speaking:
            task.cancel()
        try:
            await self._connection.send(_error(refusal.code, str(refusal), refusal.field))
        except Gone:
            return
        await self._connection.close(refusal.close_code, refusal.code)

    async def _receive(self) -> Message | None:
        """The next message; None after session.close."""
        while True:
            message = await self._connection.receive(self._limits.idle_s)
            self._speaking = [task for task in self._speaking if not task.done()]
            if message is not None:
                return None if message.get("type") == "session.close" else message
            if self._turn is not None or not self._speaking:
                raise Refusal("idle", f"no message came for {self._limits.idle_s:g} s", POLICY)

    async def _handle(self, message: Message) -> None:
        match message.get("type"):
            case "session.config":
                self._configure(message)
            case _ if self._config is None:
                raise Refusal("not_configured", "the first message is session.config", POLICY)
            case "input.text":
                self._append(text_of(message))
            case "input.done":
                turn, self._turn = self._open_turn(), None
                turn.end()
            case "response.cancel":
                await self._cancel()
            case other:
                raise Refusal("unknown_message", f"type: {str(other)[:60]!r} is no message", POLICY, "type")

    def _configure(self, message: Message) -> None:
        if self._turn is not None:
            raise Refusal("in_utterance", "session.config comes between utterances; send input.done", POLICY)
        names = SessionConfig.__struct_fields__
        own = {name: message[name] for name in names if message.get(name) is not None}
        try:
            config = msgspec.convert(own, SessionConfig)
        except msgspec.ValidationError as error:
            field = next((name for name in own if f"$.{name}" in str(error)), None)
            raise Refusal("invalid_field", f"{field}: {error}", POLICY, field) from None
        fields = {name: message[name] for name in message if name not in {*names, "type"}}
        order = order_of(fields, self._speaker.spec, self._voice_aliases, "wav")
        if config.word_timestamps:
            if not (config.stream_audio and order.audio_format == "pcm"):
                text = "word_timestamps: needs stream_audio and response_format pcm"
                raise Refusal("invalid_field", text, POLICY, "word_timestamps")
            if not self._speaker.spec.word_times:
                text = "word_timestamps: the model does not tell when words are spoken"
                raise Refusal("invalid_field", text, POLICY, "word_timestamps")
            params = msgspec.structs.replace(order.params, timestamps="word")
            order = msgspec.structs.replace(order, params=params)
        self._config, self._order = config, order

    def _append(self, text: str) -> None:
        try:
            self._open_turn().append(text)
        except InputError as error:
            raise Refusal("text_too_long", str(error), POLICY, "text") from None

    def _open_turn(self) -> Turn:
        """The turn whose text is coming; begins one if there is none."""
        if self._turn is None:
            assert self._config is not None
            assert self._order is not None
            if len(self._speaking) >= MAX_WAITING:
                raise Refusal("too_many_utterances", f"{MAX_WAITING} utterances are not spoken yet", POLICY)
            self._turn = Turn(
                self._speaker,
                self._order.params,
                text_format=self._order.text_format,
                granularity=self._config.split_granularity,
                limits=self._limits,
                take_turn=self._connection.take_turn,
            )
            frames = Frames(self._connection, self._speaker, self._order, self._config, self._utterances)
            before = self._speaking[-1] if self._speaking else None
            self._speaking.append(
                asyncio.create_task(_speak(self._turn, frames, self._order.ignored_fields, before))
            )
            self._utterances += 1
        return self._turn

    async def _cancel(self) -> None:
        """End every utterance that is not complete; each is told to have ended."""
        self._turn = None
        for task in self._speaking:
            task.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)


async def _speak(
    turn: Turn, frames: Frames, ignored_fields: tuple[str, ...], before: asyncio.Task[None] | None
) -> None:
    """Speak a turn once the one before it is complete, and tell how it ended."""
    reason = "stop"
    try:
        if before is not None:
            await asyncio.wait({before})
        await turn.run(frames.deliver)
        if turn.chars and not turn.sentences:
            raise InputError("text", "there is nothing to speak")
    except asyncio.CancelledError:
        reason = "cancelled"
        raise
    except Gone:
        return
    except Exception as error:
        reason = "error"
        code, message, field = failure_of(error)
        await frames.connection.send(_error(code, message, field))
    finally:
        done: Message = {
            "type": "session.done",
            "utterance_index": frames.utterance,
            "total_sentences": turn.sentences,
            "reason": reason,
            "samples": frames.samples,
            "sample_rate": frames.rate_hz,
        }
        if ignored_fields:
            done["ignored_fields"] = list(ignored_fields)
        await frames.finish(done)


def _error(code: str, message: str, field: str | None) -> Message:
    error: Message = {"type": "error", "code": code, "message": message}
    return error if field is None else {**error, "field": field}
