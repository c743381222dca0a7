"""A lean HTTP/1.1 client that stamps each piece of audio the moment the event loop hands it over.

A general client does more work per byte (models of headers, pools, an iterator woken per chunk) on the cores
that the server under test needs, and stamps a chunk after its own wake-ups. This one parses inside the socket
callback: no task runs per chunk, and one stamp covers one read. The parser does no I/O, so that the Locust
users measure with the same code.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_HEADER_BYTES = 65_536
MAX_BODY_BYTES = 256 << 20
"""More than an hour of speech: a server that sends without end must not fill the memory before its deadline."""
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_BETWEEN_CHUNKS, _TRAILERS, _UNTIL_CLOSE = -2, -3, -1


class HttpError(Exception):
    """The answer is not HTTP/1.1 as this client reads it."""


@dataclass(slots=True)
class Response:
    """One answer, as far as it was read. Times are of time.monotonic()."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    header_at: float = 0.0
    pieces: list[tuple[float, bytes, bool]] = field(default_factory=list)
    """(time, body bytes, begins a new HTTP chunk) as they were read."""
    complete: bool = False
    """The end that the header announced was seen: the last chunk, or all of Content-Length."""
    left: bool = False
    """The client went before that, on purpose."""


def request_bytes(
    method: str, host: str, path: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
) -> bytes:
    """The bytes of a request. Raises ValueError if a part of its head has a line end or is not Latin-1."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if content is not None:
        lines.append(f"Content-Length: {len(content)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line end in the head of a request")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (content or b"")


class ResponseParser:
    """Bytes of one answer to a Response."""

    def __init__(self) -> None:
        self.response = Response()
        self._buffer = bytearray()
        self._in_header = True
        self._chunked = False
        self._left = 0
        self._fresh = False
        self._size = 0

    def feed(self, data: bytes, now: float) -> None:
        """Take what was read at `now`. Raises HttpError. response.complete tells when the end was seen."""
        self._buffer += data
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise HttpError(f"an answer of more than {MAX_BODY_BYTES >> 20} MiB")
        try:
            while self._in_header:
                if not self._read_header(now):
                    return
            if self._chunked:
                self._read_chunks(now)
            else:
                self._read_body(now)
        except ValueError as error:
            raise HttpError(str(error)) from None
        if self._buffer and self.response.complete:
            raise HttpError("bytes after the end of the answer")

    def end(self) -> None:
        """The server closed without a fault: the end of a body that has no other (RFC 9112, section 6.3)."""
        if self.response.status and not self._chunked and self._left == _UNTIL_CLOSE:
            self.response.complete = True

    def _read_header(self, now: float) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise HttpError("a header without end")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, status = first.split(" ", 2)[:2]
        if not version.startswith("HTTP/1"):
            raise HttpError(f"not HTTP/1: {first[:40]!r}")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if len(status) == 3 and status[0] == "1" and status != "101":
            return True  # for information only: the answer itself follows
        self.response.status = int(status)
        self.response.headers = headers
        self.response.header_at = now
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._left = _BETWEEN_CHUNKS if self._chunked else _length(headers, int(status))
        self._in_header = False
        return True

    def _read_body(self, now: float) -> None:
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self.response.pieces.append((now, data, True))
            if self._left >= 0:
                self._left -= len(data)
                if self._left < 0:
                    raise HttpError("more body than Content-Length states")
        if self._left == 0:
            self.response.complete = True

    def _read_chunks(self, now: float) -> None:
        # _left counts the bytes to come of the current chunk and of its CRLF.
        while self._buffer:
            if self._left in (_BETWEEN_CHUNKS, _TRAILERS):
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    if len(self._buffer) > MAX_HEADER_BYTES:
                        raise HttpError("a chunk size without end")
                    return
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if self._left == _TRAILERS:
                    if not line:
                        self.response.complete = True
                        return
                    continue
                digits = line.split(b";", 1)[0].strip()
                if not _SIZE.fullmatch(digits):
                    raise HttpError(f"not a chunk size: {digits[:20]!r}")
                size = int(digits, 16)
                self._left = size + 2 if size else _TRAILERS
                self._fresh = True
                continue
            data = bytes(self._buffer[: max(self._left - 2, 0)])
            taken = min(len(self._buffer), self._left)
            ending = bytes(self._buffer[len(data) : taken])
            if ending != b"\r\n"[-min(self._left, 2) :][: len(ending)]:
                raise HttpError("a chunk longer than its size")
            del self._buffer[:taken]
            self._left = self._left - taken or _BETWEEN_CHUNKS
            if data:
                self.response.pieces.append((now, data, self._fresh))
                self._fresh = False


def _length(headers: dict[str, str], status: int) -> int:
    """Bytes of a body that is not in chunks; _UNTIL_CLOSE if the header does not say. Raises HttpError."""
    if status in (204, 304):
        return 0
    stated = headers.get("content-length")
    if stated is None:
        return _UNTIL_CLOSE
    if not (stated.isascii() and stated.isdigit()):
        raise HttpError(f"Content-Length: {stated[:20]}")
    return int(stated)


class Connection(asyncio.Protocol):
    """One connection to the server; at most one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = ResponseParser()
        self._done: asyncio.Future[None] | None = None
        self._leave_after_s: float | None = None
        self.open = False

    async def request(self, message: bytes, timeout_s: float, leave_after_s: float | None = None) -> Response:
        """Send a request and read its answer to its end, or to the end of the connection.

        The answer is incomplete if the connection broke off. A client that leaves closes the connection so long
        after the first piece of the body. Raises TimeoutError and HttpError, and closes the connection;
        `response` holds what was read.
        """
        assert self._transport is not None
        self._leave_after_s = leave_after_s
        self._parser = ResponseParser()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        try:
            async with asyncio.timeout(timeout_s):
                await self._done
        except BaseException:
            self.close()
            raise
        finally:
            self._done = None
        response = self.response
        if not response.complete or response.headers.get("connection", "").lower() == "close":
            self.close()
        return response

    @property
    def response(self) -> Response:
        """The answer as far as it was read."""
        return self._parser.response

    def close(self) -> None:
        """Drop the connection at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop, also when the server has closed."""
        self.open = False
        if self._done is not None and not self._done.done():
            if exc is None:
                self._parser.end()
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop for each read."""
        now = time.monotonic()
        if self._done is None or self._done.done():
            self.close()
            return
        try:
            self._parser.feed(data, now)
        except HttpError as error:
            self._done.set_exception(error)
            return
        if self._parser.response.complete:
            self._done.set_result(None)
        elif self._leave_after_s is not None and self._parser.response.pieces:
            asyncio.get_running_loop().call_later(self._leave_after_s, self._leave, self._done)
            self._leave_after_s = None

    def _leave(self, done: asyncio.Future[None]) -> None:
        if done is self._done and not done.done():
            self.response.left = True
            self.close()
            done.set_result(None)
