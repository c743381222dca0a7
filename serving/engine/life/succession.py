"""One engine after the other: which takes requests, which is to follow it, which speak to their end."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from serving.engine.life.memory import free_bytes
from serving.engine.life.state import EngineState, EngineUnavailable, Life
from serving.profile import Profile, ProfileError
from serving.protocol import Ready

logger = logging.getLogger(__name__)

LOOK_S = 0.05
"""An engine that is to end is looked at this often."""
FIXED = ("http", "access", "voices", "websocket", "observe", "batch", "cache", "text")
"""Tables of a profile that belong to the HTTP process: they change with a restart alone."""


class Succession:
    """Which engine is asked now. Use it from one event loop."""

    def __init__(self, first: Life, make: Callable[[Profile], Life]) -> None:
        self.current = first
        self._make = make
        self._next: Life | None = None
        self._leaving: dict[Life, asyncio.Task[None]] = {}

    async def change(
        self, profile: Profile, take: Callable[[], None], speaks: Callable[[Life], bool]
    ) -> Ready:
        """Start an engine by `profile` beside the one there is, and give it the requests from the moment it is ready.

        `take` is called in that moment, in the same turn of the event loop. The old engine is ended once it
        does not speak any more. Raises EngineUnavailable, and then all is as it was.
        """
        if self._next is not None:
            raise EngineUnavailable("another engine is being started already")
        old = self.current
        if old.info is not None and old.info.pid != os.getpid():  # in a thread its memory is everybody's
            check_memory(old.info.pid)
        follower = self._next = self._make(profile)
        try:
            follower.start()
            await follower.first_start()
            if follower.info is None:
                raise EngineUnavailable(follower.problem or f"the new engine is {follower.state.value}")
            if old.state is EngineState.STOPPED:
                raise EngineUnavailable("the server is being stopped")
        except BaseException:
            self._next = None
            await follower.stop()
            raise
        self._next = None
        follower.restarts = old.restarts
        self.current = follower
        take()
        self._leaving[old] = asyncio.create_task(self._leave(old, speaks))
        return follower.info

    async def _leave(self, old: Life, speaks: Callable[[Life], bool]) -> None:
        while speaks(old):  # noqa: ASYNC110 - seldom
            await asyncio.sleep(LOOK_S)
        await old.stop()
        self._leaving.pop(old, None)
        logger.info("the engine before has spoken to its end, and is gone")

    async def stop(self) -> None:
        """End every engine. Idempotent; the stop outlives a cancelled caller."""
        engines = [self.current, *self._leaving, *([] if self._next is None else [self._next])]
        for leaving in self._leaving.values():
            leaving.cancel()
        await asyncio.gather(*(engine.stop() for engine in engines))


def check_memory(pid: int) -> None:
    """Raise EngineUnavailable if there is no room for a second process as large, in the machine or in what of it this
    server was given. A device is not asked."""
    status = _lines(Path(f"/proc/{pid}/status"))
    needed = 1024 * (status.get("RssAnon", 0) + status.get("RssShmem", 0))
    free = free_bytes()
    if free is not None and free < needed:
        raise EngineUnavailable(
            f"a second engine needs about {needed / 1e9:.1f} GB beside the first, {free / 1e9:.1f} GB are free"
        )


def _lines(file: Path) -> dict[str, int]:
    """The lines "Name:  123 kB" of a file of /proc; empty if there is none."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(value) for name, value, _ in pairs}


def check_fixed(now: Profile, then: Profile) -> None:
    """Raise ProfileError, which names the key, for what `then` changes that an engine alone cannot."""
    if now.model.name != then.model.name:
        raise ProfileError(f"model.name: is {now.model.name} until the server is restarted")
    for table in FIXED:
        before, after = getattr(now, table), getattr(then, table)
        for key in before.__struct_fields__:
            if getattr(before, key) != getattr(after, key):
                raise ProfileError(f"{table}.{key}: changes only when the server is restarted")
