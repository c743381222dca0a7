"""A WebSocket with limits: what comes in is bounded in size and in time, what goes out has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Collection
from typing import Any

import msgspec
from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from serving.access.address import netloc_of
from serving.http.front.turns import Turns
from serving.observe.logs import REQUEST_ID
from serving.profile import WebSocketProfile
from serving.protocol import InputError, NotReady, Overloaded, SpeechFailed, failed_inside

logger = logging.getLogger(__name__)

AnySocket = WebSocket[Any, Any, Any]
Message = dict[str, Any]

NORMAL, UNSUPPORTED, NOT_UTF8_JSON, POLICY, TOO_BIG, INTERNAL = 1000, 1003, 1007, 1008, 1009, 1011
"""Close codes of RFC 6455."""

_MESSAGE = msgspec.json.Decoder(Message)


def only_from(origins: Collection[str]) -> Guard:
    """Guard: refuses pages of other origins than these and the server's own. Browsers apply no CORS to WebSockets."""

    async def check(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        origin = connection.headers.get("origin")
        if origin is None or origin in origins or "*" in origins:
            return
        if netloc_of(origin) != connection.headers.get("host", ""):
            raise PermissionDeniedException(f"pages of {origin[:100]} may not connect; see http.cors_origins")

    return check


class Gone(Exception):
    """The client closed the connection, or takes nothing any more."""


class Refusal(Exception):
    """The client broke the protocol: an error event, then the connection is closed with this code."""

    def __init__(self, code: str, message: str, close_code: int, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code
        self.field = field


class Connection:
    """One accepted WebSocket. One task receives; several may send."""

    def __init__(self, socket: AnySocket, limits: WebSocketProfile, turns: Turns) -> None:
        self._socket = socket
        self._limits = limits
        self._turns = turns
        self._address = socket.client.host if socket.client else ""
        self._sending = asyncio.Lock()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coming: asyncio.Task[Any] | None = None

    async def receive(self, timeout_s: float) -> Message | None:
        """The next message, a JSON object; None if none comes in time.

        Raises Gone, and Refusal for a frame that is binary, too large, or no JSON object.
        """
        if self._coming is None:
            self._coming = asyncio.create_task(self._next())
        await asyncio.wait(
            {self._coming, self._broken}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if self._coming.cancelled():  # close is under way
            await self._broken
        if self._broken.done():
            raise Gone
        if not self._coming.done():
            return None
        event, self._coming = self._coming.result(), None
        if event["type"] == "websocket.disconnect":
            self._break()
            raise Gone
        text = event.get("text")
        if text is None:
            raise Refusal("binary_frame", "a binary frame came where JSON text is due", UNSUPPORTED)
        limit = self._limits.max_frame_bytes
        if len(text) > limit or len(text.encode()) > limit:
            raise Refusal("frame_too_large", f"a frame has at most {limit} bytes", TOO_BIG)
        try:
            return _MESSAGE.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refusal(
                "malformed_message", f"a message is a JSON object: {error}", NOT_UTF8_JSON
            ) from None

    async def take_turn(self) -> None:
        """Wait until this connection may work in the event loop."""
        await self._turns.take(self._address)

    async def _next(self) -> Any:
        return await self._socket.receive()

    async def send(self, message: Message | bytes) -> None:
        """Send JSON or audio. Raises Gone if the client is gone or takes nothing for websocket.send_s."""
        if self._broken.done():
            raise Gone
        binary = isinstance(message, bytes)
        data = message if isinstance(message, bytes) else msgspec.json.encode(message)
        try:
            async with asyncio.timeout(self._limits.send_s), self._sending:
                await self._socket.send_data(data, mode="binary" if binary else "text")
        except TimeoutError:
            logger.warning("a WebSocket client took nothing for %g s and is given up", self._limits.send_s)
            self._break()
            raise Gone from None
        except RuntimeError:  # the server's word for a connection that is closed
            self._break()
            raise Gone from None

    async def close(self, code: int, reason: str = "") -> None:
        """Close, unless the client is gone."""
        if self._broken.done():
            return
        try:
            await self.stop()  # Granian closes only once no receive is pending
            with contextlib.suppress(RuntimeError, TimeoutError):
                async with asyncio.timeout(self._limits.send_s), self._sending:
                    await self._socket.close(code, reason[:120])
        finally:
            self._break()

    async def stop(self) -> None:
        """Nothing more is received."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})

    def _break(self) -> None:
        if not self._broken.done():
            self._broken.set_result(None)


def failure_of(error: Exception) -> tuple[str, str, str | None]:
    """Code, message and field of an error that ends an utterance; what is none of ours is told as an error of ours."""
    match error:
        case InputError():
            return "invalid_field", f"{error.field[:60]}: {error}", error.field[:200]
        case NotReady():
            return "not_ready", error.told, None
        case Overloaded():
            return "overloaded", str(error), None
        case SpeechFailed():
            return error.code, error.told, error.field
        case _:
            reference = REQUEST_ID.get() or uuid.uuid4().hex
            logger.error("an utterance of WebSocket %s failed", reference, exc_info=error)
            return "internal", failed_inside(reference), None
