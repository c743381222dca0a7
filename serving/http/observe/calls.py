"""Watches every call from outside the application: how long, how it ended, and whose log lines are whose."""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.speech import request_id
from serving.observe.logs import REQUEST_ID

if TYPE_CHECKING:
    from serving.http.observe.metrics import Metrics
    from serving.http.observe.traces import Traces

logger = logging.getLogger("serving.access")

_OUTCOMES = {401: "unauthorized", 403: "unauthorized", 429: "rate_limited", 499: "aborted"}
_OUTCOMES |= {503: "unavailable", 504: "expired"}
_NORMAL_CLOSES = (1000, 1001, 1005, None)
_INTERNAL = 1011


@dataclass(slots=True)
class Call:
    """One HTTP request or WebSocket, as it is seen from outside."""

    is_http: bool
    started_s: float = field(default_factory=time.perf_counter)
    first_byte_s: float | None = None
    status: int = 0
    """Of HTTP; 0 until it is known. Of a WebSocket 101 once it is open."""
    complete: bool = False
    gone: bool = False
    """The client left before the end."""
    close_code: int | None = None
    utterances: int = 0

    def sent(self, message: Message) -> None:
        """Take note of what goes out."""
        match message["type"]:
            case "http.response.start":
                self.status = message["status"]
            case "http.response.body":
                if self.first_byte_s is None and message.get("body"):
                    self.first_byte_s = time.perf_counter()
                self.complete = not message.get("more_body", False)
            case "websocket.accept":
                self.status = 101
            case "websocket.send":
                if self.first_byte_s is None and message.get("bytes"):
                    self.first_byte_s = time.perf_counter()
            case "websocket.close":
                self.complete = True
                self.close_code = message.get("code")

    @property
    def outcome(self) -> str:
        """One word: ok, invalid, unauthorized, rate_limited, unavailable, expired, aborted or failed."""
        if not self.is_http:
            return self._outcome_of_socket()
        if self.status >= 400:
            return _OUTCOMES.get(self.status, "invalid" if self.status < 500 else "failed")
        if self.status and self.complete:
            return "ok"
        return "aborted" if self.gone else "failed"

    def _outcome_of_socket(self) -> str:
        if not self.status:
            return "unauthorized"
        if not self.complete:
            return "ok" if self.gone else "failed"
        if self.close_code in _NORMAL_CLOSES:
            return "ok"
        return "failed" if self.close_code == _INTERNAL else "invalid"


CALL: ContextVar[Call | None] = ContextVar("call", default=None)
"""The call that this task answers."""


class Watched:
    """An ASGI application, watched. It is the outermost part: what no route answers is seen too."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics | None, *, access_log: bool, traces: Traces | None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(is_http=scope["type"] == ScopeType.HTTP)

        async def noted(message: Message) -> None:
            call.sent(message)
            try:
                await send(message)
            except asyncio.CancelledError:  # a reader that takes nothing was given up
                call.gone, call.complete = True, False
                raise

        async def coming() -> Any:
            message = await receive()
            if message["type"] in ("http.disconnect", "websocket.disconnect"):
                call.gone = True
            return message

        identity = REQUEST_ID.set(request_id(Request(scope)))
        token = CALL.set(call)
        method = _method(scope)  # the guard makes a GET of a HEAD
        span = None if self._traces is None else self._traces.begin(scope)
        try:
            await self._app(scope, coming, noted)
        finally:
            self._record(scope, call, method)
            if span is not None:
                span.end(_endpoint(scope), call)
            CALL.reset(token)
            REQUEST_ID.reset(identity)

    def _record(self, scope: Scope, call: Call, method: str) -> None:
        endpoint, outcome = _endpoint(scope), call.outcome
        duration_s = time.perf_counter() - call.started_s
        if (metrics := self._metrics) is not None:
            metrics.requests.labels(method, endpoint, outcome).inc()
            if call.utterances:
                metrics.duration.labels(endpoint).observe(duration_s)
                if call.first_byte_s is not None:
                    metrics.first_byte.labels(endpoint).observe(call.first_byte_s - call.started_s)
        if self._access_log:
            fields = {
                "method": method,
                "endpoint": endpoint,
                "status": call.status,
                "outcome": outcome,
                "duration_ms": round(duration_s * 1e3, 1),
                "client": (scope.get("client") or ("",))[0],
                "key": scope["state"].get("key"),
            }
            logger.info("answered", extra={"fields": fields})


def _endpoint(scope: Scope) -> str:
    """The template of the route, so that what a client makes up cannot become a label."""
    return str(scope.get("path_template") or "none")


def _method(scope: Scope) -> str:
    method = str(scope.get("method", "WEBSOCKET"))
    return method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "WEBSOCKET") else "other"
