"""The asyncio side of the engine: start it, submit speech, get samples, abort.

client = EngineClient(profile, frontend.spec)
await client.start()                     # returns at once; the engine loads and warms up meanwhile
await client.wait_ready(timeout_s=60)
utterance = await client.submit(params, frontend.segments(text, params), streaming=True, audio_s=4.0)
async for samples in client.chunks(utterance): ...
await client.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from serving.engine.admission import Admission
from serving.engine.life.supervisor import EngineState, EngineUnavailable, Supervise, Supervisor
from serving.engine.transport import pull
from serving.engine.utterance import Utterance
from serving.engine.watch import Load, Watcher
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
    SpeechFailed,
    SpeechParams,
    Stats,
    Submit,
    Times,
    ToEngine,
    Warming,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EngineClient", "EngineState", "EngineUnavailable", "Utterance"]

logger = logging.getLogger(__name__)

FRONTEND_THREADS = 2
SETTLE_S = 0.05
"""settled() looks this often."""
STATS_S = 2.0
"""The engine has this long to tell its counters."""
GRACE_S = 2.0
"""Past the deadline of a request the engine has this long to say so itself."""


class EngineClient:
    """One engine and the requests that it speaks. Use it from one event loop."""

    def __init__(
        self,
        profile: Profile,
        spec: ModelSpec,
        watchers: Sequence[Watcher] = (),
        supervise: Supervise = Supervisor,
    ) -> None:
        """`supervise` says where the engine lives: on this machine, unless it is given."""
        self._watchers = watchers
        self.run_id = secrets.token_hex(8)
        self._profile = profile
        self._spec = spec
        self._supervisor = supervise(profile, self._receive, self._fail_all)
        self._admission = Admission(profile.admission)
        self._utterances: dict[str, Utterance] = {}
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
        """Why the engine is RESTARTING or FAILED, for the log: it may name files."""
        return self._supervisor.problem

    def retry_after_s(self) -> float:
        """When an engine that is not READY is likely to be."""
        return self._supervisor.retry_after_s()

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
    ) -> Utterance:
        """Begin to speak. `audio_s` estimates the length, for admission.

        The first segment is sent as soon as the frontend has made it, the rest as they come. Raises NotReady
        or Overloaded before anything is done, InputError or ModelError from the frontend's first segment, and
        SpeechFailed if that takes longer than a request may.
        """
        timeout_s = self._profile.engine.request_timeout_s
        self._check_ready(wake=True)
        utterance = Utterance(secrets.token_hex(8))
        request_id = utterance.request_id
        self._admission.admit(request_id, audio_s, self._supervisor.engines)
        try:
            for begin in self._watchers:
                if (watch := begin(params, streaming, audio_s)) is not None:
                    utterance.watches.append(watch)
            async with asyncio.timeout(timeout_s):
                first, _ = await asyncio.get_running_loop().run_in_executor(self._pool, pull, segments, 1)
            if not first:
                raise InputError("text", "holds nothing that can be spoken")
            self._check_ready()
        except BaseException as error:
            self._admission.close(request_id)
            for watch in utterance.watches:
                watch.ended(utterance)
            if isinstance(error, TimeoutError):
                raise SpeechFailed("expired", "the text was not read in time") from None
            raise
        utterance.timed = params.timestamps != "none"
        _keep(utterance, first)
        self._utterances[request_id] = utterance
        self._send(
            Submit(
                request_id=request_id,
                params=params,
                streaming=streaming,
                timeout_s=timeout_s,
                segments=first,
                last=False,
            )
        )
        loop = asyncio.get_running_loop()
        utterance.deadline = loop.call_later(timeout_s + GRACE_S, self._overdue, utterance)
        self._extending[request_id] = asyncio.create_task(self._extend(utterance, segments))
        return utterance

    async def chunks(self, utterance: Utterance) -> AsyncIterator[NDArray[np.float32]]:
        """Yield mono float32 samples in order, read-only arrays of varying length. Raises what answers() raises."""
        async with contextlib.aclosing(self.answers(utterance)) as answers:
            async for answer in answers:
                if not isinstance(answer, Times):
                    yield answer

    async def answers(self, utterance: Utterance) -> AsyncGenerator[NDArray[np.float32] | Times]:
        """Yield samples as chunks() does, and Times as they come, for a request that wants them.

        Raises SpeechFailed, after the samples that came before the failure. Leaving early aborts the request.
        """
        try:
            while True:
                while utterance.unread:
                    answer = utterance.unread.popleft()
                    if not isinstance(answer, Times):
                        self._admission.taken(utterance.request_id, len(answer) / self._spec.sample_rate_hz)
                    yield answer
                if utterance.ended:
                    break
                utterance.wake.clear()
                await utterance.wake.wait()
            if utterance.failure is not None:
                raise utterance.failure
        finally:
            self.abort(utterance)

    async def wait_ended(self, utterance: Utterance) -> None:
        """Wait until the engine makes no more of it. What was made lies unread, and counts as that."""
        while not utterance.ended:
            utterance.wake.clear()
            await utterance.wake.wait()

    def abort(self, utterance: Utterance, why: SpeechFailed | None = None) -> None:
        """Give a request up: unread samples are dropped and the engine stops at its next step.

        Call it from the event loop's thread, at any point, any number of times. Whoever reads a request that loses
        samples by it gets `why`.
        """
        if not utterance.ended:
            self._end(utterance, why or SpeechFailed("aborted", "the request was given up"))
            self._send(Abort(request_id=utterance.request_id))
        elif utterance.unread:
            utterance.failure = utterance.failure or why
        utterance.unread.clear()
        self._admission.close(utterance.request_id)

    @property
    def load(self) -> Load:
        """How much is under way."""
        return Load(self._admission.requests, self._admission.audio_s, self._supervisor.restarts)

    def unload(self, idle_s: float) -> None:
        """Unload the engine if no request has run for this long; the next one, which is refused, starts it again."""
        if self._admission.idle_s >= idle_s:
            self._supervisor.rest(idle_s)

    async def settled(self) -> None:
        """Wait until every request that is admitted now has been spoken, given up or timed out."""
        under_way = self._admission.running()
        until_s = time.monotonic() + self._profile.engine.request_timeout_s
        while time.monotonic() < until_s and any(map(self._admission.runs, under_way)):  # noqa: ASYNC110 - seldom
            await asyncio.sleep(SETTLE_S)

    async def stats(self) -> Stats:
        """The engine's counters. Raises NotReady if it cannot answer, or does not within STATS_S."""
        self._check_ready()
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._send(GetStats())
        try:
            async with asyncio.timeout(STATS_S):
                return await answer
        except TimeoutError:
            raise NotReady("the engine does not answer", 1.0) from None

    def _overdue(self, utterance: Utterance) -> None:
        """The engine has not ended a request that is past its deadline: it hangs, or has lost it."""
        self.abort(utterance, SpeechFailed("expired", "the request took longer than it may"))

    def _check_ready(self, *, wake: bool = False) -> None:
        if self._supervisor.state is not EngineState.READY:
            raise self._supervisor.not_ready(wake=wake)

    def _send(self, message: ToEngine) -> None:
        """Send if there is an engine; without one, its requests are failed anyway."""
        if (pair := self._supervisor.pair) is not None:
            pair.send(message)

    async def _extend(self, utterance: Utterance, segments: Iterator[Segment]) -> None:
        """Pull the rest of the segments and send them, several at a time if they are quick to come."""
        loop = asyncio.get_running_loop()
        request_id = utterance.request_id
        last = False
        while not last:
            try:
                more, last = await loop.run_in_executor(self._pool, pull, segments, None)
            except Exception as error:
                logger.error("the frontend failed for %s", request_id, exc_info=error)
                why = f"the frontend failed: {error}"
                self._end(utterance, SpeechFailed("internal", why, reference=request_id))
                self._send(Abort(request_id=request_id))
                return
            _keep(utterance, more)
            self._send(Extend(request_id=request_id, segments=more, last=last))
        self._extending.pop(request_id, None)

    def _receive(self, message: FromEngine, samples: NDArray[np.float32] | None) -> None:
        """What the engine sends: about requests to their utterances, about its own life to the supervisor."""
        match message:
            case Chunk(request_id=request_id):
                utterance = self._utterances.get(request_id)
                if utterance is not None and samples is not None:
                    self._admission.made(request_id, len(samples) / self._spec.sample_rate_hz)
                    utterance.unread.append(samples)
                    for watch in utterance.watches:
                        watch.made(samples)
                    utterance.wake.set()
            case Times(request_id=request_id):
                if (utterance := self._utterances.get(request_id)) is not None:
                    utterance.unread.append(message)
                    utterance.wake.set()
            case Finished(request_id=request_id, stats=stats):
                utterance = self._utterances.get(request_id)
                if utterance is not None:
                    utterance.stats = stats
                    self._end(utterance, None)
            case Failed(request_id=request_id, code=code, message=text, field=field_name):
                utterance = self._utterances.get(request_id)
                if utterance is not None:
                    retry_s = self.retry_after_s() if code == "engine_died" else None
                    self._end(utterance, SpeechFailed(code, text, field_name, retry_s, reference=request_id))
            case Stats():
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(message)
            case Warming() | Ready() | Broken():
                self._supervisor.observe(message)

    def _end(self, utterance: Utterance, failure: SpeechFailed | None) -> None:
        """The engine makes no more of it."""
        request_id = utterance.request_id
        utterance.failure = failure
        utterance.ended = True
        if utterance.deadline is not None:
            utterance.deadline.cancel()
        self._utterances.pop(request_id, None)
        extending = self._extending.pop(request_id, None)
        if extending is not None and extending is not asyncio.current_task():
            extending.cancel()
        self._admission.end(request_id)
        for watch in utterance.watches:
            watch.ended(utterance)
        utterance.wake.set()

    def _fail_all(self, code: FailureCode, message: str) -> None:
        retry_after_s = self.retry_after_s() if code == "engine_died" else None
        for utterance in list(self._utterances.values()):
            self._end(utterance, SpeechFailed(code, message, retry_after_s=retry_after_s))
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(NotReady(message, 1.0))


def _keep(utterance: Utterance, segments: list[Segment]) -> None:
    """Keep the segments that Times will refer to."""
    if utterance.timed:
        utterance.segments += segments
