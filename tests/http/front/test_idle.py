"""Connections on which nothing is asked, found among this process's own sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving.http.front.idle import Idle, connected, hang_up


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the client's first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
        with client, served:
            yield client, served


def scope(client: socket.socket) -> Any:
    return {"type": "http", "client": client.getsockname()}


def test_a_connection_of_this_port_is_found_and_ended(pair: tuple[socket.socket, socket.socket]) -> None:
    client, served = pair
    port, peer = served.getsockname()[1], client.getsockname()
    assert connected(port) == {peer}
    hang_up(port, {("127.0.0.1", 1)})
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    hang_up(port, {peer})
    assert client.recv(1) == b""


def test_who_has_something_left_to_read_is_not_idle(pair: tuple[socket.socket, socket.socket]) -> None:
    _, served = pair
    served.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while served.send(bytes(65_536)):
            pass
    assert connected(served.getsockname()[1]) == set()


def test_only_those_without_a_request_for_too_long_are_late() -> None:
    idle, begun_s = Idle(1, 1.0), time.monotonic()
    silent, busy, done = (("10.0.0.9", port) for port in (1, 2, 3))
    for peer in (busy, done):
        idle.begin({"client": peer})  # type: ignore[arg-type, misc]
    peers = {silent, busy, done}
    assert idle._late(peers, begun_s) == set()
    idle.end({"client": done})  # type: ignore[arg-type, misc]
    assert idle._late(peers, begun_s + 2.9) == set()
    assert idle._late(peers, time.monotonic() + 3.1) == {silent, done}
    idle.end({"client": busy})  # type: ignore[arg-type, misc]
    assert idle._late({("10.0.0.9", 7)}, time.monotonic() + 9) == set(), "a new connection has its time"
    assert not idle._ended_s
