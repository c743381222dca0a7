"""The plain server: FastAPI, uvicorn and the hibari-tts package, as one writes it in an afternoon.

    python -m bench.servers.reference --port 8009

The package is called once per request (once per sentence for a stream) in a pool of a thread per usable core, as our
engine has a step per core; --pool-threads sets another number. Nothing of this project's server is used but the count
of cores, and nothing is slowed on purpose: scipy is installed as the package's README recommends, the model is loaded
and warm before the server says that it is ready, uvicorn runs on uvloop and httptools, and sentences of different
streams take turns in the pool. Requests that wait for the pool are bounded as our server's are: past 64 at once the
answer is 429.

onnxruntime gets one thread per call. Measured in turns on 2 cores at 1, 2, 4 and 8 clients, while the machine
also did other work, one thread gave 1.0 to 2.2 times the throughput of two and less TTFA; --onnx-threads lets
anyone measure it again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import struct
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import soundfile
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, Response, StreamingResponse
from hibari import Hibari
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from serving.native.cores import usable_cores

MAX_REQUESTS = 64
"""Requests admitted at once, as in our server's default profile."""


class SpeechRequest(BaseModel):
    """The fields that clients of such servers send; the voice uses text and speed."""

    text: str = Field(min_length=1)
    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 30
    speed: float = Field(1.0, ge=0.5, le=2.0)
    max_text_tokens_per_segment: int = 120


def wav_stream_header(sample_rate_hz: int) -> bytes:
    """44 bytes of WAV header, 16-bit mono, with sizes that mean: until the end of the stream."""
    unknown = 0xFFFFFFFF
    return (
        struct.pack("<4sI4s", b"RIFF", unknown, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate_hz, sample_rate_hz * 2, 2, 16)
        + struct.pack("<4sI", b"data", unknown)
    )


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Samples in [-1, 1] as 16-bit little-endian integers."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()


def create_app(onnx_threads: int, max_requests: int, pool_threads: int) -> FastAPI:
    """The application; the voice is loaded by its lifespan."""
    pool = ThreadPoolExecutor(pool_threads)
    free = asyncio.Semaphore(max_requests)
    voice: list[Hibari] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        model = Hibari(threads=onnx_threads)
        model("Warm up, once.")
        voice.append(model)
        yield
        pool.shutdown(cancel_futures=True)

    app = FastAPI(title="plain speech server", lifespan=lifespan)

    async def admit() -> None:
        if free.locked():
            raise HTTPException(429, "too many requests", headers={"Retry-After": "1"})
        await free.acquire()

    def wav(text: str, speed: float) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(
            buffer, voice[0](text, speed=speed), Hibari.sample_rate, format="WAV", subtype="PCM_16"
        )
        return buffer.getvalue()

    @app.post("/tts")
    async def tts(request: SpeechRequest) -> Response:
        await admit()
        try:
            body = await asyncio.get_running_loop().run_in_executor(pool, wav, request.text, request.speed)
        finally:
            free.release()
        return Response(body, media_type="audio/wav")

    @app.post("/tts/stream")
    async def tts_stream(request: SpeechRequest) -> StreamingResponse:
        await admit()
        return StreamingResponse(speak(request.text, request.speed), media_type="audio/wav")

    async def speak(text: str, speed: float) -> AsyncIterator[bytes]:
        sentences = voice[0].stream(text, speed=speed)
        try:
            yield wav_stream_header(Hibari.sample_rate)
            while True:
                samples = await asyncio.get_running_loop().run_in_executor(pool, next, sentences, None)
                if samples is None:
                    return
                yield pcm16(samples)
        finally:
            free.release()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        ready = bool(voice)
        content: dict[str, Any] = {"ready": ready, "model": "hibari-tts", "voice": "heart", "device": "cpu"}
        return JSONResponse(content, 200 if ready else 503)

    return app


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="The plain reference server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8009)
    parser.add_argument("--onnx-threads", type=int, default=1, help="onnxruntime threads of one call")
    parser.add_argument(
        "--pool-threads",
        type=int,
        default=usable_cores(),
        help="that speak at once (default: a thread per core)",
    )
    parser.add_argument("--max-requests", type=int, default=MAX_REQUESTS, help="at once; past it 429")
    arguments = parser.parse_args()
    app = create_app(arguments.onnx_threads, arguments.max_requests, arguments.pool_threads)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
