"""Ends connections on which nothing is asked: whatever they wait for, Granian's own deadlines may not know it.

Who opens many and asks nothing would else hold all of them, by opening new ones as fast as they are ended.

Granian 2.8 has a deadline for a TLS handshake and one for the head of an HTTP/1.1 request, and none for an HTTP/2
connection without a stream. Each holds one of http.max_connections. The sockets are this process's own, so they are
found among its open files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

if sys.platform != "win32":
    import fcntl
    import termios

_FILES = Path("/proc/self/fd")
_LEAST_PAUSE_S = 0.5
_ESTABLISHED = 1
"""The first byte of TCP_INFO."""
_GRACE_S = 2.0
"""Granian's own deadlines come first."""

UNKNOWN = 0
"""The port of a client of whom the server does not say it."""
Peer = tuple[str, int]


class Idle:
    """Looks at the connections of a port again and again. Use it from one event loop."""

    def __init__(
        self, port: int, limit_s: float, busy: Mapping[int, int], ended_s: dict[int, float], most: int
    ) -> None:
        """A connection may be idle for `limit_s`, and a little more; of one address as long as it holds no more than
        `most`. `busy` and `ended_s` are a Guard's.
        """
        self._most = most
        self._port = port
        self._limit_s = limit_s + _GRACE_S
        self._busy = busy
        self._ended_s = ended_s
        self._since_s: dict[Peer, float] = {}

    async def run(self) -> None:
        """End idle connections from now on. Returns at once where the system does not list open files."""
        while sys.platform == "linux":
            await asyncio.sleep(max(self._limit_s / 4, _LEAST_PAUSE_S))
            # There may be no file left to list the others with; those who hold them are found the next time.
            with contextlib.suppress(OSError):
                peers = await asyncio.to_thread(connected, self._port)
                if late := self._late(peers, time.monotonic()):
                    await asyncio.to_thread(hang_up, self._port, late)

    def _late(self, peers: set[Peer], now_s: float) -> set[Peer]:
        """Those that have been idle for too long; none while a request of an unknown client is under way."""
        if UNKNOWN in self._busy:
            return set()
        since_s: dict[Peer, float] = {}
        for peer in peers:
            if peer[1] not in self._busy:
                known_s = (self._since_s.get(peer), self._ended_s.get(peer[1]))
                since_s[peer] = max((at_s for at_s in known_s if at_s is not None), default=now_s)
        ports = {port for _, port in peers}
        for port in [port for port in self._ended_s if port not in ports]:
            del self._ended_s[port]
        self._since_s = since_s
        late = {peer for peer, first_s in since_s.items() if now_s - first_s > self._limit_s}
        held = Counter(address for address, _ in peers - late)
        for peer in sorted(since_s.keys() - late, key=since_s.__getitem__):
            if held[peer[0]] > self._most:
                held[peer[0]] -= 1
                late.add(peer)
        return late


def connected(port: int) -> set[Peer]:
    """The clients whose connections to a port this process holds, without those who have something left to read."""
    peers = set()
    for peer, opened in _connections(port):
        with opened, contextlib.suppress(OSError):
            unread = fcntl.ioctl(opened, termios.TIOCOUTQ, bytes(4))
            if not any(unread):
                peers.add(peer)
    return peers


def staying(port: int) -> set[int] | None:
    """The ports of the clients who are connected to a port and have not closed their side.

    None if no socket of this process has that port: somebody else takes its connections.
    """
    ports: set[int] | None = None
    for opened in _sockets():
        with opened, contextlib.suppress(OSError, IndexError, TypeError):
            if opened.getsockname()[1] == port:
                ports = ports or set()
                if opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:
                    ports.add(opened.getpeername()[1])
    return ports


def hang_up(port: int, peers: set[Peer]) -> None:
    """End the connections of these clients; whoever owns the sockets sees their end and closes them."""
    for peer, opened in _connections(port):
        with opened, contextlib.suppress(OSError):
            if peer in peers:
                opened.shutdown(socket.SHUT_RDWR)


def _connections(port: int) -> Iterator[tuple[Peer, socket.socket]]:
    """Each client, and a copy of his socket, to be closed."""
    for opened in _sockets():
        try:
            ours = opened.getsockname()[1] == port
            peer = opened.getpeername()
        except (OSError, IndexError, TypeError):  # it listens, or is no socket of the Internet
            opened.close()
            continue
        if ours:
            yield (peer[0], peer[1]), opened
        else:
            opened.close()


def _sockets() -> Iterator[socket.socket]:
    """A copy of each socket of this process, to be closed: what a number stands for may change meanwhile."""
    for name in _FILES.iterdir():
        try:
            copy = os.dup(int(name.name))
        except OSError:  # closed since it was listed
            continue
        try:
            opened = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        yield opened
