"""A request as the client of the engine sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.engine.watch import Watch
from serving.protocol import RequestStats, Segment, SpeechFailed, Times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.engine.life.state import Life


@dataclass(slots=True, eq=False)
class Utterance:
    """A request under way. Only the client that made it changes it."""

    request_id: str
    engine: Life | None = None
    """Who speaks it: another one may take the next requests meanwhile."""
    stats: RequestStats | None = None
    """What the request cost; set when it was spoken to its end."""
    failure: SpeechFailed | None = None
    """Why it was not."""
    ended: bool = False
    """The engine makes no more of it."""
    segments: list[Segment] = field(default_factory=list)
    """Those that were sent, if the request wants Times."""
    unread: deque[NDArray[np.float32] | Times] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    timed: bool = False
    watches: list[Watch] = field(default_factory=list)
    deadline: asyncio.TimerHandle | None = None
    """Ends the request here if the engine does not."""

    async def wait_ended(self) -> None:
        """Wait until the engine makes no more of it. What was made lies unread, and counts as that."""
        while not self.ended:
            self.wake.clear()
            await self.wake.wait()
