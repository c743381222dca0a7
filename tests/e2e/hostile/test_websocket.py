"""Broken frames to both WebSocket endpoints: an error and the right close code, and nothing left."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.hostile.raw import exchange, head, status_of
from tests.support import Server

pytestmark = pytest.mark.e2e

SOCKETS = {"/v1/audio/speech/stream": "", "/v1/audio/speech/ws": "nari.speech.v1"}
CONFIG = {
    "/v1/audio/speech/stream": '{"type": "session.config"}',
    "/v1/audio/speech/ws": '{"type": "request.start"}',
}

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    length: int | None = None,
) -> bytes:
    """A frame of RFC 6455; `length` states another length than the payload's."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    if size < 126:
        start = struct.pack("!BB", first, masked | size)
    elif size < 1 << 16:
        start = struct.pack("!BBH", first, masked | 126, size)
    else:
        start = struct.pack("!BBQ", first, masked | 127, size)
    key = b"\x01\x02\x03\x04" if mask else b""
    body = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return start + key + body


def frames_of(answer: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of the frames of a server."""
    while len(answer) >= 2:
        opcode, size, at = answer[0] & 15, answer[1] & 127, 2
        if size == 126:
            size, at = struct.unpack("!H", answer[2:4])[0], 4
        elif size == 127:
            size, at = struct.unpack("!Q", answer[2:10])[0], 10
        yield opcode, answer[at : at + size]
        answer = answer[at + size :]


def upgrade(path: str, extensions: str = "") -> bytes:
    """The request that begins a WebSocket."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines.append(f"Sec-WebSocket-Key: {base64.b64encode(b'x' * 16).decode()}")
    if SOCKETS[path]:
        lines.append(f"Sec-WebSocket-Protocol: {SOCKETS[path]}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return head("GET", path, *lines)


async def websocket(
    server: Server, path: str, *frames: bytes, extensions: str = ""
) -> tuple[int | None, list[dict[str, Any]], list[int]]:
    """Send frames; the close code (None: cut without one), the events and the opcodes that came."""
    answer = await exchange(server, upgrade(path, extensions), *frames)
    header, _, content = answer.partition(b"\r\n\r\n")
    assert status_of(header) == 101, header
    assert b"permessage-deflate" not in header.lower()
    got = list(frames_of(content))
    codes = [struct.unpack("!H", payload[:2])[0] for opcode, payload in got if opcode == CLOSE and payload]
    return (
        codes[0] if codes else None,
        [json.loads(payload) for opcode, payload in got if opcode == TEXT],
        [opcode for opcode, _ in got],
    )


CUT = None
"""The server's WebSocket library cuts what breaks the framing itself; it sends no code of its own."""
BROKEN: dict[str, tuple[bytes, set[int | None]]] = {
    "reserved opcode": (frame(3, b"x"), {1002, CUT}),
    "reserved control opcode": (frame(11, b"x"), {1002, CUT}),
    "unmasked": (frame(TEXT, b"{}", mask=False), {1002, CUT}),
    "reserved bits": (frame(TEXT, b"{}", rsv=4), {1002, CUT}),
    "compressed without asking": (frame(TEXT, zlib.compress(b" " * 10_000_000), rsv=4), {1002, CUT}),
    "no UTF-8": (frame(TEXT, b"\xff\xfe\xfd"), {1007, CUT}),
    "a length of 2^62": (frame(TEXT, b"x", length=1 << 62), {1009, CUT}),
    "a length of 2^63": (frame(TEXT, b"x", length=1 << 63), {1002, 1009, CUT}),
    "a large ping": (frame(PING, b"x" * 126), {1002, CUT}),
    "a ping in pieces": (frame(PING, b"x", fin=False), {1002, CUT}),
    "a continuation of nothing": (frame(0, b"x"), {1002, CUT}),
    "a text within a text": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), {1002, CUT}),
    "a close of one byte": (frame(CLOSE, b"x"), {1002, CUT}),
    "a close with a wrong code": (frame(CLOSE, struct.pack("!H", 5)), {5, 1002, CUT}),
    "no JSON": (frame(TEXT, b"{"), {1007}),
    "nothing": (frame(TEXT), {1007}),
    "a deep array": (frame(TEXT, b'{"a": ' + b"[" * 50_000), {1007}),
    "a number too large": (frame(TEXT, b'{"type": ' + b"9" * 1000 + b"}"), {1008}),
    "half of a surrogate pair": (frame(TEXT, b'{"type": "\\ud800"}'), {1007}),
    "binary": (frame(BINARY, b"RIFF" * 100), {1003}),
    "a text as binary": (frame(BINARY, b'{"type": "session.config"}'), {1003}),
    "a frame too large": (frame(TEXT, b'"' + b"x" * 200_000 + b'"'), {1009}),
    "pieces too large": (
        frame(TEXT, b'"', fin=False) + frame(0, b"x" * 50_000, fin=False) * 4 + frame(0, b'"'),
        {1009},
    ),
    "no type": (frame(TEXT, b"{}"), {1008}),
    "a type that is no string": (frame(TEXT, b'{"type": {"a": []}}'), {1008}),
}


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("after_config", [False, True], ids=["first", "later"])
async def test_a_broken_frame_ends_the_connection(
    tone: Server, path: str, what: str, after_config: bool
) -> None:
    content, codes = BROKEN[what]
    first = [frame(TEXT, CONFIG[path].encode())] if after_config else []
    code, events, _ = await websocket(tone, path, *first, content)
    assert code in codes, (code, events)
    if codes.isdisjoint({CUT}):
        assert events[-1]["type"] == "error", events


@pytest.mark.parametrize("path", SOCKETS)
async def test_frames_that_are_only_unusual_are_taken(tone: Server, path: str) -> None:
    config = CONFIG[path].encode()
    pieces = [
        frame(TEXT, config[:3], fin=False),
        frame(PING, b"?"),
        frame(0, b"", fin=False),
        frame(0, config[3:]),
    ]
    one_by_one = [bytes([byte]) for byte in frame(TEXT, b'{"type": "dance"}')]
    code, events, opcodes = await websocket(tone, path, *pieces, *one_by_one)
    assert code == 1008
    assert PONG in opcodes
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "error"
    assert "dance" in json.dumps(events[-1]), "what came before it was taken"


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_character_may_be_divided_between_two_frames(tone: Server, path: str) -> None:
    content = '{"type": "Zürich 漢"}'.encode()
    pieces = [frame(TEXT, content[:1], fin=False)]
    pieces += [frame(0, content[at : at + 1], fin=False) for at in range(1, len(content) - 1)]
    config = frame(TEXT, CONFIG[path].encode())
    code, events, _ = await websocket(tone, path, config, *pieces, frame(0, content[-1:]))
    assert code == 1008
    assert "Zürich" in json.dumps(events[-1], ensure_ascii=False)


@pytest.mark.parametrize("path", SOCKETS)
async def test_compression_is_not_agreed_to(tone: Server, path: str) -> None:
    bomb = zlib.compress(b'{"type": "input.text", "text": "' + b"x" * 50_000_000 + b'"}')
    code, _, _ = await websocket(tone, path, frame(TEXT, bomb, rsv=4), extensions="permessage-deflate")
    assert code in (1002, CUT)


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_half_closed_socket_ends(tone: Server, path: str) -> None:
    config = frame(TEXT, CONFIG[path].encode())
    for frames in ((), (config,), (config[:-3],), (frame(TEXT, b"{", fin=False),)):
        await exchange(tone, upgrade(path), *frames, half_close=True)
