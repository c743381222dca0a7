"""One request in the cluster: a streaming call to a replica, and the calls that bring it the rest of the text."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from serving.cluster.wire import Frame, decode_from_engine, encode
from serving.engine.life.state import Receive
from serving.protocol import Broken, Extend, Failed, FailureCode, Finished, Ready, Stats, Submit, Warming

logger = logging.getLogger(__name__)

GONE = "the engine that spoke it is gone, with its process or its machine"
EXTEND_S = 5.0
"""A replica takes more text within this time."""


class Call:
    """Hands every message of the engine to `receive`; the last is Finished or Failed, whatever ended the request."""

    def __init__(self, handle: DeploymentHandle[Any], submit: Submit, receive: Receive) -> None:
        self.request_id = submit.request_id
        self.more: asyncio.Queue[Extend] = asyncio.Queue()
        """What is to follow the segments of `submit`."""
        self._submit = submit
        self._handle = handle
        self._receive = receive
        self._response: DeploymentResponseGenerator[Any] | None = None
        self._extending: asyncio.Task[None] | None = None
        self._over = False

    def cancel(self) -> None:
        """Nobody wants the rest: end the call here and at the replica. Idempotent, and never waits."""
        self._over = True
        self._stop()

    async def run(self) -> None:
        """Speak it. Raises nothing."""
        if self._over:
            return
        try:
            streamed = self._handle.options(method_name="speak", stream=True)
            response = self._response = streamed.remote(encode(self._submit), voice=self._submit.params.voice)
            async for item in response:
                if isinstance(item, str):
                    self._extending = asyncio.create_task(self._extend(item))
                else:
                    self._take(item)
            self._response = None
            self._fail("engine_died", GONE)
        except (asyncio.CancelledError, TaskCancelledError):
            self._fail("engine_died", GONE)
        except RayActorError as error:
            logger.warning("request %s lost its engine: %s", self.request_id, type(error).__name__)
            self._fail("engine_died", GONE)
        except Exception as error:
            logger.error("request %s failed in the cluster", self.request_id, exc_info=error)
            self._fail("internal", f"the cluster failed: {type(error).__name__}: {error}")
        finally:
            self._stop()

    def _take(self, frames: list[Frame]) -> None:
        for frame, samples in frames:
            message = decode_from_engine(frame)
            if self._over or isinstance(message, Stats | Warming | Ready | Broken):
                continue
            self._over = isinstance(message, Finished | Failed)
            self._receive(message, np.frombuffer(samples, "<f4") if samples else None)

    def _fail(self, code: FailureCode, message: str) -> None:
        """Tell it, unless the request has ended."""
        if not self._over:
            self._over = True
            self._receive(Failed(request_id=self.request_id, code=code, message=message), None)

    def _stop(self) -> None:
        if self._extending is not None:
            self._extending.cancel()
        if self._response is not None:
            self._response.cancel()
            self._response = None

    async def _extend(self, replica: str) -> None:
        """Bring the rest of the text, in order, to the replica that has its beginning."""
        try:
            last = self._submit.last
            while not last:
                extend = await self.more.get()
                async with asyncio.timeout(EXTEND_S):
                    if not await self._handle.extend.remote(encode(extend), replica=replica):
                        return  # it has ended there, and says so
                last = extend.last
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.warning("request %s: the rest of its text did not arrive: %r", self.request_id, error)
            self._fail("engine_died", GONE)
            self._stop()
