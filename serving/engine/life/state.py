"""What speaks for an EngineClient, wherever it lives, and the states that it can be in."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from serving.profile import Profile
from serving.protocol import Broken, FailureCode, FromEngine, NotReady, Ready, Stats, ToEngine, Warming

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FAILED_RETRY_S = 60.0
"""A caller is told to come back after this, where no engine can be started."""


class EngineState(enum.Enum):
    """What the engine can be asked for now."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    IDLE = "idle"
    """Unloaded, because nobody spoke for engine.idle_unload_s; the next request starts it."""
    STOPPED = "stopped"


class EngineUnavailable(RuntimeError):
    """The engine did not become ready; the message says why, in the engine's own words where it had some."""


Receive = Callable[[FromEngine, "NDArray[np.float32] | None"], None]
"""Takes a message of an engine, and the samples of a Chunk."""
OnDown = Callable[[FailureCode, str], None]
"""Takes the reason when no request can go on."""


class Sender(Protocol):
    def send(self, message: ToEngine) -> object: ...


class Life(Protocol):
    """What speaks for an EngineClient: one engine here (Supervisor), or several elsewhere (serving/cluster)."""

    state: EngineState
    warming: Warming | None
    info: Ready | None
    problem: str | None
    restarts: int
    engines: int
    """That share the requests now; each brings the bounds of profile.admission."""

    def start(self) -> None: ...

    async def wait_ready(self, timeout_s: float) -> Ready: ...

    async def first_start(self) -> None:
        """Wait until it is known how the first start ends."""
        ...

    async def stop(self) -> None: ...

    async def stats(self) -> Stats:
        """Raises NotReady if they cannot be told, or not soon."""
        ...

    @property
    def pair(self) -> Sender | None:
        """What takes messages, without waiting; None while there is no engine."""
        ...

    def observe(self, message: Warming | Ready | Broken | Stats) -> None: ...

    def rest(self, ready_s: float) -> None: ...

    def not_ready(self, *, wake: bool = False) -> NotReady: ...

    def retry_after_s(self) -> float: ...


Supervise = Callable[[Profile, Receive, OnDown], Life]
