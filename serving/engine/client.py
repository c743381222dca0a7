"""The asyncio side of the engine: start it, submit speech, get samples, abort.

client = EngineClient(profile, frontend.spec)
await client.start()                     # returns at once; the engine loads and warms up meanwhile
await client.wait_ready(timeout_s=60)
handle = await client.submit(params, frontend.segments(text, params), streaming=True, audio_s=4.0)
async for samples in handle.chunks(): ...
await client.stop()
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from serving.engine.admission import Admission
from serving.engine.handle import Handle
from serving.engine.supervisor import EngineState, EngineUnavailable, Supervisor
from serving.models.base import ModelSpec
from serving.profile import Profile
from serving.protocol import (
    Abort,
    Chunk,
    Extend,
    Failed,
    FailureCode,
    Finished,
    FromEngine,
    GetStats,
    InputError,
    NotReady,
    Ready,
    Segment,
    SpeechFailed,
    SpeechParams,
    Stats,
    Submit,
    Warming,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EngineClient", "EngineState", "EngineUnavailable", "Handle"]

log = logging.getLogger(__name__)

FRONTEND_THREADS = 2
PULL_S = 0.005
"""A frontend works this long on one request before others have their turn."""


class EngineClient:
    """One engine and the requests that it speaks. Use it from one event loop."""

    def __init__(self, profile: Profile, spec: ModelSpec) -> None:
        self.run_id = secrets.token_hex(8)
        self._profile = profile
        self._spec = spec
        self._supervisor = Supervisor(profile, self._receive, self._fail_all)
        self._admission = Admission(profile.admission)
        self._handles: dict[str, Handle] = {}
        self._extending: dict[str, asyncio.Task[None]] = {}
        self._asked: deque[asyncio.Future[Stats]] = deque()
        self._pool = ThreadPoolExecutor(FRONTEND_THREADS, thread_name_prefix="frontend")

    @property
    def state(self) -> EngineState:
        """What the engine can be asked for now."""
        return self._supervisor.state

    @property
    def warming(self) -> Warming | None:
        """The last progress of an engine that is starting."""
        return self._supervisor.warming

    @property
    def info(self) -> Ready | None:
        """What runs, while the engine is READY."""
        return self._supervisor.info

    @property
    def problem(self) -> str | None:
        """Why the engine is RESTARTING or FAILED."""
        return self._supervisor.problem

    async def start(self) -> None:
        """Start the engine and return at once. Raises RuntimeError the second time."""
        self._supervisor.start()

    async def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until the engine takes requests. Raises EngineUnavailable if it fails or takes longer."""
        return await self._supervisor.wait_ready(timeout_s)

    async def stop(self) -> None:
        """End the engine and fail what is in flight. Idempotent; the stop outlives a cancelled caller."""
        try:
            await self._supervisor.stop()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def submit(
        self, params: SpeechParams, segments: Iterator[Segment], *, streaming: bool, audio_s: float
    ) -> Handle:
        """Begin to speak. `audio_s` estimates the length, for admission.

        The first segment is sent as soon as the frontend has made it, the rest as they come. Raises NotReady
        or Overloaded before anything is done, and InputError from the frontend's first segment.
        """
        self._supervisor.check_ready()
        ticket = self._admission.admit(audio_s)
        try:
            first = await asyncio.get_running_loop().run_in_executor(self._pool, next, segments, None)
            if first is None:
                raise InputError("text", "holds nothing that can be spoken")
            self._supervisor.check_ready()
        except BaseException:
            ticket.close()
            raise
        handle = Handle(secrets.token_hex(8), ticket, self._spec.sample_rate_hz, self._abort)
        self._handles[handle.request_id] = handle
        self._supervisor.send(
            Submit(
                request_id=handle.request_id,
                params=params,
                streaming=streaming,
                timeout_s=self._profile.engine.request_timeout_s,
                segments=[first],
                last=False,
            )
        )
        self._extending[handle.request_id] = asyncio.create_task(self._extend(handle, segments))
        return handle

    async def stats(self) -> Stats:
        """The engine's counters. Raises NotReady if it cannot answer."""
        self._supervisor.check_ready()
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._supervisor.send(GetStats())
        return await answer

    async def _extend(self, handle: Handle, segments: Iterator[Segment]) -> None:
        """Pull the rest of the segments and send them, several at a time if they are quick to come."""
        loop = asyncio.get_running_loop()
        last = False
        while not last:
            try:
                more, last = await loop.run_in_executor(self._pool, _pull, segments)
            except Exception as error:
                log.error("the frontend failed for %s", handle.request_id, exc_info=error)
                handle.fail(SpeechFailed("internal", f"the frontend failed: {error}"))
                self._abort(handle)
                return
            self._supervisor.send(Extend(request_id=handle.request_id, segments=more, last=last))
        self._extending.pop(handle.request_id, None)

    def _abort(self, handle: Handle) -> None:
        self._forget(handle)
        self._supervisor.send(Abort(request_id=handle.request_id))

    def _forget(self, handle: Handle) -> None:
        self._handles.pop(handle.request_id, None)
        extending = self._extending.pop(handle.request_id, None)
        if extending is not None and extending is not asyncio.current_task():
            extending.cancel()

    def _fail_all(self, code: FailureCode, message: str) -> None:
        for handle in list(self._handles.values()):
            self._forget(handle)
            handle.fail(SpeechFailed(code, message))
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(NotReady(message, 1.0))

    def _receive(self, message: FromEngine, samples: NDArray[np.float32] | None) -> None:
        match message:
            case Chunk(request_id=request_id):
                handle = self._handles.get(request_id)
                if handle is not None and samples is not None:
                    handle.receive(samples)
            case Finished(request_id=request_id, stats=stats):
                handle = self._handles.get(request_id)
                if handle is not None:
                    self._forget(handle)
                    handle.finish(stats)
            case Failed(request_id=request_id, code=code, message=text):
                handle = self._handles.get(request_id)
                if handle is not None:
                    self._forget(handle)
                    handle.fail(SpeechFailed(code, text))
            case Stats():
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(message)


def _pull(segments: Iterator[Segment]) -> tuple[list[Segment], bool]:
    """The segments that come within PULL_S, at least one, and whether there are no more."""
    pulled: list[Segment] = []
    until_s = time.monotonic() + PULL_S
    for segment in segments:
        pulled.append(segment)
        if time.monotonic() >= until_s:
            return pulled, False
    return pulled, True
