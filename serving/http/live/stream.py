"""WS /v1/audio/speech/stream: the messages of vLLM-Omni's streaming speech, so that its clients work.

Of our own are the message response.cancel; the fields seed, text_format, normalize, timestamps and those of the
model in session.config; the event audio.times; samples, sample_rate and reason in audio.done and session.done.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection
from typing import Any, Literal

import msgspec
import numpy as np
from litestar import websocket

from serving import captions
from serving.audio.encode import header, pcm16
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
from serving.http.live.orders import order_of, text_of
from serving.http.live.turn import Ended, Event, Granularity, Started, Turn
from serving.http.speech import Speaker
from serving.profile import WebSocketProfile
from serving.protocol import InputError
from serving.request import Order

MAX_WAITING = 8
"""Utterances of a connection whose audio is not complete."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of session.config that are not the order's."""

    response_format: Literal["wav", "pcm"] = "wav"
    stream_audio: bool = False
    """Audio in many frames as it is made; false: one frame a sentence, with a true header."""
    split_granularity: Granularity = "sentence"
    word_timestamps: bool = False
    """Audio as audio.chunk events in base64, the last of a sentence with its words."""


def stream_route(speaker: Speaker, limits: WebSocketProfile, origins: Collection[str]) -> Any:
    """The handler of the path, for pages of these origins and its own, and for what is no browser."""

    @websocket("/v1/audio/speech/stream", guards=[only_from(origins)])
    async def speech_stream(socket: AnySocket) -> None:
        """Text in as it is written, audio out."""
        await socket.accept()
        await _Session(speaker, limits, Connection(socket, limits)).run()

    return speech_stream


class _Session:
    """One connection: any number of utterances, one after another."""

    def __init__(self, speaker: Speaker, limits: WebSocketProfile, connection: Connection) -> None:
        self._speaker = speaker
        self._limits = limits
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
                await self._append(text_of(message))
            case "input.done":
                turn, self._turn = self._open_turn(), None
                await turn.end()
            case "response.cancel":
                await self._cancel()
            case other:
                raise Refusal("unknown_message", f"type: {str(other)[:60]!r} is no message", POLICY, "type")

    def _configure(self, message: Message) -> None:
        if self._turn is not None:
            raise Refusal("in_utterance", "session.config comes between utterances; send input.done", POLICY)
        own = {name: message[name] for name in SessionConfig.__struct_fields__ if name in message}
        try:
            config = msgspec.convert(own, SessionConfig)
        except msgspec.ValidationError as error:
            field = next((name for name in own if f"$.{name}" in str(error)), None)
            raise Refusal("invalid_field", f"{field}: {error}", POLICY, field) from None
        order = order_of(
            {name: message[name] for name in message if name not in {*own, "type"}}, self._speaker.spec
        )
        if config.word_timestamps:
            if not (config.stream_audio and config.response_format == "pcm"):
                text = "word_timestamps: needs stream_audio and response_format pcm"
                raise Refusal("invalid_field", text, POLICY, "word_timestamps")
            if not self._speaker.spec.word_times:
                text = "word_timestamps: the model does not tell when words are spoken"
                raise Refusal("invalid_field", text, POLICY, "word_timestamps")
            params = msgspec.structs.replace(order.params, timestamps="word")
            order = msgspec.structs.replace(order, params=params)
        self._config, self._order = config, order

    async def _append(self, text: str) -> None:
        try:
            await self._open_turn().append(text)
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
            )
            voice = _Voice(
                self._connection, self._config, self._speaker.spec.sample_rate_hz, self._utterances
            )
            before = self._speaking[-1] if self._speaking else None
            self._speaking.append(
                asyncio.create_task(_speak(self._turn, voice, self._order.ignored_fields, before))
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
    turn: Turn, voice: _Voice, ignored_fields: tuple[str, ...], before: asyncio.Task[None] | None
) -> None:
    """Speak a turn once the one before it is complete, and tell how it ended."""
    reason = "stop"
    try:
        if before is not None:
            await asyncio.wait({before})
        await turn.run(voice.deliver)
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
        await voice.connection.send(_error(code, message, field))
    finally:
        done: Message = {
            "type": "session.done",
            "utterance_index": voice.utterance,
            "total_sentences": turn.sentences,
            "reason": reason,
            "samples": turn.samples,
            "sample_rate": voice.rate_hz,
        }
        if ignored_fields:
            done["ignored_fields"] = list(ignored_fields)
        await voice.finish(done)


