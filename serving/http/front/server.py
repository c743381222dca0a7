"""Granian around the application: one HTTP process, started from Python with one set of settings."""

from __future__ import annotations

import contextlib
import errno
import functools
import multiprocessing
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server import MPServer

from serving.engine.life.lifeline import end_with_parent_process
from serving.engine.life.state import Supervise
from serving.engine.life.supervisor import Supervisor
from serving.http.front.health import Beat, HealthListener
from serving.observe.logs import begin_logs, log_config
from serving.observe.standard_files import open_standard_files
from serving.profile import HttpProfile, Profile, ProfileError

_OTHER_FILES = 256
"""Files that are no connections: libraries, the voices, the engine's socket. Where there are few, three quarters of
them: a dead engine is started again with some, however many clients there are.
"""
_LEAST_FILES = 64
_ENDING = {signal.SIGTERM, signal.SIGINT}
_SWITCH_S = 0.0005
"""The event loop asks for the interpreter lock several times on the way of one request. A thread that reads a text
gives it up after this; Python's own 5 ms add up.
"""
_MOST_HEAD_BYTES = 65_536
"""Of a request, in memory until it is whole. Thousands of connections may send heads that do not end, and one of HTTP/2
hundreds at once, in which a field that came before is a byte.
"""
_MOST_WAITING = 1024
"""Connections that the kernel holds until they are taken; it caps this itself."""


class AddressError(OSError):
    """The server cannot listen where the profile says."""


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens on a host and a port; port 0 takes a free one. Raises AddressError.

    It is bound once and held from then on: between a look at whether a port is free and its use another server could
    take it. It shares its port with no other, as Granian's own sockets would.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressError(f"http.host: {host[:100]!r} is no address of this machine: {reason}") from None
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        # Lets connections of a server that has just stopped linger; it does not share a port that listens.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(f"http.port: {port} on {address[0]} is taken by another server") from None
        raise AddressError(f"cannot listen on {address[0]} port {port}: {error.strerror}") from None
    return listener


MOST_UNSENT_BYTES = 65_536
"""Of a connection, in the kernel. One with megabytes takes more only when a third of them has gone, so that a client
who reads audio as it is played would seem to take nothing for half a minute.
"""


def limit_connections(listener: socket.socket, send_s: float) -> None:
    """What the kernel does for every connection of a listener: end those whose client is gone or takes nothing, and
    send what is written at once.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        # Else the first samples wait until the client acknowledges the head, up to 40 ms on a connection that is kept.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Also for a reader that keeps its window shut: what the application gave up is not kept for him.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(send_s * 1000))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)


def _open_files(wanted: int) -> int:
    """Raise the limit of open files of this process and its children towards `wanted`; what it is then.

    Raises ProfileError if that is too few to serve anybody.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        soft = wanted if hard == unlimited else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != unlimited and soft < _LEAST_FILES:
        raise ProfileError(
            f"this system lets the server open {soft} files, it needs {_LEAST_FILES}: ulimit -n"
        )
    return wanted if soft == unlimited else soft


