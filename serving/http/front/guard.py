"""What every request passes before the application sees it: who may ask, and how long he may take.

It stands around the whole application, so that an unknown path or a refusal is treated like any answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from litestar import Request
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from serving.access.address import is_loopback, netloc_of
from serving.http.front.idle import UNKNOWN
from serving.http.front.left import Left
from serving.http.front.methods import with_all_methods
from serving.http.front.turns import Turns
from serving.http.problems import refuse
from serving.http.speech import request_id
from serving.profile import HttpProfile
from serving.protocol import Overloaded

logger = logging.getLogger(__name__)

_UNCOUNTED = ("/healthz", "/readyz")
"""Paths that a crowd of one address closes to nobody: who looks after the server may have the same."""
MOST_PATH_CHARACTERS = 1000
"""Litestar keeps the last 1024 paths that fitted a route, however long they are."""
_ABNORMAL = 1006
"""The close code of a connection that ended without one (RFC 6455)."""
_PIECE_BYTES = 65_536
"""Of a body. Who plays 32 kbit/s as they come takes it within 16 s, and shall not be given up."""
_BODY_HEADROOM_S = 1.0
"""A path with a deadline of its own for the body tells it in its own words first."""


class Full(ASGIMiddleware):
    """Refuses speech while admission can take nothing, before a body is looked at: a crowd must cost next to nothing.

    It stands behind the door: who has no key hears that first. What is wrong with a body nobody hears meanwhile. Not
    for a server that keeps answers: those need no room.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, full: Callable[[], Overloaded | None]) -> None:
        """`full` tells why the shortest text would be refused now, else None."""
        self._full = full

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope["route_handler"].opt.get("speaks") and (why := self._full()) is not None:
            await refuse(scope, send, 503, "overloaded", str(why), retry_after_s=why.retry_after_s)
            return
        await next_app(scope, receive, send)


