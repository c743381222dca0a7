"""Hosts, origins, deadlines and caps around the application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.http.front.guard import Guard
from serving.http.front.turns import Turns
from serving.profile import HttpProfile, load_profile

HOST = (b"host", b"127.0.0.1:8009")


def profile(*overrides: str) -> HttpProfile:
    return load_profile("default", overrides, environ={}).http


LONG = bytes(range(256)) * 800


class Asked:
    """One request to a Guard around an application that reads the body and answers with it."""

    def __init__(self, http: HttpProfile) -> None:
        self.guard = Guard(self.app, http, {"/slow": 0.2}, Turns())
        self.sent: list[Any] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        if scope["path"] == "/tts":
            await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        content = LONG if scope["path"] == "/long" else body or scope["method"].encode()
        await send({"type": "http.response.body", "body": content, "more_body": False})

    async def __call__(
        self,
        *headers: tuple[bytes, bytes],
        method: str = "POST",
        path: str = "/tts",
        kind: str = "http",
        version: str = "1.1",
        body: list[bytes] | None = None,
        takes: int = 99,
    ) -> int:
        """The status; 0 if none was sent. The client takes so many messages, and then no more."""
        parts = [b""] if body is None else list(body)
        self.sent = []

        async def receive() -> Any:
            if not parts:
                await asyncio.Event().wait()
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": body is not None}

        async def send(message: Any) -> None:
            if len(self.sent) >= takes:
                await asyncio.Event().wait()
            self.sent.append(message)

        scope: Any = {
            "type": kind,
            "http_version": version,
            "method": method,
            "path": path,
            "headers": list(headers),
            "client": ("10.0.0.9", 4),
        }
        if kind == "websocket":
            del scope["method"]
        await self.guard(scope, receive, send)
        return int(self.sent[0].get("status", 0)) if self.sent else 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8009", "localhost:1", "[::1]:8009", "LOCALHOST", "a.localhost", "127.8.8.8"],
)
async def test_a_loopback_server_answers_to_loopback_names(host: str) -> None:
    assert await Asked(profile())((b"host", host.encode())) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8009", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]", "localhost.x"],
)
async def test_a_loopback_server_answers_to_no_other(host: str) -> None:
    asked = Asked(profile())
    assert await asked((b"host", host.encode())) == 421
    assert (b"x-content-type-options", b"nosniff") in asked.sent[0]["headers"]
    assert await asked((b"host", host.encode()), kind="websocket") == 0
    assert asked.sent[0]["type"] == "websocket.close"


async def test_names_of_the_profile_are_answered_to() -> None:
    asked = Asked(profile('http.allowed_hosts=["Speech.example"]'))
    assert await asked((b"host", b"speech.example:80")) == 200
    assert await asked(HOST) == 200
    assert await asked((b"host", b"other.example")) == 421
    assert await Asked(profile('http.allowed_hosts=["*"]'))((b"host", b"other.example")) == 200
    outside = Asked(profile("http.host=0.0.0.0"))
    assert await outside((b"host", b"other.example")) == 200
    named = Asked(profile("http.host=0.0.0.0", 'http.allowed_hosts=["speech.example"]'))
    assert await named((b"host", b"speech.example")) == 200
    assert await named((b"host", b"127.0.0.1")) == 421


async def test_one_host_header() -> None:
    asked = Asked(profile())
    assert await asked(HOST, HOST) == 400
    assert await asked() == 400
    assert await asked(version="1.0") == 200


async def test_pages_of_other_origins_may_not_ask() -> None:
    asked = Asked(profile())
    assert await asked(HOST, (b"origin", b"http://localhost:3000")) == 200
    strangers = (
        b"https://evil.example",
        b"null",
        b"http://localhost.evil.example",
        b"http://localhost:1@evil",
    )
    for origin in strangers:
        assert await asked(HOST, (b"origin", origin)) == 403
    allowed = Asked(profile('http.cors_origins=["https://page.example"]'))
    assert await allowed(HOST, (b"origin", b"https://page.example")) == 200


async def test_head_is_get_without_a_body() -> None:
    asked = Asked(profile())
    assert await asked(HOST, method="HEAD") == 200
    assert asked.sent[1]["body"] == b""
    assert await asked(HOST, method="GET") == 200
    assert asked.sent[1]["body"] == b"GET"


async def test_a_body_has_a_deadline() -> None:
    asked = Asked(profile("http.body_s=0.05"))
    with pytest.raises(Exception, match=r"the body did not come within 0.05 s") as late:
        await asked(HOST, body=[b"{"])
    assert getattr(late.value, "status_code", None) == 408
    with pytest.raises(Exception, match=r"within 1.2 s"):
        await asked(HOST, body=[b"{"], path="/slow")


async def test_a_reader_that_takes_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(5):
        assert await Asked(profile("http.send_s=0.05"))(HOST, takes=0) == 0
    assert "took nothing for 0.05 s" in caplog.text


async def test_a_long_answer_is_under_way_and_has_a_limit_until_it_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Asked(profile("http.send_s=0.05"))
    assert await asked(HOST, path="/long") == 200
    bodies = [message["body"] for message in asked.sent[1:]]
    assert b"".join(bodies) == LONG
    assert max(map(len, bodies)) < len(LONG) // 2
    assert [message["more_body"] for message in asked.sent[1:]] == [True] * (len(bodies) - 1) + [False]
    async with asyncio.timeout(5):
        assert await asked(HOST, path="/long", takes=2) == 200
    assert "took nothing for 0.05 s" in caplog.text


async def test_requests_of_one_address_are_counted_while_they_last() -> None:
    asked = Asked(profile("http.max_per_address=2"))
    asked.hold.clear()
    busy = [asyncio.create_task(asked(HOST)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await asked(HOST) == 429
    assert (b"retry-after", b"1") in asked.sent[0]["headers"]
    for path in ("/healthz", "/readyz"):
        assert await asked(HOST, path=path) == 200, "who watches may have the address of a crowd"
    asked.hold.set()
    await asyncio.gather(*busy)
    assert await asked(HOST) == 200


async def test_a_host_that_is_empty_because_http_1_0_has_none() -> None:
    asked = Asked(profile())
    assert await asked((b"host", b""), version="1") == 200
    assert await asked((b"host", b""), version="1.0") == 200
    assert await asked((b"host", b"evil.example"), version="1.0") == 421
