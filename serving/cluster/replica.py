"""A replica: one engine, its process and its device, behind the calls of a Ray Serve deployment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.config
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from serving.cluster.wire import Described, Frame, decode_to_engine, encode
from serving.engine.life.state import EngineState
from serving.engine.life.supervisor import Supervisor
from serving.observe.logs import log_config
from serving.profile import Profile
from serving.protocol import (
    Abort,
    Broken,
    Extend,
    Failed,
    FailureCode,
    Finished,
    FromEngine,
    NotReady,
    Ready,
    Stats,
    Submit,
    Warming,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LOAD_S = 600.0
"""Weights are loaded and shapes captured within this time."""
STATS_S = 1.0
GRACE_S = 2.0
"""Past the deadline of a request its engine has this long to say so itself."""


class Replica:
    """Speaks for several HTTP processes at once. It lives as long as its engine: when that dies, Serve starts another
    replica, so that none is routed to which cannot speak.
    """

    async def __init__(self, profile: bytes) -> None:  # type: ignore[misc]
        """`profile` is JSON. Returns when the engine takes requests; raises EngineUnavailable with its reason."""
        wanted = msgspec.json.decode(profile, type=Profile)
        engine = msgspec.structs.replace(wanted.engine, restart_limit=0, idle_unload_s=0.0)
        self._profile = msgspec.structs.replace(wanted, engine=engine)
        self._speaking: dict[str, _Outbox] = {}
        self._ready: Ready | None = None
        logging.config.dictConfig(log_config(wanted.observe))
        self._supervisor = Supervisor(self._profile, self._receive, self._down)
        self._supervisor.start()
        try:
            self._ready = await self._supervisor.wait_ready(LOAD_S)
        except BaseException:
            await self._supervisor.stop()
            raise

    async def describe(self) -> bytes:
        """Described, as msgpack."""
        import ray
        from ray import serve

        assert self._ready is not None
        name = serve.get_replica_context().replica_id.unique_id
        return encode(Described(name, ray.get_runtime_context().get_node_id(), self._ready))

    async def speak(self, submit: bytes, voice: str = "") -> AsyncGenerator[str | list[Frame]]:
        """Yield this replica's name, which takes the rest of the text by extend(), then the engine's messages.

        What the engine makes while the last frames are on their way goes with the next. Leaving early aborts it.
        """
        from ray import serve

        message = decode_to_engine(submit)
        assert isinstance(message, Submit)
        request_id = message.request_id
        outbox = self._speaking[request_id] = _Outbox()
        try:
            self._supervisor.send(message)
            yield serve.get_replica_context().replica_id.unique_id
            async with asyncio.timeout(message.timeout_s + GRACE_S):
                while not outbox.ended:
                    yield await outbox.frames()
        except TimeoutError:
            why = Failed(request_id=request_id, code="expired", message="the request took longer than it may")
            yield [(encode(why), b"")]
        finally:
            del self._speaking[request_id]
            if not outbox.ended:
                self._supervisor.send(Abort(request_id=request_id))

    async def extend(self, extend: bytes, replica: str = "") -> bool:
        """More of the text of a request that is spoken here; False if it is not."""
        message = decode_to_engine(extend)
        assert isinstance(message, Extend)
        if message.request_id not in self._speaking:
            return False
        self._supervisor.send(message)
        return True

    async def stats(self) -> bytes:
        """The engine's counters, as msgpack; nothing if it does not tell them within STATS_S."""
        with contextlib.suppress(TimeoutError, NotReady):
            async with asyncio.timeout(STATS_S):
                return encode(await self._supervisor.stats())
        return b""

    def check_health(self) -> None:
        """Raises RuntimeError if the engine takes no requests; Serve then replaces this replica."""
        if self._supervisor.state is not EngineState.READY:
            raise RuntimeError(f"the engine is {self._supervisor.state.value}: {self._supervisor.problem}")

    def _receive(self, message: FromEngine, samples: NDArray[np.float32] | None) -> None:
        match message:
            case Warming() | Ready() | Broken() | Stats():
                self._supervisor.observe(message)
            case _:
                if (outbox := self._speaking.get(message.request_id)) is not None:
                    outbox.put(message, samples)

    def _down(self, code: FailureCode, message: str) -> None:
        if self._ready is None:
            return
        logger.error("this replica ends, for its engine has: %s", message)
        os._exit(1)


class _Outbox:
    """What the engine has made of one request and nobody has taken. Its length is what admission let in."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._wake = asyncio.Event()
        self.ended = False
        """The last message was taken."""
        self._complete = False

    def put(self, message: FromEngine, samples: NDArray[np.float32] | None) -> None:
        self._frames.append((encode(message), b"" if samples is None else samples.tobytes()))
        self._complete = isinstance(message, (Finished, Failed))
        self._wake.set()

    async def frames(self) -> list[Frame]:
        """Everything that is there, at least one."""
        await self._wake.wait()
        self._wake.clear()
        frames, self._frames = self._frames, []
        self.ended = self._complete
        return frames