class _Voice:
    """Turns what a turn delivers into frames."""

    def __init__(self, connection: Connection, config: SessionConfig, rate_hz: int, utterance: int) -> None:
        self.connection = connection
        self.rate_hz = rate_hz
        self.utterance = utterance
        self._config = config
        self._place: Message = {}
        self._bytes = 0
        self._samples = 0
        self._whole: list[bytes] = []
        self._chunks = 0
        self._words: list[dict[str, Any]] = []

    async def deliver(self, event: Event) -> None:
        """Send what an event is to the client."""
        match event:
            case Started():
                await self._start(event)
            case Ended():
                await self._end(event)
            case captions.Sentence():
                await self._times(event)
            case _:
                await self._audio(event)

    async def finish(self, done: Message) -> None:
        """Send the mark of the end, unless the client is gone."""
        try:
            await self.connection.send(done)
        except Gone:
            return

    async def _start(self, event: Started) -> None:
        self._place = {"utterance_index": self.utterance, "sentence_index": event.index}
        self._bytes = self._samples = self._chunks = 0
        self._whole, self._words = [], []
        start = {"type": "audio.start", **self._place, "sentence_text": event.text}
        start |= {"format": self._config.response_format, "sample_rate": self.rate_hz, "channels": 1}
        if self._config.word_timestamps:
            start["word_timestamps"] = True
        await self.connection.send(start)
        if self._config.stream_audio and (first := header(self._config.response_format, self.rate_hz)):
            await self._send_audio(first)

    async def _audio(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        before = self._samples
        self._samples += len(samples)
        encoded = pcm16(samples)
        if self._config.word_timestamps:
            self._bytes += len(encoded)
            await self._chunk(encoded, before, None)
        elif self._config.stream_audio:
            await self._send_audio(encoded)
        else:
            self._whole.append(encoded)

    async def _times(self, sentence: captions.Sentence) -> None:
        if self._config.word_timestamps:
            self._words += [
                {"word": w.text, "start_ms": round(w.start_s * 1000), "end_ms": round(w.end_s * 1000)}
                for w in sentence.words
            ]
        else:
            await self.connection.send(
                {"type": "audio.times", **self._place, **msgspec.to_builtins(sentence)}
            )

    async def _end(self, event: Ended) -> None:
        if self._config.word_timestamps:
            await self._chunk(b"", 0, self._words)
        elif not self._config.stream_audio:
            await self._send_audio(
                header(self._config.response_format, self.rate_hz, event.samples) + b"".join(self._whole)
            )
        done = {"type": "audio.done", **self._place, "total_bytes": self._bytes, "error": False}
        await self.connection.send({**done, "samples": event.samples, "sample_rate": self.rate_hz})

    async def _send_audio(self, encoded: bytes) -> None:
        self._bytes += len(encoded)
        await self.connection.send(encoded)

    async def _chunk(self, encoded: bytes, first_sample: int, words: list[dict[str, Any]] | None) -> None:
        chunk = {"type": "audio.chunk", **self._place, "chunk_id": self._chunks}
        chunk |= {
            "chunk_start_ms": round(first_sample * 1000 / self.rate_hz),
            "chunk_end_ms": round(self._samples * 1000 / self.rate_hz),
            "sample_rate": self.rate_hz,
            "channels": 1,
            "audio_b64": base64.b64encode(encoded).decode(),
            "timestamps": words,
        }
        self._chunks += 1
        await self.connection.send(chunk)


def _error(code: str, message: str, field: str | None) -> Message:
    error: Message = {"type": "error", "code": code, "message": message}
    return error if field is None else {**error, "field": field}
