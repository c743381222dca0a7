"""Keeps one engine running: starts it, follows its progress, starts it again when it dies, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from serving.engine.life.state import FAILED_RETRY_S, EngineState, EngineUnavailable, OnDown, Receive
from serving.engine.life.watchdog import BEAT_S, Watchdog
from serving.engine.process import EngineProcess, EngineThread
from serving.engine.transport import ClientPair
from serving.profile import Profile
from serving.protocol import (
    Broken,
    GetStats,
    NotReady,
    Ready,
    Shutdown,
    Stats,
    ToEngine,
    Warming,
)

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

RESTART_WINDOW_S = 600.0
BACKOFF_S = (0.1, 1.0, 2.0)
"""Pause before the first, second and any later restart within the window."""
STOP_S = 5.0
"""The engine has this long to end by itself."""
KILL_S = 5.0
"""A killed engine that is still there after this is left to the kernel."""
STATS_S = 2.0
"""The engine has this long to tell its counters."""
WARMING_RETRY_S = 2.0
"""Of an engine whose start has not been measured yet."""


class Supervisor:
    """The life of one engine after the other, in one event loop."""

    engines = 1

    def __init__(self, profile: Profile, receive: Receive, on_down: OnDown) -> None:
        """`receive` gets every message of the engine and hands those about its life to observe(). `on_down` gets the
        reason when no request can go on.
        """
        self.state = EngineState.STOPPED
        self.warming: Warming | None = None
        self.info: Ready | None = None
        self.problem: str | None = None
        self.restarts = 0
        """Starts again after a death."""
        self._profile = profile
        self._receive = receive
        self._on_down = on_down
        self._engine: EngineProcess | EngineThread | None = None
        self.pair: ClientPair | None = None
        """The connection to the engine that runs."""
        self._asked: deque[asyncio.Future[Stats]] = deque()
        self._broken: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._rest = asyncio.Event()
        self._woken = asyncio.Event()
        self._started_s = 0.0
        self._start_up_s: float | None = None
        """What the last start took until READY."""

    def start(self) -> None:
        """Start the engine and return at once. Raises RuntimeError the second time."""
        if self._task is not None:
            raise RuntimeError("this engine was started before")
        self._set_state(EngineState.STARTING)
        self._task = asyncio.create_task(self._run())

    async def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until the engine takes requests. Raises EngineUnavailable if it fails or takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.state in (EngineState.STARTING, EngineState.RESTARTING):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = f", last seen at: {self.warming.what}" if self.warming else ""
            raise EngineUnavailable(f"the engine was not ready within {timeout_s:g} s{seen}") from None
        if self.info is None:
            raise EngineUnavailable(self.problem or f"the engine is {self.state.value}")
        return self.info

    async def first_start(self) -> None:
        """Wait until it is known how the first start ends: READY, or any other state but STARTING."""
        while self.state is EngineState.STARTING:
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """End the engine. Idempotent; if the caller is cancelled meanwhile, the stop goes on."""
        self._stop.set()
        self._set_state(EngineState.STOPPED)
        if self._task is not None:
            await asyncio.shield(self._task)

    def send(self, message: ToEngine) -> None:
        """Hand a message to the engine that runs, if one does."""
        if self.pair is not None:
            self.pair.send(message)

    def rest(self, ready_s: float) -> None:
        """Unload an engine that has been READY for this long, until not_ready(wake=True)."""
        since_s = self._started_s + (self._start_up_s or 0.0)
        if self.state is EngineState.READY and time.monotonic() - since_s >= ready_s:
            self._woken.clear()
            self._rest.set()
            self._set_state(EngineState.IDLE)

    def not_ready(self, *, wake: bool = False) -> NotReady:
        """The refusal of a request, with the reason why the engine takes none. `wake` starts one that was unloaded."""
        if wake and self.state is EngineState.IDLE:
            self._woken.set()
        why = f": {self.problem}" if self.problem else ""
        told = f"the engine is {self.state.value}"
        return NotReady(told + why, self.retry_after_s(), told)

    def retry_after_s(self) -> float:
        """When the engine is likely to take requests: after what its last start took, less what has passed."""
        if self.state is EngineState.FAILED:
            return FAILED_RETRY_S
        if self._start_up_s is None:
            return WARMING_RETRY_S
        is_starting = self._engine is not None and self.state is not EngineState.IDLE
        gone_s = time.monotonic() - self._started_s if is_starting else 0.0
        return max(self._start_up_s - gone_s, 1.0)

    async def stats(self) -> Stats:
        """The engine's counters. Raises NotReady if it cannot answer, or does not within STATS_S."""
        if self.state is not EngineState.READY or self.pair is None:
            raise self.not_ready()
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self.pair.send(GetStats())
        try:
            async with asyncio.timeout(STATS_S):
                return await answer
        except TimeoutError:
            raise NotReady("the engine does not answer", 1.0) from None

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self._changed.set()

    def observe(self, message: Warming | Ready | Broken | Stats) -> None:
        """Take note of how far the engine is, or of its counters."""
        match message:
            case Stats():
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(message)
            case Warming():
                if self.warming is None and self._engine is not None:
                    self._engine.connected()
                self.warming = message
                logger.info(
                    "%s: %d of %d, %.1f s", message.what, message.done, message.total, message.elapsed_s
                )
            case Ready():
                self.info, self.warming, self.problem = message, None, None
                self._start_up_s = time.monotonic() - self._started_s
                self._set_state(EngineState.READY)
                logger.info("ready: %s on %s, %.1f s", message.model, message.device, message.warmup_s)
            case Broken(message=text):
                self._broken = text
                if self.pair is not None:
                    self.pair.send(Shutdown())

    async def _run(self) -> None:
        """Run engines until stop() or until they die too often."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        deaths: deque[float] = deque()
        spoke = False
        try:
            while not self._stop.is_set():
                is_short = False
                try:
                    was_ready, how = await self._run_one(context)
                    spoke = spoke or was_ready
                # Of files, memory or processes (RuntimeError: of threads). Where an engine has run that may pass.
                except (OSError, zmq.ZMQError, RuntimeError) as error:
                    is_short, how = True, "it could not be started"
                    self._broken = f"the engine cannot be started: {error}"
                except Exception as error:
                    logger.exception("an engine was not started")
                    how, self._broken = "", f"the engine cannot be started: {type(error).__name__}: {error}"
                if self._stop.is_set():
                    break
                if self._rest.is_set():
                    await self._sleep()
                    continue
                self.problem = self._broken or f"the engine died: {how}"
                logger.error("%s", self.problem)
                limit = self._profile.engine.restart_limit
                waits = is_short and spoke and limit > 0
                now = time.monotonic()
                if not waits:
                    deaths.append(now)
                while deaths and deaths[0] < now - RESTART_WINDOW_S:
                    deaths.popleft()
                if (self._broken and not spoke) or len(deaths) > limit:
                    self._set_state(EngineState.FAILED)
                    await self._stop.wait()
                    break
                self._set_state(EngineState.RESTARTING)
                self.restarts += not waits
                pause_s = BACKOFF_S[-1] if waits else BACKOFF_S[min(len(deaths), len(BACKOFF_S)) - 1]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause_s)
        finally:
            self._set_state(EngineState.STOPPED)
            # An engine thread that is still there gets ContextTerminated at its next look at the socket.
            context.term()

    async def _sleep(self) -> None:
        """Nothing is loaded until somebody asks, or the server stops."""
        logger.info("unloaded: nobody spoke for %g s", self._profile.engine.idle_unload_s)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._woken, self._stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._rest.clear()
        if not self._stop.is_set():
            self._set_state(EngineState.STARTING)

    async def _run_one(self, context: zmq.Context[zmq.Socket[bytes]]) -> tuple[bool, str]:
        """Run one engine to its end. Returns whether it had been ready, and how it ended."""
        exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_exit(how: str) -> None:
            if not exited.done():
                exited.set_result(how)

        self._broken = self.warming = None
        engine = EngineProcess() if self._profile.engine.process else EngineThread(context)
        self._engine = engine
        stopping = asyncio.ensure_future(self._stop.wait())
        resting = asyncio.ensure_future(self._rest.wait())
        try:
            self.pair = pair = ClientPair(context, engine.endpoint, self._receive)
            self._started_s = time.monotonic()
            engine.start(self._profile, on_exit)
            stuck = await self._watch(engine, exited, stopping, resting)
            if stuck is not None:
                self._set_state(EngineState.RESTARTING)
                engine.kill()
                await asyncio.wait((exited,), timeout=KILL_S)
            elif not exited.done():
                await self._shut_down(engine, pair, exited)
            return self.info is not None, stuck or exited.result()
        finally:
            stopping.cancel()
            resting.cancel()
            if not exited.done():
                engine.kill()
            if self.pair is not None:
                self.pair.close()
            engine.close()
            self.pair = self._engine = self.info = None
            if not self._rest.is_set() or self._stop.is_set():
                self._set_state(EngineState.STOPPED if self._stop.is_set() else EngineState.RESTARTING)
            while self._asked:
                if not (answer := self._asked.popleft()).done():
                    answer.set_exception(NotReady("the engine has ended", 1.0))
            self._on_down("engine_died", "the engine died while it spoke")

    async def _watch(
        self, engine: EngineProcess | EngineThread, exited: asyncio.Future[str], *orders: asyncio.Future[Any]
    ) -> str | None:
        """Wait until the engine has ended, is to end by one of `orders`, or is stuck; why it is stuck, else None."""
        limits = self._profile.engine
        watchdog = Watchdog(limits.silence_s, limits.request_timeout_s)
        while True:
            done, _ = await asyncio.wait(
                (exited, *orders), timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return None
            if engine.beats is not None:
                ready = self.info is not None
                stuck = watchdog.look(engine.beats, engine.step_age_s, ready=ready, told=self.warming)
                if stuck is not None:
                    return stuck

    async def _shut_down(
        self, engine: EngineProcess | EngineThread, pair: ClientPair, exited: asyncio.Future[str]
    ) -> None:
        """End an engine: by Shutdown if it is ready, at once if it is still loading or does not read."""
        kill_at_s = time.monotonic() + (STOP_S if self.info is not None else 0.0)
        if self._stop.is_set():
            self._set_state(EngineState.STOPPED)
        self._on_down("aborted", "the engine was stopped")
        while not exited.done():
            if time.monotonic() >= kill_at_s:
                engine.kill()
            # Sent again until it is read: an engine in a thread may not have connected yet.
            pair.send(Shutdown())
            await asyncio.wait((exited,), timeout=0.1)
