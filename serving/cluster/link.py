"""The HTTP process's end: an EngineClient speaks to this as to one engine, and Ray Serve's handle picks the replica.

A request is one streaming call. Its cancellation reaches the replica as the cancellation of that call; a replica that
dies fails the calls that it has, and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from serving.cluster.call import Call
from serving.cluster.start import connect, deploy, leave, running_replicas
from serving.cluster.wire import Described, added, application
from serving.engine.life.state import FAILED_RETRY_S, EngineState, EngineUnavailable, OnDown, Receive
from serving.profile import Profile
from serving.protocol import (
    Abort,
    Broken,
    Extend,
    NotReady,
    Ready,
    Stats,
    Submit,
    ToEngine,
    Warming,
)

logger = logging.getLogger(__name__)

LOOK_S = 0.25
"""Serve is asked this often how many engines run."""
ANSWER_S = 5.0
"""Ray has this long to answer a question about the cluster."""
STATS_S = 1.5
START_S = 300.0
"""Ray starts several processes of Python; where other work holds the cores, each takes its time."""
LEAVE_S = 20.0
RETRY_S = 1.0
STARTING_RETRY_S = 5.0


class ClusterLink:
    """The engines of a cluster, as the Life of one. Use it from one event loop."""

    def __init__(self, profile: Profile, receive: Receive, on_down: OnDown) -> None:
        self.state = EngineState.STOPPED
        self.warming: Warming | None = None
        self.info: Ready | None = None
        self.problem: str | None = None
        self.restarts = 0
        """Times that no engine was left."""
        self.engines = 1
        self._running = 0
        self._profile = profile
        self._receive = receive
        self._on_down = on_down
        self._handle: DeploymentHandle[Any] | None = None
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Connect, deploy and follow. Returns at once; raises RuntimeError the second time."""
        if self._life is not None:
            raise RuntimeError("this cluster was started before")
        self._set_state(EngineState.STARTING)
        self._thread = _Thread()
        self._life = asyncio.create_task(self._run())

    async def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until an engine takes requests. Raises EngineUnavailable if none can or it takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.state in (EngineState.STARTING, EngineState.RESTARTING):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise EngineUnavailable(f"no engine of the cluster was ready within {timeout_s:g} s") from None
        if self.info is None:
            raise EngineUnavailable(self.problem or f"the cluster is {self.state.value}")
        return self.info

    async def first_start(self) -> None:
        """Wait until an engine takes requests, or none can."""
        await self.wait_ready(START_S)

    async def stats(self) -> Stats:
        """Ask every engine; one that does not answer is left out. Raises NotReady if none does."""
        if self._handle is None:
            raise self.not_ready()
        parts: list[Stats] = []
        with contextlib.suppress(RayError, RayServeException, TimeoutError):
            answers = await self._handle.broadcast("stats").results_async(
                timeout_s=STATS_S, return_exceptions=True
            )
            parts = [
                msgspec.msgpack.decode(answer, type=Stats)
                for answer in answers
                if isinstance(answer, bytes) and answer
            ]
        if not parts:
            raise NotReady("no engine answers", RETRY_S)
        return added(parts)

    async def stop(self) -> None:
        """Give every request up and leave Ray; a Ray that was started here ends. Idempotent."""
        self._set_state(EngineState.STOPPED)
        self._on_down("aborted", "the server was stopped")
        for call in list(self._calls.values()):
            call.cancel()
        if self._life is not None and not self._life.done():
            self._life.cancel()
            await asyncio.wait((self._life,))
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._thread.ask(leave, self._profile.cluster, self._handle), LEAVE_S)

    @property
    def pair(self) -> ClusterLink:
        """Itself."""
        return self

    def send(self, message: ToEngine) -> None:
        """Hand a message on, without waiting."""
        if self._handle is None:
            return
        match message:
            case Submit(request_id=request_id):
                call = self._calls[request_id] = Call(self._handle, message, self._receive)
                self._start(self._speak(call))
            case Extend(request_id=request_id):
                if (known := self._calls.get(request_id)) is not None:
                    known.more.put_nowait(message)
            case Abort(request_id=request_id):
                if (known := self._calls.pop(request_id, None)) is not None:
                    known.cancel()

    def observe(self, message: Warming | Ready | Broken | Stats) -> None:
        """Nothing: replicas watch their engines."""

    def rest(self, ready_s: float) -> None:
        """Nothing: engines that nobody uses are taken away by the queue's depth."""

    def not_ready(self, *, wake: bool = False) -> NotReady:
        """The refusal of a request while no engine runs."""
        told = f"the engine is {self.state.value}"
        return NotReady(f"{told}: {self.problem}" if self.problem else told, self.retry_after_s(), told)

    def retry_after_s(self) -> float:
        """When an engine is likely to take requests."""
        waits = {EngineState.READY: RETRY_S, EngineState.FAILED: FAILED_RETRY_S}
        return waits.get(self.state, STARTING_RETRY_S)

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self._changed.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            await asyncio.wait_for(self._thread.ask(connect, self._profile.cluster), START_S)
            _take_back_sigterm()
            handle = self._handle = await asyncio.wait_for(self._thread.ask(deploy, self._profile), START_S)
        except Exception as error:
            logger.exception("the cluster cannot be started")
            self.problem = f"the cluster cannot be started: {error}"
            self._set_state(EngineState.FAILED)
            return
        name = application(self._profile)
        question = self._thread.ask(running_replicas, name)
        while self.state is not EngineState.FAILED:
            try:
                # Of a Ray that is silent the same question is waited for again: no threads pile up.
                running, broken = await asyncio.wait_for(asyncio.shield(question), ANSWER_S)
                await self._follow(handle, running, broken)
            except Exception as error:  # whatever it is, the requests under way may well go on
                logger.warning("Ray does not say how the engines are: %s", str(error) or type(error).__name__)
            await asyncio.sleep(LOOK_S)
            if question.done():
                question = self._thread.ask(running_replicas, name)

    async def _follow(self, handle: DeploymentHandle[Any], running: int, broken: str | None) -> None:
        """Take note of how many engines run."""
        if running != self._running:
            logger.info("engines that take requests: %d", running)
        self._running = running
        self.engines = max(running, 1)
        if running and self.state is not EngineState.READY:
            async with asyncio.timeout(ANSWER_S):
                described = msgspec.msgpack.decode(await handle.describe.remote(), type=Described)
            self.info, self.problem = described.ready, None
            self._set_state(EngineState.READY)
        elif broken is not None and not running and self.state is EngineState.STARTING:
            self.problem = broken
            self._set_state(EngineState.FAILED)
        elif not running and self.state is EngineState.READY:
            self.restarts += 1
            self.info, self.problem = None, "no engine of the cluster runs"
            self._set_state(EngineState.RESTARTING)

    async def _speak(self, call: Call) -> None:
        """One request, from its first segments to its last message."""
        try:
            await call.run()
        finally:
            if self._calls.get(call.request_id) is call:
                del self._calls[call.request_id]


class _Thread:
    """A thread for what blocks. Nothing waits for it, not even the end of this process, and it lives as long as that:
    what Ray starts here dies with the thread that started it.
    """

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="cluster", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._questions.get()()

    def ask(self, question: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """What a function will return."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def tell(result: Any, error: Exception | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def ask() -> None:
            result, failed = None, None
            try:
                result = question(*arguments)
            except Exception as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(tell, result, failed)

        self._questions.put(ask)
        return answer


def _take_back_sigterm() -> None:
    """Ray's library takes SIGTERM with a handler that ends the process at once; give it back to whoever had it."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
