"""Health on a port of its own, answered by the main process, whatever the HTTP process is busy with."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import socket
import struct
import threading
import time

ALIVE_S = 2.0
"""The HTTP process lives if its event loop has turned within this time."""
_REQUEST_S = 2.0
_MOST_CONNECTIONS = 256
_STATE = struct.Struct("<d?")


class Beat:
    """Memory that the main process shares with the HTTP process, its child by fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STATE.size)

    def tell(self, is_ready: bool) -> None:
        """The event loop turns, and the engine is ready or not."""
        self._memory[:] = _STATE.pack(time.monotonic(), is_ready)

    def state(self) -> tuple[bool, bool]:
        """Whether the HTTP process lives, and whether it takes requests."""
        told_s, is_ready = _STATE.unpack(self._memory[:])
        lives = time.monotonic() - told_s < ALIVE_S
        return lives, lives and is_ready


class HealthListener:
    """GET and HEAD /healthz and /readyz over HTTP/1.1, one request a connection, from a thread of its own."""

    def __init__(self, listener: socket.socket, beat: Beat) -> None:
        self._listener = listener
        self._beat = beat
        self._open = 0

    def start(self) -> None:
        """Answer from now on, until this process ends."""
        threading.Thread(target=lambda: asyncio.run(self._run()), name="health", daemon=True).start()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._answer, sock=self._listener, limit=8192)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_REQUEST_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # no request came, or nobody reads the answer
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        lives, ready = self._beat.state()
        status, word = {
            b"/healthz": (b"200 OK", b"ok") if lives else (b"503 Service Unavailable", b"stalled"),
            b"/readyz": (b"200 OK", b"ready") if ready else (b"503 Service Unavailable", b"not ready"),
        }.get(path, (b"404 Not Found", b"not found"))
        if method not in (b"GET", b"HEAD"):
            status, word = b"405 Method Not Allowed", b"GET or HEAD"
        body = b'{"status":"' + word + b'"}'
        lines = [
            b"HTTP/1.1 " + status,
            b"Content-Type: application/json",
            b"X-Content-Type-Options: nosniff",
            b"Content-Length: " + str(len(body)).encode(),
            b"Connection: close",
        ]
        return b"\r\n".join([*lines, b"", b"" if method == b"HEAD" else body])
