"""Connections on which nothing is asked, found among this process's own sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from serving.http.front.idle import UNKNOWN, Idle, connected, hang_up, staying
from serving.http.front.left import Left


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the client's first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
        with client, served:
            yield client, served


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


def test_who_has_closed_his_side_stays_no_longer(pair: tuple[socket.socket, socket.socket]) -> None:
    client, served = pair
    port = served.getsockname()[1]
    assert staying(port) == {client.getsockname()[1]}
    client.shutdown(socket.SHUT_WR)
    assert staying(port) == set()
    assert staying(client.getsockname()[1]) == set()
    assert staying(1) is None, "nothing of this process has that port"


async def test_a_caller_has_left_once_his_connection_is_gone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, served = pair
    left = Left(served.getsockname()[1], lambda: True)
    caller, unknown = left.came(client.getsockname()[1]), left.came(UNKNOWN)
    await left.look()
    assert [caller.has_left, unknown.has_left] == [False, False]
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset
    client.close()
    await left.look()
    assert [caller.has_left, unknown.has_left] == [True, False]
    elsewhere = Left(1, lambda: True)
    stranger = elsewhere.came(7)
    await elsewhere.look()
    assert not stranger.has_left, "nothing of this process has that port, so nobody knows"


def test_only_those_without_a_request_for_too_long_are_late() -> None:
    busy: Counter[int] = Counter({2: 1, 3: 1})
    ended_s: dict[int, float] = {}
    idle = Idle(1, 1.0, busy, ended_s, 9)
    silent, asking, done = peers = [("10.0.0.9", port) for port in (1, 2, 3)]
    assert idle._late(set(peers), 100.0) == set()
    del busy[3]
    ended_s[3] = 101.0
    assert idle._late(set(peers), 102.9) == set()
    assert idle._late(set(peers), 103.1) == {silent}
    assert idle._late(set(peers), 104.1) == {silent, done}
    del busy[2]
    ended_s[2] = 110.0
    assert idle._late({asking}, 112.9) == set()
    assert idle._late({("10.0.0.9", 7)}, 120.0) == set(), "a new connection has its time"
    assert not ended_s


def test_nobody_is_late_while_it_is_not_known_who_asks() -> None:
    busy: Counter[int] = Counter({UNKNOWN: 1})
    idle = Idle(1, 1.0, busy, {}, 9)
    assert idle._late({("10.0.0.9", 1)}, 0.0) == idle._late({("10.0.0.9", 1)}, 100.0) == set()
    del busy[UNKNOWN]
    assert idle._late({("10.0.0.9", 1)}, 101.0) == set()
    assert idle._late({("10.0.0.9", 1)}, 105.0) == {("10.0.0.9", 1)}


def test_of_an_address_with_too_many_the_oldest_idle_ones_end() -> None:
    busy = Counter({1: 1})
    idle = Idle(1, 100.0, busy, {}, 2)
    first = {("a", 1), ("a", 2), ("b", 9)}
    assert idle._late(first, 0.0) == set()
    assert idle._late(first | {("a", 3), ("b", 8)}, 1.0) == {("a", 2)}, "a request is under way on the first"
