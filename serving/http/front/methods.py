"""What OPTIONS answers."""

from __future__ import annotations

from typing import Any

from litestar.routes import HTTPRoute
from litestar.types import Message, Scope, Send

SAYS_WHY_NOT: dict[str, Any] = {"says_why_not": True}
"""The opt of a handler that only tells why the server cannot do it, and is no method."""


def with_all_methods(scope: Scope, send: Send) -> Send:
    """Makes Allow name the methods of every handler of a path; Litestar's own answer knows the first one alone."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and "path_template" in scope:
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"allow"]
            if len(kept) < len(list(message["headers"])):
                message = message | {"headers": [*kept, (b"allow", _methods(scope))]}
        await send(message)

    return answer


def _methods(scope: Scope) -> bytes:
    names = {"OPTIONS"}
    for route in scope["litestar_app"].routes:
        if route.path_format == scope["path_template"] and isinstance(route, HTTPRoute):
            found = ((name, handler.opt) for name, (handler, _) in route.route_handler_map.items())
            names |= {str(name) for name, opt in found if not opt.get("says_why_not")}
    return ", ".join(sorted(names)).encode()
