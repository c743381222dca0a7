"""Many texts of one caller through one engine: enough at once to fill its steps, never more than a share of it.

many = Many(client, jobs, profile, timeout_s=600.0)
await many.begin()                        # raises Overloaded or NotReady if not even one text is taken now
async for key, spoken in many: ...        # in the order in which they end
many.abort()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from serving.engine.client import EngineClient, Utterance
from serving.profile import Profile
from serving.protocol import InputError, Overloaded, Segment, SpeechFailed, SpeechParams

logger = logging.getLogger(__name__)

SHARE = 0.5
"""Of what admission lets in, one caller's texts take at most this much; the rest stays for the others."""
RETRY_S = 0.25
"""A text that was refused asks again after this at the latest."""

Failure = InputError | Overloaded | SpeechFailed
"""What keeps one text from being spoken, and no other."""


@dataclass(slots=True)
class Job:
    """One text."""

    key: int
    """The caller's own."""
    params: SpeechParams
    segments: Iterator[Segment]
    audio_s: float
    """Estimated, for admission."""


class Many:
    """Speaks jobs; see the module. Use it from the event loop of its client.

    A job goes in when the one before it has, when fewer than engine.max_slots of them are being spoken, and when what
    is promised or not yet read of them is less than SHARE of admission.max_audio_s. So a caller that does not read
    holds back its own jobs. A job that admission refuses waits for room, until the deadline of all of them.
    """

    def __init__(
        self, client: EngineClient, jobs: Iterable[Job], profile: Profile, timeout_s: float = math.inf
    ) -> None:
        """`jobs` are pulled when there is room. `timeout_s` counts from now; what is not read by then has expired."""
        self._client = client
        self._jobs = iter(jobs)
        limits = profile.admission
        self._most_running = max(1, min(profile.engine.max_slots, int(limits.max_requests * SHARE)))
        self._most_audio_s = limits.max_audio_s * SHARE
        self._timeout_s = timeout_s
        self._running: dict[int, tuple[Job, Utterance]] = {}
        self._unread: list[tuple[Job, Utterance]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[tuple[int, Utterance | Failure] | Exception | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._expired: SpeechFailed | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s != math.inf:
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    async def begin(self) -> None:
        """Submit the first job that can be spoken. Raises Overloaded or NotReady, and then nothing is under way."""
        try:
            for job in self._jobs:
                if await self._submit(job):
                    break
        except BaseException:
            self.abort()
            raise
        self._start(self._feed())

    async def __aiter__(self) -> AsyncIterator[tuple[int, Utterance | Failure]]:
        """Yield each job's key with its ended utterance, whose answers the caller reads, or with its failure.

        A failure of the engine in the middle of a text is raised by the utterance's answers.
        """
        try:
            while (item := await self._next()) is not None:
                yield item
        finally:
            self.abort()

    def close(self) -> None:
        """The same as abort, for contextlib.closing."""
        self.abort()

    def abort(self) -> None:
        """Give every job up; what was not read is dropped. Idempotent, and never waits."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for _, utterance in (*self._running.values(), *self._unread):
            self._client.abort(utterance)
        self._running.clear()
        self._unread.clear()

    async def _next(self) -> tuple[int, Utterance | Failure] | None:
        self._room.set()  # the caller has read what it got before
        item = await self._ended.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _feed(self) -> None:
        """Submit every job, then say when the last has ended."""
        try:
            for job in self._jobs:
                while not self._has_room(job):
                    await self._wait_room(None)
                while self._expired is None:
                    try:
                        await self._submit(job)
                        break
                    except Overloaded as error:
                        if not error.passes:
                            self._ended.put_nowait((job.key, error))
                            break
                        await self._wait_room(min(error.retry_after_s, RETRY_S))
                else:
                    self._ended.put_nowait((job.key, self._expired))
            while self._running:
                await self._wait_room(None)
            self._ended.put_nowait(None)
        except Exception as error:
            logger.error("the texts of a caller ended early", exc_info=error)
            self._ended.put_nowait(error)

    def _has_room(self, job: Job) -> bool:
        if self._expired is not None:
            return True
        self._unread = [(known, one) for known, one in self._unread if one.unread]
        held_s = sum(known.audio_s for known, _ in (*self._running.values(), *self._unread))
        fits = held_s == 0 or held_s + job.audio_s <= self._most_audio_s
        return fits and len(self._running) < self._most_running

    async def _wait_room(self, limit_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._room.wait()
        self._room.clear()

    async def _submit(self, job: Job) -> bool:
        """Whether the job is under way. One whose text cannot be spoken has ended. Raises Overloaded."""
        try:
            utterance = await self._client.submit(
                job.params, job.segments, streaming=False, audio_s=job.audio_s
            )
        except InputError as error:
            self._ended.put_nowait((job.key, error))
            return False
        except Overloaded:
            raise
        except SpeechFailed as error:
            self._ended.put_nowait((job.key, error))
            return False
        except Exception as error:
            logger.error("the frontend failed for text %d of many", job.key, exc_info=error)
            self._ended.put_nowait((job.key, SpeechFailed("internal", f"the frontend failed: {error}")))
            return False
        if self._closed:
            self._client.abort(utterance)
            return False
        if self._expired is not None:  # while its text was read
            self._client.abort(utterance, self._expired)
            self._ended.put_nowait((job.key, self._expired))
            return False
        self._running[job.key] = job, utterance
        self._start(self._watch(job, utterance))
        return True

    async def _watch(self, job: Job, utterance: Utterance) -> None:
        await utterance.wait_ended()
        if self._running.pop(job.key, None) is not None:
            self._unread.append((job, utterance))
        self._ended.put_nowait((job.key, utterance))
        self._room.set()

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self) -> None:
        self._expired = SpeechFailed(
            "expired", f"not made and read within the {self._timeout_s:g} s that all texts had together"
        )
        for _, utterance in (*list(self._running.values()), *self._unread):
            self._client.abort(utterance, self._expired)
        self._room.set()
