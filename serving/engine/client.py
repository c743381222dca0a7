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
import contextlib
import enum
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import zmq

from serving.engine.admission import Admission
from serving.engine.handle import Handle
from serving.engine.process import EngineProcess, EngineThread
from serving.engine.transport import ClientPair
from serving.models.base import ModelSpec
from serving.profile import Profile
from serving.protocol import (
    Abort,
    Broken,
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
    Shutdown,
    SpeechFailed,
    SpeechParams,
    Stats,
    Submit,
    ToEngine,
    Warming,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

FRONTEND_THREADS = 2
PULL_S = 0.005
"""A frontend works this long on one request before others have their turn."""
RESTART_WINDOW_S = 600.0
BACKOFF_S = (0.1, 1.0, 5.0)
"""Pause before the first, second and any later restart within the window."""
STOP_S = 5.0
"""The engine has this long to end by itself."""
WARMING_RETRY_S = 2.0
FAILED_RETRY_S = 60.0


class EngineState(enum.Enum):
    """What the engine can be asked for now."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class EngineUnavailable(RuntimeError):
    """The engine did not become ready; the message says why, in the engine's own words where it had some."""


class EngineClient:
    """One engine and the requests that it speaks. Use it from one event loop."""

    def __init__(self, profile: Profile, spec: ModelSpec) -> None:
        self.state = EngineState.STOPPED
        self.warming: Warming | None = None
        """The last progress while the engine starts."""
        self.info: Ready | None = None
        """What runs, while it is READY."""
        self.problem: str | None = None
        """Why the state is RESTARTING or FAILED."""
        self.run_id = secrets.token_hex(8)
        self._profile = profile
        self._spec = spec
        self._admission = Admission(profile.admission)
        self._handles: dict[str, Handle] = {}
        self._extending: dict[str, asyncio.Task[None]] = {}
        self._asked: deque[asyncio.Future[Stats]] = deque()
        self._pool = ThreadPoolExecutor(FRONTEND_THREADS, thread_name_prefix="frontend")
        self._pair: ClientPair | None = None
        self._engine: EngineProcess | EngineThread | None = None
        self._broken: str | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    # ---- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the engine and return at once. A client is started once."""
        if self._supervisor is not None:
            raise RuntimeError("this client was started before")
        self._set_state(EngineState.STARTING)
        self._supervisor = asyncio.create_task(self._supervise())

    async def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until the engine takes requests. Raises EngineUnavailable if it fails or takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.state in (EngineState.STARTING, EngineState.RESTARTING):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            what = f", last seen at: {self.warming.what}" if self.warming else ""
            raise EngineUnavailable(f"the engine was not ready within {timeout_s:g} s{what}") from None
        if self.info is None:
            raise EngineUnavailable(self.problem or f"the engine is {self.state.value}")
        return self.info

    async def stop(self) -> None:
        """End the engine, failing what is in flight, and give everything back. Idempotent.

        If the caller is cancelled meanwhile, the stop goes on.
        """
        self._stop.set()
        if self._supervisor is None:
            self._pool.shutdown(wait=False)
            return
        await asyncio.shield(self._supervisor)

    # ---- speech --------------------------------------------------------------------------------------------

    async def submit(
        self, params: SpeechParams, segments: Iterator[Segment], *, streaming: bool, audio_s: float
    ) -> Handle:
        """Begin to speak. `audio_s` estimates the length, for admission.

        The first segment is sent as soon as the frontend has made it, the rest as they come. Raises NotReady
        or Overloaded before anything is done, and InputError from the frontend's first segment.
        """
        if self.state is not EngineState.READY:
            raise NotReady(self._why_not(), self._retry_after_s())
        ticket = self._admission.admit(audio_s)
        try:
            loop = asyncio.get_running_loop()
            first = await loop.run_in_executor(self._pool, next, segments, None)
            if first is None:
                raise InputError("text", "holds nothing that can be spoken")
            if self._pair is None or self.state is not EngineState.READY:
                raise NotReady(self._why_not(), self._retry_after_s())
        except BaseException:
            ticket.close()
            raise
        handle = Handle(secrets.token_hex(8), ticket, self._spec.sample_rate_hz, self._abort)
        self._handles[handle.request_id] = handle
        self._pair.send(
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
        if self._pair is None or self.state is not EngineState.READY:
            raise NotReady(self._why_not(), self._retry_after_s())
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._pair.send(GetStats())
        return await answer

    # ---- requests ------------------------------------------------------------------------------------------

    async def _extend(self, handle: Handle, segments: Iterator[Segment]) -> None:
        """Pull the rest of the segments and send them, several at a time if they are quick to come."""
        loop = asyncio.get_running_loop()
        last = False
        while not last and not handle.ended:
            try:
                more, last = await loop.run_in_executor(self._pool, _pull, segments)
            except Exception as error:
                log.error("the frontend failed for %s", handle.request_id, exc_info=error)
                self._forget(handle)
                self._send(Abort(request_id=handle.request_id))
                handle.fail(SpeechFailed("internal", f"the frontend failed: {error}"))
                return
            self._send(Extend(request_id=handle.request_id, segments=more, last=last))
        self._extending.pop(handle.request_id, None)

    def _abort(self, handle: Handle) -> None:
        self._forget(handle)
        self._send(Abort(request_id=handle.request_id))

    def _forget(self, handle: Handle) -> None:
        self._handles.pop(handle.request_id, None)
        extending = self._extending.pop(handle.request_id, None)
        if extending is not None and extending is not asyncio.current_task():
            extending.cancel()

    def _send(self, message: ToEngine) -> None:
        if self._pair is not None:
            self._pair.send(message)

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
                while self._asked:
                    answer = self._asked.popleft()
                    if not answer.done():
                        answer.set_result(message)
                        break
            case Warming():
                if self.warming is None and self._engine is not None:
                    self._engine.connected()
                self.warming = message
                log.info(
                    "%s (%d of %d) after %.1f s",
                    message.what, message.done, message.total, message.elapsed_s,
                )  # fmt: skip
            case Ready():
                self.info, self.warming, self.problem = message, None, None
                self._set_state(EngineState.READY)
                log.info(
                    "engine ready: %s on %s after %.1f s", message.model, message.device, message.warmup_s
                )
            case Broken(message=text):
                self._broken = text
                self._send(Shutdown())

    # ---- supervision ---------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Run engines, one after the other, until stop() or until they die too often."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        deaths: deque[float] = deque()
        try:
            while not self._stop.is_set():
                was_ready, how = await self._run_one(context)
                if self._stop.is_set():
                    break
                now = time.monotonic()
                deaths.append(now)
                while deaths[0] < now - RESTART_WINDOW_S:
                    deaths.popleft()
                self.problem = self._broken or f"the engine died: {how}"
                log.error("%s", self.problem)
                if (self._broken and not was_ready) or len(deaths) > self._profile.engine.restart_limit:
                    self._set_state(EngineState.FAILED)
                    await self._stop.wait()
                    break
                self._set_state(EngineState.RESTARTING)
                pause_s = BACKOFF_S[min(len(deaths), len(BACKOFF_S)) - 1]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause_s)
        finally:
            self._set_state(EngineState.STOPPED)
            self._pool.shutdown(wait=False, cancel_futures=True)
            context.term()

    async def _run_one(self, context: zmq.Context[zmq.Socket[bytes]]) -> tuple[bool, str]:
        """Run one engine to its end. Returns whether it had been ready, and how it ended."""
        exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stopping = asyncio.ensure_future(self._stop.wait())
        self._broken = self.warming = None
        engine = EngineProcess() if self._profile.engine.process else EngineThread(context)
        pair = ClientPair(context, engine.endpoint, self._receive)
        self._engine, self._pair = engine, pair

        def on_exit(how: str) -> None:
            if not exited.done():
                exited.set_result(how)

        try:
            engine.start(self._profile, on_exit)
            await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await self._shut_down(engine, pair, exited)
            return self.info is not None, exited.result()
        finally:
            stopping.cancel()
            if not exited.done():
                engine.kill()
            pair.close()
            engine.close()
            self._pair = self._engine = self.info = None
            self._fail_all("engine_died", "the engine died while it spoke")

    async def _shut_down(
        self, engine: EngineProcess | EngineThread, pair: ClientPair, exited: asyncio.Future[str]
    ) -> None:
        """End an engine: by a word if it is ready, at once if it is still loading or does not listen."""
        kill_at_s = time.monotonic() + (STOP_S if self.info is not None else 0.0)
        self._set_state(EngineState.STOPPED)
        self._fail_all("aborted", "the engine was stopped")
        while not exited.done():
            if time.monotonic() >= kill_at_s:
                engine.kill()
            # Said again until it is heard: an engine in a thread may not have connected yet.
            pair.send(Shutdown())
            await asyncio.wait((exited,), timeout=0.1)

    def _fail_all(self, code: FailureCode, message: str) -> None:
        for handle in list(self._handles.values()):
            self._forget(handle)
            handle.fail(SpeechFailed(code, message))
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(NotReady(message, self._retry_after_s()))

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self._changed.set()

    def _why_not(self) -> str:
        if self.problem and self.state in (EngineState.RESTARTING, EngineState.FAILED):
            return f"the engine is {self.state.value}: {self.problem}"
        return f"the engine is {self.state.value}"

    def _retry_after_s(self) -> float:
        return FAILED_RETRY_S if self.state is EngineState.FAILED else WARMING_RETRY_S


def _pull(segments: Iterator[Segment]) -> tuple[list[Segment], bool]:
    """The segments that come within PULL_S, at least one, and whether there are no more."""
    pulled: list[Segment] = []
    until_s = time.monotonic() + PULL_S
    for segment in segments:
        pulled.append(segment)
        if time.monotonic() >= until_s:
            return pulled, False
    return pulled, True
