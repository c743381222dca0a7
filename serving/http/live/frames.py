"""What a turn delivers, as the events and the binary frames of /v1/audio/speech/stream.

Each sentence is a file of its own in the format that was asked for: in one frame, or in many as it is made.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving import captions
from serving.audio.encode import Encoder, feed, output_samples
from serving.http.live.connection import Connection, Gone, Message
from serving.http.live.turn import Ended, Event, Granularity, Started
from serving.http.speech import Speaker
from serving.request import Order


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of session.config that are not the order's."""

    stream_audio: bool = False
    """Audio in many frames as it is made; false: one frame a sentence, with a true header."""
    split_granularity: Granularity = "sentence"
    word_timestamps: bool = False
    """Audio as audio.chunk events in base64, the last of a sentence with its words."""


class Frames:
    """Sends one utterance. Samples are counted at `rate_hz`, the rate that a decoder of the audio gives."""

    def __init__(
        self, connection: Connection, speaker: Speaker, order: Order, config: SessionConfig, utterance: int
    ) -> None:
        self.connection = connection
        self.rate_hz = order.output_rate_hz
        self.utterance = utterance
        self._speaker = speaker
        self._order = order
        self._config = config
        self._place: Message = {}
        self._encoder: Encoder | None = None
        self._bytes = 0
        self._fed = 0
        """Samples of the sentence, at the model's rate."""
        self._complete = 0
        """Samples of the sentences before it."""
        self._whole: list[bytes] = []
        self._chunks = 0
        self._words: list[dict[str, Any]] = []

    @property
    def samples(self) -> int:
        """Delivered so far."""
        return self._complete + self._output(self._fed)

    async def deliver(self, event: Event) -> None:
        """Send what an event is to the client."""
        match event:
            case Started():
                await self._start(event)
            case Ended():
                await self._end()
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
        self._bytes = self._chunks = 0
        self._whole, self._words = [], []
        start = {"type": "audio.start", **self._place, "sentence_text": event.text}
        start |= {"format": self._order.audio_format, "sample_rate": self.rate_hz, "channels": 1}
        if self._config.word_timestamps:
            start["word_timestamps"] = True
        self._encoder = await self._speaker.encoder(self._order)
        await self.connection.send(start)
        if self._config.stream_audio:
            await self._send_audio(self._encoder.begin())

    async def _audio(self, samples: NDArray[np.float32]) -> None:
        assert self._encoder is not None, "a sentence has started"
        self._fed += len(samples)
        await self._take(await feed(self._encoder, samples))

    async def _take(self, encoded: bytes) -> None:
        """Send encoded audio, or keep it until the sentence is complete."""
        if self._config.word_timestamps:
            await self._chunk(encoded, None)
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

    async def _end(self) -> None:
        assert self._encoder is not None, "a sentence has started"
        await self._take(self._encoder.end())
        if self._config.word_timestamps:
            await self._chunk(b"", self._words)
        elif not self._config.stream_audio:
            await self._send_audio(self._encoder.begin(self._fed) + b"".join(self._whole))
        samples = self._output(self._fed)
        self._complete += samples
        self._fed = 0
        done = {"type": "audio.done", **self._place, "total_bytes": self._bytes, "error": False}
        await self.connection.send({**done, "samples": samples, "sample_rate": self.rate_hz})

    async def _send_audio(self, encoded: bytes) -> None:
        if encoded:
            self._bytes += len(encoded)
            await self.connection.send(encoded)

    async def _chunk(self, pcm: bytes, words: list[dict[str, Any]] | None) -> None:
        """One audio.chunk of bare samples; without any only if it brings the words."""
        if not pcm and words is None:
            return
        before, self._bytes = self._bytes, self._bytes + len(pcm)
        start_ms, end_ms = (round(at // 2 * 1000 / self.rate_hz) for at in (before, self._bytes))
        chunk = {"type": "audio.chunk", **self._place, "chunk_id": self._chunks}
        chunk |= {
            "chunk_start_ms": start_ms if pcm else 0,
            "chunk_end_ms": end_ms,
            "sample_rate": self.rate_hz,
            "channels": 1,
            "audio_b64": base64.b64encode(pcm).decode(),
            "timestamps": words,
        }
        self._chunks += 1
        await self.connection.send(chunk)

    def _output(self, samples: int) -> int:
        return output_samples(samples, self._speaker.spec.sample_rate_hz, self.rate_hz)
