"""One side of the gate, in a process of its own: its engine, driven by lines of JSON.

The gate starts the probe of base in the tree of base and that of head in the tree of head, so each commit speaks
to its own engine, and asks both for the same work in turn. A line in is a Request, a line out a Reply. The
process ends when its input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

import serving
from bench.gate.messages import PROBE_VERSION, Hello, Reply, Request
from serving.audio.encode import pcm16
from serving.engine.client import EngineClient
from serving.models import load_frontend
from serving.profile import Profile, load_profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

READY_TIMEOUT_S = 120.0


class Probe:
    """An engine in a thread of this process, and the work that can be asked of it."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._frontend = load_frontend(profile)
        self._client = EngineClient(profile, self._frontend.spec)
        self._segments: dict[str, list[Segment]] = {}

    async def start(self) -> None:
        """Start a new engine and wait until it is warm. Raises EngineUnavailable."""
        self._client = EngineClient(self._profile, self._frontend.spec)
        await self._client.start()
        await self._client.wait_ready(READY_TIMEOUT_S)

    async def stop(self) -> None:
        """End the engine."""
        await self._client.stop()

    async def answer(self, request: Request) -> Reply:
        """Do the work. Raises what the engine raises."""
        if request.what == "restart":
            await self.stop()
            await self.start()
            return Reply()
        if request.what == "speak":
            return await self._speak(request.texts, request)
        if request.what == "counts":
            return await self._count(request)
        return self._encode(request) if request.what == "encode" else self._phonemise(request)

    def _params(self, request: Request) -> SpeechParams:
        return SpeechParams(
            voice=self._frontend.spec.default_voice, seed=request.seed, fields=self._frontend.spec.fields()
        )

    def _prepared(self, text: str, request: Request) -> list[Segment]:
        if text not in self._segments:
            self._segments[text] = list(self._frontend.segments(read(text), self._params(request)))
        return self._segments[text]

    async def _speak(self, texts: Sequence[str], request: Request) -> Reply:
        prepared = [self._prepared(text, request) for text in texts]
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        spoken = await asyncio.gather(*(self._one(segments, request) for segments in prepared))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        samples = sum(count for count, _ in spoken)
        audio_s = samples / self._frontend.spec.sample_rate_hz
        return Reply(wall_s=wall_s, cpu_s=cpu_s, audio_s=audio_s, first_s=spoken[0][1])

    async def _one(self, segments: Sequence[Segment], request: Request) -> tuple[int, float]:
        """Samples of one request, and the time to its first."""
        started_s = time.perf_counter()
        first_s, samples = 0.0, 0
        utterance = await self._client.submit(
            self._params(request), iter(segments), streaming=request.streaming, audio_s=1.0
        )
        async for chunk in self._client.chunks(utterance):
            first_s = first_s or time.perf_counter() - started_s
            samples += len(chunk)
        return samples, first_s

    async def _count(self, request: Request) -> Reply:
        before = await self._counters()
        for text in request.texts:
            if len(self._prepared(text, request)) == 1:
                await self._speak([text], request)
        after = await self._counters()
        return Reply(counts={name: count - before.get(name, 0.0) for name, count in after.items()})

    async def _counters(self) -> dict[str, float]:
        stats = await self._client.stats()
        found: dict[str, float] = {"chunks": stats.chunks, "copies_to_host": stats.copies_to_host}
        for name in ("steps", "rows", "padded_units", "bucket_misses"):
            found |= {f"{name}.{stage}": float(count) for stage, count in getattr(stats, name).items()}
        return found

    def _phonemise(self, request: Request) -> Reply:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for text in request.texts:
            list(self._frontend.segments(read(text), self._params(request)))
        return Reply(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s)

    def _encode(self, request: Request) -> Reply:
        chunk = np.sin(np.arange(self._frontend.spec.sample_rate_hz // 4, dtype=np.float32) * 0.05)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for _ in range(int(request.audio_s * 4)):
            pcm16(chunk)
        return Reply(
            wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s, audio_s=request.audio_s
        )


async def serve(profile_name: str, overrides: Sequence[str], source: TextIO, sink: TextIO) -> None:
    """Say Hello, then answer until the input ends."""
    tree = str(Path(serving.__file__).parents[1])
    started_s = time.monotonic()

    def say(message: msgspec.Struct) -> None:
        sink.write(msgspec.json.encode(message).decode() + "\n")
        sink.flush()

    profile = load_profile(profile_name, ["engine.process=false", *overrides])
    probe = Probe(profile)
    try:
        await probe.start()
        say(Hello(version=PROBE_VERSION, tree=tree, ready_s=time.monotonic() - started_s))
        while line := await asyncio.to_thread(source.readline):
            try:
                reply = await probe.answer(msgspec.json.decode(line, type=Request))
            except Exception as error:
                reply = Reply(error=f"{type(error).__name__}: {error}")
            say(reply)
    finally:
        await probe.stop()


def main(arguments: Sequence[str]) -> None:
    """`python -m bench.gate.probe PROFILE [KEY=VALUE ...]`. What libraries print goes to standard error."""
    sink, sys.stdout = sys.stdout, sys.stderr
    asyncio.run(serve(arguments[0], arguments[1:], sys.stdin, sink))


if __name__ == "__main__":
    main(sys.argv[1:])
