"""Knows which WebSocket clients have left, though much of what they sent waits to be read.

A server hears that a client has left behind everything that the client sent. Of a crowd that sends small messages as
fast as it can and leaves, that is minutes of work for nobody. So while messages wait for their turn, the sockets
themselves are looked at: this process's own, found among its open files.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

from serving.http.front.idle import UNKNOWN, staying

LOOK_S = 1.0


class Caller:
    """A WebSocket that is open."""

    def __init__(self, port: int) -> None:
        self.port = port
        """The client's."""
        self.has_left = False


class Left:
    """Looks at the sockets of a port. Use it from one event loop."""

    def __init__(self, port: int, is_crowded: Callable[[], bool]) -> None:
        """It looks while `is_crowded`."""
        self._port = port
        self._is_crowded = is_crowded
        self._callers: set[Caller] = set()

    def came(self, port: int) -> Caller:
        """A WebSocket from this port of a client was opened."""
        caller = Caller(port)
        self._callers.add(caller)
        return caller

    def went(self, caller: Caller) -> None:
        """It is closed."""
        self._callers.discard(caller)

    async def run(self) -> None:
        """Look from now on. Returns at once where the system does not list open files."""
        while sys.platform == "linux":
            await asyncio.sleep(LOOK_S)
            if self._is_crowded():
                await self.look()

    async def look(self) -> None:
        """Note who has left. Who comes meanwhile is not looked at."""
        callers = [caller for caller in self._callers if caller.port != UNKNOWN]
        # There may be no file left to list the others with.
        with contextlib.suppress(OSError):
            ports = await asyncio.to_thread(staying, self._port)
            for caller in callers:
                caller.has_left = ports is not None and caller.port not in ports
