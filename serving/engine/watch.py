"""What may look on while utterances are spoken: quotas, metrics, traces. It changes nothing that is spoken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from serving.protocol import SpeechParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.engine.utterance import Utterance


class Load(NamedTuple):
    """What an engine has to do, as its client counts it."""

    requests: int
    """Admitted and not ended."""
    audio_s: float
    """Promised, or made and not yet read."""
    restarts: int
    """Starts again after a death."""


class Watch(Protocol):
    """Looks on one utterance. Its methods are called in the event loop, never wait and never raise."""

    def made(self, samples: NDArray[np.float32]) -> None:
        """The engine made these samples, mono float32 [n]."""
        ...

    def ended(self, utterance: Utterance) -> None:
        """The engine makes no more of it; called once. Made samples may still be unread."""
        ...


Watcher = Callable[[SpeechParams, bool, float], Watch | None]
"""Called in the task that submits, with the parameters, whether a listener waits, and the seconds that the text
promises. It may raise Overloaded to refuse; the first of several watchers alone.
"""
