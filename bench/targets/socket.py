"""A WebSocket whose messages are stamped in the socket's callback, as bench.load.http1 stamps a read of HTTP.

The library websockets parses the frames, without its own tasks and queues, which would wake a task per message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as Handshake
from websockets.protocol import State


class Socket(asyncio.Protocol):
    """One WebSocket; it serves one turn at a time."""

    def __init__(self, protocol: ClientProtocol, headers: dict[str, str]) -> None:
        self._protocol = protocol
        self._headers = headers
        self._transport: asyncio.Transport | None = None
        self._message = bytearray()
        self._is_text = False
        self.opened: asyncio.Future[Handshake | None] = asyncio.get_running_loop().create_future()
        """The server's answer to the handshake; None if the connection closed before it."""
        self._hear: Callable[[float, bytes | str], None] | None = None
        self._ended: Callable[[], None] | None = None
        self._unheard: list[tuple[float, bytes | str]] = []

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is State.OPEN

    @property
    def close_code(self) -> int:
        """Of the close frame; 1006 if there was none."""
        received = self._protocol.close_rcvd
        return 1006 if received is None else int(received.code)

    @property
    def close_reason(self) -> str:
        """The words of the close frame, or of what was wrong with the frames."""
        received, fault = self._protocol.close_rcvd, self._protocol.parser_exc
        if received is not None:
            return received.reason
        return "" if fault is None or isinstance(fault, EOFError) else str(fault)

    def listen(self, hear: Callable[[float, bytes | str], None], ended: Callable[[], None]) -> None:
        """Call `hear` with each message and the time at which its last byte was read, also with those that came
        already, and `ended` when nothing more can come."""
        self._hear, self._ended = hear, ended
        for now, message in self._unheard:
            hear(now, message)
        self._unheard.clear()
        if not self.open:
            ended()

    def deafen(self) -> None:
        """The turn is over: what comes now belongs to the next one."""
        self._hear = self._ended = None

    def send(self, message: str) -> None:
        """Send a text message; nothing if the socket has closed."""
        if self.open:
            self._protocol.send_text(message.encode())
            self._flush()

    def close(self) -> None:
        """Close politely if it is open, and drop the connection."""
        if self.open:
            self._protocol.send_close(1000)
            self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop for each read."""
        now = time.monotonic()
        self._protocol.receive_data(data)
        self._take(now)
        self._flush()

    def eof_received(self) -> None:
        """Called by the event loop."""
        self._protocol.receive_eof()
        self._take(time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        if not self.opened.done():
            self.opened.set_result(None)
        if self._ended is not None:
            self._ended()

    def _take(self, now: float) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Handshake):
                if not self.opened.done():
                    self.opened.set_result(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if event.opcode is not Opcode.CONT:
                    self._is_text = event.opcode is Opcode.TEXT
                self._message += event.data
                if event.fin:
                    whole = bytes(self._message)
                    self._message.clear()
                    message = whole.decode(errors="replace") if self._is_text else whole
                    if self._hear is not None:
                        self._hear(now, message)
                    else:
                        self._unheard.append((now, message))
        if self._protocol.state in (State.CLOSING, State.CLOSED) and self._ended is not None:
            self._ended()

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
