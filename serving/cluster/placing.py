"""Which engine speaks a request: the least loaded, and of several the one that has spoken the voice. No Ray."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

SLACK = 2
"""A voice stays with its home while that has at most this many requests more than the least loaded engine. It is what
a voice's conditioning, computed anew, is held to be worth.
"""


def ranks(voice: str, loads: Mapping[str, int], slack: int = SLACK) -> list[list[str]]:
    """Names of engines, the best first, in ranks of which each is tried before the next.

    `loads` are requests under way by engine. Every router comes to the same answer without talking to the others:
    a voice's home is the engine with the highest hash of voice and name (rendezvous hashing), so that an engine that
    comes or goes moves the voices of no other.
    """
    if not loads:
        return []
    least = min(loads.values())
    near = [name for name, load in loads.items() if load <= least + slack]
    home = max(near, key=lambda name: (_weight(voice, name), name))
    others = sorted((name for name in loads if name != home), key=lambda name: (loads[name], name))
    return [[home], *([name] for name in others)]


def _weight(voice: str, name: str) -> int:
    return int.from_bytes(blake2b(f"{voice}\0{name}".encode(), digest_size=8).digest())