def tls_files(http: HttpProfile) -> tuple[Path | None, Path | None]:
    """Certificate and private key, None for both without TLS. Raises ProfileError for what TLS cannot begin with."""
    if not (http.tls_cert or http.tls_key):
        return None, None
    for name, value in (("http.tls_cert", http.tls_cert), ("http.tls_key", http.tls_key)):
        if not value:
            raise ProfileError(f"{name}: is missing; TLS takes a certificate and its private key")
        try:
            Path(value).read_bytes()
        except OSError as error:
            raise ProfileError(f"{name}: cannot read {value}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refuse() -> bytes:
        raise ProfileError("http.tls_key: has a password, which nobody can type here")

    try:
        context.load_cert_chain(http.tls_cert, http.tls_key, refuse)
    except ssl.SSLError as error:
        raise ProfileError(f"http.tls_cert, http.tls_key: {error.reason or error}") from None
    return Path(http.tls_cert), Path(http.tls_key)


class _Server(MPServer):
    """Granian on a socket that is bound already, ended by SIGHUP as by SIGTERM."""

    def __init__(self, listener: socket.socket, health: HealthListener | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._listener = listener
        self._health = health

    def _init_shared_socket(self) -> None:
        if sys.platform != "linux":  # the workers of other systems cannot inherit a descriptor by its number
            self._listener.close()
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        self._sso = None
        self._shd = SocketHolder(self._listener.fileno(), False, self.backlog)  # type: ignore[call-arg, assignment]
        self._sfd = self._listener.fileno()  # type: ignore[assignment]

    def _drop_shared_socket(self) -> None:
        self._listener.close()
        super()._drop_shared_socket()  # type: ignore[no-untyped-call]

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        # Until the child has handlers of its own it has this process's, which would do nothing there: a signal waits.
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if self._health is not None:
            self._health.start()  # after the fork, which takes no threads along

    def hand_on(self, number: int, _: object) -> None:
        """Send a signal on to the HTTP process."""
        for worker in self.wrks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.inner.pid, number)

    def signal_handler_reload(self, *_: Any) -> None:
        """A closed terminal ends the server; unless it was started to outlive it (nohup)."""
        if not self._outlives_terminal:
            self.signal_handler_interrupt()  # type: ignore[no-untyped-call]

    _outlives_terminal = False

    def serve(self, *arguments: Any, **settings: Any) -> None:
        self._outlives_terminal = (
            sys.platform != "win32" and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        )
        super().serve(*arguments, **settings)


def serve(profile: Profile, reread: Callable[[], Profile], supervise: Supervise = Supervisor) -> None:
    """Serve until SIGTERM, SIGHUP or Ctrl-C, then let requests in flight finish within http.drain_s.

    At SIGUSR1 `reread` reads the profile again, and an engine by it takes over. `supervise` is called in the HTTP
    process and says where the engine lives.

    Raises AddressError before anything is started, ProfileError for TLS that cannot begin, too few open files or if the
    model refuses its options, and SystemExit(1) if the HTTP process or the engine failed; the log says why.
    """
    open_standard_files()
    if sys.platform == "linux" and multiprocessing.get_start_method(allow_none=True) is None:
        multiprocessing.set_start_method("fork")  # the HTTP process inherits the socket
    certificate, private_key = tls_files(profile.http)
    files = _open_files(profile.http.max_connections + _OTHER_FILES)
    connections = min(profile.http.max_connections, files - min(_OTHER_FILES, files * 3 // 4))
    backlog = min(connections, _MOST_WAITING)
    listener = listen(profile.http.host, profile.http.port, backlog)
    limit_connections(listener, profile.http.send_s)
    host, port = listener.getsockname()[:2]
    profile = msgspec.structs.replace(
        profile, http=msgspec.structs.replace(profile.http, host=host, port=port)
    )
    beat = Beat()
    health = None
    if profile.http.health_port:
        health = HealthListener(listen(host, profile.http.health_port, _MOST_WAITING), beat)
    begin_logs(profile.observe)
    refused, refuse = multiprocessing.Pipe(duplex=False)
    server = _Server(
        listener,
        health,
        target="serving.http.app:create_app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=1,
        loop=Loops.asyncio if sys.platform == "win32" else Loops.uvloop,
        http=HTTPModes.auto if profile.http.http2 else HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=max(1, int(profile.http.header_s * 1000)), max_buffer_size=_MOST_HEAD_BYTES
        ),
        http2_settings=HTTP2Settings(max_headers_size=_MOST_HEAD_BYTES),
        websockets=True,
        backlog=backlog,
        backpressure=connections,
        log_level=LogLevels.warning,
        log_dictconfig=log_config(profile.observe),
        respawn_failed_workers=False,
        workers_kill_timeout=profile.http.drain_s,
        ssl_cert=certificate,
        ssl_key=private_key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR1, server.hand_on)
    try:
        load = functools.partial(_load, profile, reread, refuse, beat, supervise)
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        if refused.poll():
            raise ProfileError(refused.recv()) from None
        raise


def _load(
    profile: Profile, reread: Callable[[], Profile], refuse: Connection, beat: Beat, supervise: Supervise
) -> Any:
    """Build the application in the HTTP process; a ProfileError goes to the parent, which reports it."""
    end_with_parent_process()
    sys.setswitchinterval(_SWITCH_S)
    if sys.platform != "win32":
        for number in _ENDING:  # at once while it loads; Granian's own handlers come after this
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # for the main process, which does what is to be done here
    from serving.http.app import create_app

    try:
        return create_app(profile, _stop_this_process, beat.tell, reread, supervise)
    except ProfileError as error:
        refuse.send(str(error))
        sys.exit(2)


def _stop_this_process() -> None:
    # The HTTP process ends in order, and Granian's main process, which did not ask for it, exits with 1.
    os.kill(os.getpid(), signal.SIGTERM)
