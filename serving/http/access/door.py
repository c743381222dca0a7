"""Lets requests and WebSockets in by their API key. A route answers without one only if it says so itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from litestar.enums import ScopeType
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.middleware import ASGIMiddleware
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from serving.access.address import is_loopback
from serving.access.keys import Key, Keys, KeysError
from serving.access.usage import CURRENT, AudioOfKey, Ledger
from serving.models.base import ModelSpec
from serving.profile import Profile, ProfileError
from serving.protocol import NotReady

logger = logging.getLogger(__name__)

PUBLIC: dict[str, Any] = {"without_key": True}
"""opt of a route that answers everybody."""
OPERATOR: dict[str, Any] = {"for_operators": True}
"""opt of a route that tells of everybody's requests."""
SPEAKS: dict[str, Any] = {"speaks": True}
"""opt of a route that asks the engine to speak."""

MAX_KEY_BYTES = 512
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tts-serving"'}
_RETRY_S = 5.0
_POLICY = 1008
"""The close code of a WebSocket whose key is not known any more (RFC 6455)."""


def door_of(profile: Profile) -> Door | None:
    """What stands before the routes; None where whoever reaches the port may speak.

    Raises ProfileError if others reach http.host and neither keys nor their absence were asked for.
    """
    access = profile.access
    if access.keys_file:
        if access.let_anyone_in:
            raise ProfileError("access.let_anyone_in: contradicts access.keys_file; leave one out")
        return Door(Keys(Path(access.keys_file).expanduser()), Ledger(access))
    if not access.let_anyone_in and not is_loopback(profile.http.host):
        raise ProfileError(
            f"http.host: others reach {profile.http.host}; name a file of keys in access.keys_file "
            "(tts-serving keys add NAME --file FILE makes it), or set access.let_anyone_in=true"
        )
    return None


class Door(ASGIMiddleware):
    """Refuses with 401 who has no key, with 403 who may not here, with 429 who has used what the key may use."""

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, keys: Keys, ledger: Ledger) -> None:
        self._keys = keys
        self._ledger = ledger

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Let the call through, counted to its key until it ends."""
        opt = scope["route_handler"].opt
        if opt.get("without_key"):
            await next_app(scope, receive, send)
            return
        key = self._key_of(scope["headers"])
        scope["state"]["key"] = key.name
        if opt.get("for_operators") and not key.operator:
            raise PermissionDeniedException("this path is for keys that were made with --operator")
        usage = self._ledger.begin(key)
        token = CURRENT.set(usage)
        if scope["type"] == ScopeType.WEBSOCKET:
            receive = self._while_held(key, receive, send)
        try:
            await next_app(scope, receive, send)
        finally:
            CURRENT.reset(token)
            usage.end()

    def _while_held(self, key: Key, receive: Receive, send: Send) -> Receive:
        """The `receive` of a WebSocket. Its key may be taken away: then the next message ends it."""

        async def receive_held() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            message = await receive()
            if message["type"] != "websocket.receive" or self._keys.holds(key):
                return message
            await send({"type": "websocket.close", "code": _POLICY, "reason": "invalid_api_key"})
            return {"type": "websocket.disconnect", "code": _POLICY}

        return receive_held

    def _key_of(self, headers: Iterable[tuple[bytes, bytes]]) -> Key:
        try:
            key = self._keys.find(presented(headers))
        except KeysError:
            raise NotReady("the server cannot read its keys; its log says why", _RETRY_S) from None
        if key is None:
            raise NotAuthorizedException("this API key is not known here", headers=_CHALLENGE)
        return key


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key that a request presents: Authorization: Bearer KEY, or xi-api-key: KEY.

    Raises NotAuthorizedException for none, for more than one, and for what cannot be one.
    """
    given = [(name, value) for name, value in headers if name in (b"authorization", b"xi-api-key")]
    if not given:
        raise NotAuthorizedException("send an API key: Authorization: Bearer KEY", headers=_CHALLENGE)
    if len(given) > 1:
        raise NotAuthorizedException("send one API key, in one header", headers=_CHALLENGE)
    (name, value) = given[0]
    if name == b"authorization":
        scheme, _, value = value.partition(b" ")
        if scheme.lower() != b"bearer":
            raise NotAuthorizedException("send the API key as Authorization: Bearer KEY", headers=_CHALLENGE)
    value = value.strip(b" ")
    if not 0 < len(value) <= MAX_KEY_BYTES:
        raise NotAuthorizedException(f"an API key has 1 to {MAX_KEY_BYTES} bytes", headers=_CHALLENGE)
    return value


def audio_of_key(spec: ModelSpec, audio_s: float) -> AudioOfKey | None:
    """What counts an utterance of this task to its key; None if it has none. Raises RateLimited."""
    usage = CURRENT.get()
    return None if usage is None else AudioOfKey(usage, audio_s, spec.sample_rate_hz)
