"""What OPTIONS answers."""

from __future__ import annotations

from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Scope, Send

SAYS_WHY_NOT: dict[str, Any] = {"says_why_not": True}


class AllMethods(ASGIMiddleware):
    """Makes Allow name the methods of every handler of a path; Litestar's own answer knows the first one alone.

    A handler with opt SAYS_WHY_NOT only tells why the server cannot do it, and is no method.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.lower() != b"allow"]
                message = message | {"headers": [*kept, (b"allow", _methods(scope))]}
            await send(message)

        await next_app(scope, receive, answer if scope.get("method") == "OPTIONS" else send)


def _methods(scope: Scope) -> bytes:
    names = {"OPTIONS"}
    for route in scope["litestar_app"].routes:
        if route.path_format == scope["path_template"] and isinstance(route, HTTPRoute):
            found = ((name, handler.opt) for name, (handler, _) in route.route_handler_map.items())
            names |= {str(name) for name, opt in found if not opt.get("says_why_not")}
    return ", ".join(sorted(names)).encode()
