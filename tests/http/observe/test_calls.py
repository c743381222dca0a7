"""How a call ended, in one word, from the messages that went out."""

from __future__ import annotations

from typing import Any

import pytest

from serving.http.observe.calls import Call


def http(status: int, *, more: bool = False) -> list[Any]:
    return [
        {"type": "http.response.start", "status": status},
        {"type": "http.response.body", "body": b"x", "more_body": more},
    ]


ACCEPT = {"type": "websocket.accept"}


@pytest.mark.parametrize(
    ("messages", "gone", "outcome"),
    [
        (http(200), False, "ok"),
        (http(201), True, "ok"),
        (http(304), False, "ok"),
        (http(200, more=True), True, "aborted"),
        (http(200, more=True), False, "failed"),
        ([], False, "failed"),
        ([], True, "aborted"),
        (http(400), False, "invalid"),
        (http(401), False, "unauthorized"),
        (http(403), False, "unauthorized"),
        (http(404), False, "invalid"),
        (http(429), False, "rate_limited"),
        (http(499), True, "aborted"),
        (http(500), False, "failed"),
        (http(503), False, "unavailable"),
        (http(504), False, "expired"),
    ],
)
def test_http(messages: list[Any], gone: bool, outcome: str) -> None:
    call = Call(is_http=True, gone=gone)
    for message in messages:
        call.sent(message)
    assert call.outcome == outcome


@pytest.mark.parametrize(
    ("messages", "gone", "outcome"),
    [
        ([{"type": "websocket.close", "code": 4401}], False, "unauthorized"),
        ([ACCEPT, {"type": "websocket.close", "code": 1000}], False, "ok"),
        ([ACCEPT, {"type": "websocket.send", "bytes": b"x"}], True, "ok"),
        ([ACCEPT], False, "failed"),
        ([ACCEPT, {"type": "websocket.close", "code": 1008}], False, "invalid"),
        ([ACCEPT, {"type": "websocket.close", "code": 1011}], False, "failed"),
    ],
)
def test_websocket(messages: list[Any], gone: bool, outcome: str) -> None:
    call = Call(is_http=False, gone=gone)
    for message in messages:
        call.sent(message)
    assert call.outcome == outcome
