"""Which processes of this machine a server is, found by the port that it listens on."""

from __future__ import annotations

import contextlib
import os

import psutil


def owners(port: int) -> set[int]:
    """Ids of the processes that listen on a TCP port of this machine, as far as this user may know."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return set()
    return {
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == port
        and connection.pid is not None
    }


def root(port: int) -> psutil.Process | None:
    """The process above all that listen on a port: a worker's parent is of the same process group. None if unknown.

    It is never this process or one above it: who starts a server and the bench from one script measures the server.
    """
    found: psutil.Process | None = None
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
        above = {process.pid for process in psutil.Process().parents()} | {os.getpid()}
        for pid in sorted(owners(port)):
            process = psutil.Process(pid)
            group = os.getpgid(pid)
            while (
                (parent := process.parent()) is not None
                and parent.pid not in above
                and os.getpgid(parent.pid) == group
            ):
                process = parent
            found = process if found is None or process.pid < found.pid else found
    return found
