"""Work of many connections in one event loop: few of them work in each turn of the loop, so that all others wait for
a piece of work or two and not for as many as there are connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

SHORT_S = 0.001
"""After a turn of the loop that was shorter than this, twice as many work in the next; after a longer one, one."""
MOST = 8
"""Who work in a turn."""


class Turns:
    """Who works next; addresses in turn, and the connections of an address in order. Use it from one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._taken = False
        """Somebody works in this turn of the loop."""
        self._count = 1
        """How many may in the next."""
        self._begun_s = 0.0
        """When this one began."""

    @property
    def is_crowded(self) -> bool:
        """Somebody waits."""
        return bool(self._waiting)

    async def take(self, address: str) -> None:
        """Wait for a turn. It is the caller's until he awaits something next."""
        if not self._taken:
            self._taken = True
            asyncio.get_running_loop().call_soon(self._next)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        await turn

    def _next(self) -> None:
        """Called once in each turn of the loop, as long as somebody takes one."""
        now_s = time.monotonic()
        self._count = min(2 * self._count, MOST) if now_s - self._begun_s < SHORT_S else 1
        self._begun_s = now_s
        begun = 0
        while self._waiting and begun < self._count:
            address = next(iter(self._waiting))
            waiting = self._waiting.pop(address)
            turn = waiting.popleft()
            if waiting:
                self._waiting[address] = waiting  # behind the other addresses
            if not turn.done():  # else whoever waited is gone
                turn.set_result(None)
                begun += 1
        self._taken = begun > 0
        if begun:
            asyncio.get_running_loop().call_soon(self._next)
