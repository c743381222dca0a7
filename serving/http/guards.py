"""What stands between a client and the handlers: content type, and an engine slot that is always given back.

The size of a body is bounded by Litestar (request_max_body_size): by Content-Length before a byte is read,
and by the bytes that really come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, LitestarException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serving.engine.client import Handle
from serving.http.problems import ClientGone
from serving.protocol import SpeechFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_HANDLE = "speech_handle"
_UTF8 = ("utf-8", "utf8")


def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the body is JSON in UTF-8 and not compressed, or 415."""
    media_type, *rest = connection.headers.get("content-type", "").split(";", maxsplit=1)
    media_type = media_type.strip().lower()
    options = rest[0].strip().lower() if rest else ""
    if media_type != "application/json":
        raise HTTPException(
            f"send Content-Type: application/json, not {media_type[:100] or 'nothing'}", status_code=415
        )
    if options.startswith("charset=") and options.removeprefix("charset=").strip('"') not in _UTF8:
        raise HTTPException(f"send the body in UTF-8, not {options[:100]}", status_code=415)
    if (encoding := connection.headers.get("content-encoding", "identity")) != "identity":
        raise HTTPException(f"send the body without Content-Encoding, not {encoding[:100]}", status_code=415)


def hold(scope: Scope, handle: Handle) -> Handle:
    """Tie the engine's work to this ASGI call: AbortOnExit ends it with the call."""
    scope["state"][_HANDLE] = handle
    return handle


class AbortOnExit(ASGIMiddleware):
    """Whatever ends the ASGI call (the end of the stream, an error, a disconnect) frees the engine's slots.

    The generator of a stream cannot do this: Litestar does not close it when a stalled client goes away.
    abort() is synchronous and idempotent, so no cancellation can come between.

    A stream that fails after its start is logged and left without its last message: the server then closes
    the connection, and the client sees that the body is incomplete.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        try:
            await next_app(scope, receive, send)
        except LitestarException as error:
            failure = _speech_failure(error)
            if failure is None:
                raise
            request = scope["state"].get("request_id")
            logger.warning("stream %s is cut (%s): %s", request, failure.code, failure)
        finally:
            handle = scope["state"].pop(_HANDLE, None)
            if handle is not None:
                handle.abort()


def _speech_failure(error: BaseException | None) -> SpeechFailed | None:
    """The SpeechFailed behind what Litestar raises once an answer has begun, if that is what it was."""
    while error is not None and not isinstance(error, SpeechFailed):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and return its result.

    Raises ClientGone, and cancels the work, as soon as the client closes the line. The body has been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
