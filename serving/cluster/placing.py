"""Which engine speaks a request: one that does nothing, else the voice's home unless it has far more to do. No Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

SLACK = 2
"""A voice stays with its home while that has at most this many requests more than the least loaded engine. It is what
a voice's conditioning, computed anew, is held to be worth; while an engine idles it is worth nothing.
"""


def ranks(voice: str, loads: Mapping[str, int], slack: int = SLACK) -> list[list[str]]:
    """Names of engines, the best first, in ranks of which each is tried before the next.

    `loads` are requests under way by engine. Every router comes to the same answer without talking to the others:
    a voice's home is the engine with the highest hash of voice and name (rendezvous hashing), so that an engine that
    comes or goes moves the voices of no other. No request waits for its home while another engine does nothing.
    """
    if not loads:
        return []
    least = min(loads.values())
    most = least + slack if least else 0
    near = [name for name, load in loads.items() if load <= most]
    home = max(near, key=lambda name: (_weight(voice, name), name))
    others = sorted((name for name in loads if name != home), key=lambda name: (loads[name], name))
    return [[home], *([name] for name in others)]


class UnderWay:
    """The requests of one router, by engine: from the moment an engine is chosen until the request has ended."""

    def __init__(self) -> None:
        self._engines: dict[str, str] = {}

    def chosen(self, request: str, engine: str) -> None:
        """An engine is to speak it."""
        self._engines[request] = engine

    def taken(self, request: str, engine: str) -> None:
        """That or another engine has taken it. Nothing if it has ended already."""
        if request in self._engines:
            self._engines[request] = engine

    def ended(self, request: str) -> None:
        """It has ended, or nobody wants it any more. Idempotent."""
        self._engines.pop(request, None)

    def loads(self, told: Mapping[str, int]) -> dict[str, int]:
        """Of each engine in `told`, which is what the engines have said of all routers' requests: that or our own.

        An engine says it only as it takes a request, so of long ones what it said may be old or forgotten.
        """
        own = Counter(self._engines.values())
        return {engine: max(load, own[engine]) for engine, load in told.items()}


def _weight(voice: str, name: str) -> int:
    return int.from_bytes(blake2b(f"{voice}\0{name}".encode(), digest_size=8).digest())
