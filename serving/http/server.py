"""Granian around the application: one HTTP process, started from Python with one set of settings."""

from __future__ import annotations

import errno
import functools
import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import ssl
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.log import LogLevels

from serving.observe.logs import log_config
from serving.profile import HttpProfile, Profile, ProfileError

_CONNECTIONS_PER_REQUEST = 4
"""Open connections for each request that is admitted: a refusal must be answered, not queued."""
_MIN_CONNECTIONS = 1024


class AddressError(OSError):
    """The server cannot listen where the profile says."""


def resolve(host: str, port: int) -> tuple[str, int]:
    """An IP literal and a port that are free to listen on; port 0 becomes a free one.

    Granian takes only literals, and shares a port in silence with whatever listens there with SO_REUSEPORT: a
    plain bind finds out. Raises AddressError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise AddressError(f"http.host: {host!r} is no address of this machine: {error.strerror}") from None
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    with socket.socket(family, kind, protocol) as probe:
        # Lets connections of a server that has just stopped linger; it does not share a port that listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressError(f"http.port: {port} on {address[0]} is taken by another server") from None
            raise AddressError(f"cannot listen on {address[0]} port {port}: {error.strerror}") from None
        return str(address[0]), int(probe.getsockname()[1])


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


def serve(profile: Profile) -> None:
    """Serve until SIGTERM or Ctrl-C, then let requests in flight finish within http.drain_s.

    Raises AddressError before anything is started, ProfileError if the model refuses its options, and
    SystemExit(1) if the HTTP process or the engine failed; the log says why.
    """
    host, port = resolve(profile.http.host, profile.http.port)
    profile = msgspec.structs.replace(
        profile, http=msgspec.structs.replace(profile.http, host=host, port=port)
    )
    certificate, private_key = tls_files(profile.http)
    connections = max(_MIN_CONNECTIONS, profile.admission.max_requests * _CONNECTIONS_PER_REQUEST)
    logs = log_config(profile.observe)
    logging.config.dictConfig(logs)
    refused, refuse = multiprocessing.Pipe(duplex=False)
    server = Granian(
        "serving.http.app:create_app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=1,
        loop=Loops.asyncio if sys.platform == "win32" else Loops.uvloop,
        http=HTTPModes.auto if profile.http.http2 else HTTPModes.http1,
        websockets=True,
        backlog=connections,
        backpressure=connections,
        log_level=LogLevels.warning,
        log_dictconfig=logs,
        respawn_failed_workers=False,
        workers_kill_timeout=profile.http.drain_s,
        ssl_cert=certificate,
        ssl_key=private_key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    try:
        server.serve(target_loader=functools.partial(_load, profile, refuse), wrap_loader=False)
    except SystemExit:
        if refused.poll():
            raise ProfileError(refused.recv()) from None
        raise


def _load(profile: Profile, refuse: Connection) -> Any:
    """Build the application in the HTTP process; a ProfileError goes to the parent, which reports it."""
    from serving.http.app import create_app

    try:
        return create_app(profile, on_failed=_stop_this_process)
    except ProfileError as error:
        refuse.send(str(error))
        sys.exit(2)


def _stop_this_process() -> None:
    # The HTTP process ends in order, and Granian's main process, which did not ask for it, exits with 1.
    os.kill(os.getpid(), signal.SIGTERM)
