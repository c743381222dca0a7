"""The socket that the server listens on, and what its connections get from it."""

from __future__ import annotations

import socket

import pytest

from serving.http.front.server import MOST_UNSENT_BYTES, AddressError, limit_connections, listen


def test_what_is_written_to_a_connection_is_sent_at_once() -> None:
    """Else the first samples of an answer wait until the client has acknowledged its head."""
    with listen("127.0.0.1", 0, 8) as listener:
        limit_connections(listener, send_s=20.0)
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert (
                    connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MOST_UNSENT_BYTES
                )


@pytest.mark.parametrize("host", ["", "a" * 300, "999.1.1.1"])
def test_a_name_that_is_none_is_told_so(host: str) -> None:
    with pytest.raises(AddressError, match=r"http\.host: .* is no address of this machine"):
        listen(host, 0, 1)