class Guard:
    """An ASGI application around another one.

    Hosts: a server on a loopback address, or one with http.allowed_hosts, answers to those names alone, and to pages
    that came from them or from http.cors_origins. A page whose name was pointed at this machine (DNS rebinding) is so
    refused, and a form of another site too.

    Time: a body has http.body_s to arrive, a reader http.send_s to take what is ready for him. A connection on which
    nothing is asked has http.header_s: see Idle. What comes on WebSockets is taken in Turns.
    """

    def __init__(
        self, app: ASGIApp, http: HttpProfile, slow_bodies: Mapping[str, float], turns: Turns
    ) -> None:
        """`slow_bodies`: paths whose bodies have this many seconds of their own to arrive."""
        self._turns = turns
        self.left = Left(http.port, lambda: turns.is_crowded)
        self._app = app
        self.busy: Counter[int] = Counter()
        """Requests under way by the client's port. By that alone: how an address is written does not matter then."""
        self.ended_s: dict[int, float] = {}
        """When the last request of a port ended that has none under way, by time.monotonic()."""
        self._http = http
        self._slow_bodies = slow_bodies
        self._is_local = is_loopback(http.host)
        self._is_checked = (self._is_local or bool(http.allowed_hosts)) and "*" not in http.allowed_hosts
        self._hosts = {name.lower() for name in http.allowed_hosts}
        if self._is_local:
            self._hosts |= {"localhost", "127.0.0.1", "::1"}
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind: str = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        port = _port_of(scope)
        self.busy[port] += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.busy[port] -= 1
            if not self.busy[port]:
                del self.busy[port]
                self.ended_s[port] = time.monotonic()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (refusal := self._refusal(scope)) is not None:
            await refuse(scope, send, *refusal)
            return
        if scope["path"] in _UNCOUNTED and scope["type"] == ScopeType.HTTP:
            await self._timed(scope, receive, send)
            return
        address = scope["client"][0] if scope["client"] else ""
        if self._under_way[address] >= self._http.max_per_address:
            text = f"{self._http.max_per_address} requests of your address are under way, that is the limit"
            await refuse(scope, send, 429, "too_many_requests", text, retry_after_s=1)
            return
        self._under_way[address] += 1
        try:
            if scope["type"] == ScopeType.HTTP:
                await self._timed(scope, receive, send)
            else:
                await self._in_turns(scope, receive, send, address)
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]

    async def _in_turns(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        """Run the application of a WebSocket; what came from a client that has left is not read."""
        caller = self.left.came(_port_of(scope))

        async def receive_in_turn() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            message = await receive()
            await self._turns.take(address)
            return {"type": "websocket.disconnect", "code": _ABNORMAL} if caller.has_left else message

        try:
            await self._app(scope, receive_in_turn, send)
        finally:
            self.left.went(caller)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, code and detail of a request that may not be made."""
        if len(scope["path"]) > MOST_PATH_CHARACTERS:
            return 404, "not_found", f"no path has more than {MOST_PATH_CHARACTERS} characters"
        given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
        if len(given) > 1:
            return 400, "malformed_request", "a request has one Host header"
        if not given and scope["http_version"] == "1.1":
            return 400, "malformed_request", "a request has a Host header"
        if not self._is_checked:
            return None
        if given == [""] and scope["http_version"] in ("1", "1.0"):
            given = []  # Granian writes an empty one where there is none, as HTTP/1.0 allows
        if given and not self._is_own(host := _name_of(given[0])):
            return 421, "misdirected", f"this server is not {host[:100]!r}; see http.allowed_hosts"
        origin = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None
        )
        if origin is None or scope.get("method") == "OPTIONS":
            return None
        allowed = self._http.cors_origins
        if "*" in allowed or origin in allowed or self._is_own(_name_of(netloc_of(origin))):
            return None
        return 403, "forbidden", f"pages of {origin[:100]} may not ask this server; see http.cors_origins"

    def _is_own(self, host: str) -> bool:
        return host in self._hosts or (self._is_local and _is_this_machine(host))

    async def _timed(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Run the application with deadlines, and answer HEAD as GET without a body."""
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope["method"] = "GET"
        if scope["method"] == "OPTIONS":
            send = with_all_methods(scope, send)
        limit_s = self._slow_bodies.get(scope["path"].rstrip("/"), 0.0)
        limit_s = limit_s + _BODY_HEADROOM_S if limit_s else self._http.body_s
        until_s = asyncio.get_running_loop().time() + limit_s
        came = late = stalled = False

        async def timed_receive() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal came, late
            if came:
                return await receive()
            if late:
                return {"type": "http.disconnect"}
            try:
                async with asyncio.timeout_at(until_s):
                    message = await receive()
            except TimeoutError:
                late = True
                raise HTTPException(f"the body did not come within {limit_s:g} s", status_code=408) from None
            came = not message.get("more_body", False)
            return message

        async def timed_send(message: Message) -> None:
            nonlocal stalled
            if message["type"] == "http.response.start":
                message = message | {"headers": _with_nosniff(message["headers"])}
            elif is_head and message["type"] == "http.response.body":
                message = message | {"body": b""}
            try:
                for piece in _pieces(message):
                    async with asyncio.timeout(self._http.send_s):
                        await send(piece)
            except TimeoutError:
                stalled = True
                raise OSError("the reader takes nothing") from None

        try:
            await self._app(scope, timed_receive, timed_send)
        except Exception:
            if not stalled:
                logger.error("request %s: not answered to its end", request_id(Request(scope)), exc_info=True)
                raise
            logger.warning("a reader took nothing for %g s and is given up", self._http.send_s)


def _pieces(message: Message) -> Iterator[Message]:
    """A body that is long in several messages: while it waits to be taken its request is under way, and has limits."""
    if message["type"] == "http.response.body" and len(body := message.get("body", b"")) > _PIECE_BYTES:
        last = (len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES
        for at in range(0, last, _PIECE_BYTES):
            yield {"type": "http.response.body", "body": body[at : at + _PIECE_BYTES], "more_body": True}
        message = message | {"body": body[last:]}
    yield message


def _port_of(scope: Scope) -> int:
    """The client's port."""
    client = scope.get("client")
    return int(client[1]) if client else UNKNOWN  # Granian writes it as a string


def _is_this_machine(host: str) -> bool:
    """Whether browsers take this name or literal for this machine, whatever a name server says."""
    return host.endswith(".localhost") or is_loopback(host)


def _name_of(netloc: str) -> str:
    """The host of "host:port", "[::1]:port" or either without port, in lower case."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    return netloc.partition(":")[0].lower().rstrip(".")


def _with_nosniff(headers: object) -> list[tuple[bytes, bytes]]:
    kept = [(bytes(name), bytes(value)) for name, value in headers]  # type: ignore[attr-defined]
    if all(name.lower() != b"x-content-type-options" for name, _ in kept):
        kept.append((b"x-content-type-options", b"nosniff"))
    return kept
