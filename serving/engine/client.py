"""The asyncio side of the engine: start it, submit speech, get samples, abort.

client = EngineClient(profile, frontend.spec)
await client.start()  # returns at once
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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from serving.engine.admission import Admission
from serving.engine.life.state import EngineState, EngineUnavailable, Life, Supervise
from serving.engine.life.succession import Succession
from serving.engine.life.supervisor import Supervisor
from serving.engine.transport import Frontends, Pulled, tell
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
    InputError,
    Overloaded,
    Ready,
    Segment,
    SpeechFailed,
    SpeechParams,
    Stats,
    Submit,
    Times,
    Warming,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EngineClient", "EngineState", "EngineUnavailable", "Utterance"]

logger = logging.getLogger(__name__)

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
        self.run_id = secrets.token_hex(8)
        self.profile = profile
        self._spec = spec
        self._supervise = supervise
        self._engines = Succession(self._make(profile), self._make)
        self._admission = Admission(profile.admission)
        self._utterances: dict[str, Utterance] = {}
        self._submitting: dict[str, Life] = {}
        self._extending: dict[str, asyncio.Task[None]] = {}
        self._frontends = Frontends()
        self.first_sounds = self._frontends.first_sounds
        self._watchers: tuple[Watcher, ...] = (*watchers, self.first_sounds)

    def _make(self, profile: Profile) -> Life:
        engine: Life = self._supervise(
            profile,
            lambda message, samples: self._receive(engine, message, samples),
            lambda code, message: self._fail_all(engine, code, message),
        )
        return engine

    @property
    def _life(self) -> Life:
        return self._engines.current

    @property
    def state(self) -> EngineState:
        """What the engine can be asked for now."""
        return self._life.state

    @property
    def warming(self) -> Warming | None:
        """The last progress of an engine that is starting."""
        return self._life.warming

    @property
    def info(self) -> Ready | None:
        """What runs, while the engine is READY."""
        return self._life.info

    @property
    def problem(self) -> str | None:
        """Why the engine is RESTARTING or FAILED, for the log: it may name files."""
        return self._life.problem

    def retry_after_s(self) -> float:
        """When an engine that is not READY is likely to be."""
        return self._life.retry_after_s()

    async def start(self) -> None:
        """Start the engine and return at once. Raises RuntimeError the second time."""
        self._life.start()

    async def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until the engine takes requests. Raises EngineUnavailable if it fails or takes longer."""
        return await self._life.wait_ready(timeout_s)

    async def stop(self) -> None:
        """End the engine and fail what is in flight. Idempotent; the stop outlives a cancelled caller."""
        try:
            await self._engines.stop()
        finally:
            self._frontends.close()

    async def change(self, profile: Profile, take: Callable[[], None]) -> Ready:
        """Start an engine by `profile` beside this one. Once it is ready, it takes the next requests, and this one ends
        when it has spoken those that it has. `take` is called in that moment.

        Raises EngineUnavailable, and then nothing has changed.
        """

        def swap() -> None:
            self.profile, self._admission.limits = profile, profile.admission
            take()

        return await self._engines.change(profile, swap, self._speaks)

    def _speaks(self, engine: Life) -> bool:
        """Whether an engine has something left to speak."""
        speaking = (utterance.engine for utterance in self._utterances.values())
        return engine in (*speaking, *self._submitting.values())

    async def submit(
        self, params: SpeechParams, segments: Iterator[Segment], *, streaming: bool, audio_s: float
    ) -> Utterance:
        """Begin to speak. `audio_s` estimates the length, for admission.

        The first segment is sent as soon as the frontend has made it, the rest as they come. Raises NotReady or
        Overloaded before anything is done, InputError or ModelError from the frontend's first segment, and SpeechFailed
        if that takes longer than a request may.
        """
        timeout_s, engine = self.profile.engine.request_timeout_s, self._life
        if engine.state is not EngineState.READY:
            raise engine.not_ready(wake=True)
        utterance = Utterance(request_id := secrets.token_hex(8), engine)
        self._admission.admit(request_id, audio_s, engine.engines)
        self._submitting[request_id] = engine
        try:
            for begin in self._watchers:
                if (watch := begin(params, streaming, audio_s)) is not None:
                    utterance.watches.append(watch)
            head, rest = self._frontends.first(segments, audio_s)
            async with asyncio.timeout(timeout_s):
                first = await head
            if not first:
                raise InputError("text", "holds nothing that can be spoken")
            if engine.state is not EngineState.READY:
                raise engine.not_ready()
        except BaseException as error:
            self._admission.close(request_id)
            for watch in utterance.watches:
                watch.ended(utterance)
            if isinstance(error, TimeoutError):
                raise SpeechFailed("expired", "the text was not read in time") from None
            raise
        finally:
            del self._submitting[request_id]
        last = False
        if rest.done() and rest.exception() is None:  # a text of one sentence: a message less, and a task
            more, last = rest.result()
            first += more
            rest = rest if last else self._frontends.rest(segments)
        utterance.timed = params.timestamps != "none"
        if utterance.timed:
            utterance.segments += first
        self._utterances[request_id] = utterance
        order = Submit(
            request_id=request_id,
            params=params,
            streaming=streaming,
            timeout_s=timeout_s,
            segments=first,
            last=last,
        )
        tell(utterance, order)
        utterance.deadline = asyncio.get_running_loop().call_later(
            timeout_s + GRACE_S, self._overdue, utterance
        )
        if not last:
            self._extending[request_id] = asyncio.create_task(self._extend(utterance, segments, rest))
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

    def abort(self, utterance: Utterance, why: SpeechFailed | None = None) -> None:
        """Give a request up: unread samples are dropped and the engine stops at its next step.

        Call it from the event loop's thread, at any point, any number of times. Whoever reads a request that loses
        samples by it gets `why`.
        """
        if not utterance.ended:
            self._end(utterance, why or SpeechFailed("aborted", "the request was given up"))
            tell(utterance, Abort(request_id=utterance.request_id))
        elif utterance.unread:
            utterance.failure = utterance.failure or why
        utterance.unread.clear()
        self._admission.close(utterance.request_id)

    @property
    def load(self) -> Load:
        """How much is under way."""
        return Load(self._admission.requests, self._admission.audio_s, self._life.restarts)

    def full(self) -> Overloaded | None:
        """Why even the shortest text would be refused now; None while one would not, or no engine is there to ask."""
        return self._admission.full(self._life.engines) if self.state is EngineState.READY else None

    def unload(self, idle_s: float) -> None:
        """Unload the engine if no request has run for this long; the next one, which is refused, starts it again."""
        if self._admission.idle_s >= idle_s:
            self._life.rest(idle_s)

    async def settled(self) -> None:
        """Wait until every request that is admitted now has been spoken, given up or timed out."""
        await self._admission.settled(self.profile.engine.request_timeout_s)

    async def stats(self) -> Stats:
        """The engine's counters. Raises NotReady if it cannot answer, or does not soon."""
        return await self._life.stats()

    def _overdue(self, utterance: Utterance) -> None:
        """The engine has not ended a request that is past its deadline: it hangs, or has lost it."""
        self.abort(utterance, SpeechFailed("expired", "the request took longer than it may"))

    async def _extend(
        self, utterance: Utterance, segments: Iterator[Segment], pulled: asyncio.Future[Pulled]
    ) -> None:
        """Send the rest of the segments, several at a time if they are quick to come. `pulled` are the next."""
        request_id = utterance.request_id
        last = False
        while not last:
            try:
                more, last = await pulled
            except Exception as error:
                logger.error("the frontend failed for %s", request_id, exc_info=error)
                why = f"the frontend failed: {error}"
                self._end(utterance, SpeechFailed("internal", why, reference=request_id))
                tell(utterance, Abort(request_id=request_id))
                return
            if utterance.timed:
                utterance.segments += more
            if more or last:
                tell(utterance, Extend(request_id=request_id, segments=more, last=last))
            if not last:
                pulled = self._frontends.rest(segments)
        self._extending.pop(request_id, None)

    def _receive(self, engine: Life, message: FromEngine, samples: NDArray[np.float32] | None) -> None:
        """What an engine sends: about requests to their utterances, about its own life to its supervisor."""
        match message:
            case Chunk(request_id=request_id):
                if samples is not None and (utterance := self._utterances.get(request_id)) is not None:
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
                if (utterance := self._utterances.get(request_id)) is not None:
                    utterance.stats = stats
                    self._end(utterance, None)
            case Failed(request_id=request_id, code=code, message=text, field=field_name):
                if (utterance := self._utterances.get(request_id)) is not None:
                    retry_s = self.retry_after_s() if code == "engine_died" else None
                    self._end(utterance, SpeechFailed(code, text, field_name, retry_s, reference=request_id))
            case Warming() | Ready() | Broken() | Stats():
                engine.observe(message)

    def _end(self, utterance: Utterance, failure: SpeechFailed | None) -> None:
        """The engine makes no more of it."""
        request_id = utterance.request_id
        utterance.failure = failure
        utterance.ended = True
        if utterance.deadline is not None:
            utterance.deadline.cancel()
        self._utterances.pop(request_id, None)
        if (extending := self._extending.pop(request_id, None)) not in (None, asyncio.current_task()):
            extending.cancel()
        self._admission.end(request_id)
        for watch in utterance.watches:
            watch.ended(utterance)
        utterance.wake.set()

    def _fail_all(self, engine: Life, code: FailureCode, message: str) -> None:
        """An engine speaks nothing any more."""
        retry_after_s = self.retry_after_s() if code == "engine_died" else None
        for utterance in [one for one in self._utterances.values() if one.engine is engine]:
            self._end(utterance, SpeechFailed(code, message, retry_after_s=retry_after_s))
