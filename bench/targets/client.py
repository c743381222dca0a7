"""A target as the load generator uses it: one request at a time, or many at once, and never an exception."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

from bench.load.http1 import Connection, HttpError, Response, request_bytes
from bench.load.listeners import Listener
from bench.records import ErrorKind, Sample
from bench.targets.http import Address, HttpAdapter
from bench.targets.spec import Target, TargetError
from bench.targets.words import of_connection

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
HEARS_OUT = Listener()


class Client(Protocol):
    """Speaks to one target. Times of a sample count from `started`, on time.monotonic()."""

    @property
    def decodes(self) -> bool:
        """Whether `read` takes long enough that it belongs in a thread."""
        ...

    async def speak(self, sample: Sample, started: float, listener: Listener = HEARS_OUT) -> Response:
        """One request, to its end; fills in sent_s, end_s, and the fault if no whole answer came.

        The listener may go before the end, and may want another voice.
        """
        ...

    def read(self, sample: Sample, response: Response, started: float) -> bytes:
        """Fill in the rest of the sample, and return its audio as it came, or decoded to 16 bits."""
        ...

    async def get(self, path: str) -> bytes | None:
        """The body of a GET, None without a 200."""
        ...

    def close(self) -> None:
        """Drop what is kept open."""
        ...


def read_whatever(read: Callable[[], bytes], sample: Sample) -> bytes:
    """What `read` makes of an answer. Whatever a server sends ends no run: what is raised is the answer's fault."""
    try:
        return read()
    except Exception as error:
        logger.warning("an answer cannot be read", exc_info=error)
        sample.events.clear()
        sample.error, sample.detail = "bad_audio", f"cannot be read: {type(error).__name__}"
        return b""


def create_client(target: Target, url: str, endpoint: str, fields: dict[str, Any]) -> Client:
    """The client of a target's adapter. Raises TargetError if a secret is not in the environment."""
    if target.socket:
        # Imported late: who measures over HTTP needs no WebSocket.
        from bench.targets.websocket import SocketClient

        return SocketClient(target, url, fields)
    return HttpClient(HttpAdapter(target, url, endpoint, fields))


def tls_context(target: Target, address: Address) -> ssl.SSLContext | None:
    """Certificates are always checked; None without TLS. Raises TargetError if the file of them cannot be read."""
    try:
        return ssl.create_default_context(cafile=target.ca_file) if address.tls else None
    except OSError as error:
        raise TargetError(f"{target.name}: ca_file: {error.strerror or error}") from None


def fail(sample: Sample, kind: ErrorKind, detail: str) -> None:
    """Name a sample's fault."""
    sample.error, sample.detail = kind, detail


def settle(sample: Sample, response: Response, fault: tuple[ErrorKind | None, str]) -> None:
    """The fault that `speak` saw stands over what `read` makes of half an answer; and leaving is no fault."""
    if fault[0] is not None:
        sample.error, sample.detail = fault
    elif response.left:
        sample.left_s = sample.end_s
        if sample.error in ("truncated", "wrong_sample_count", "empty"):
            sample.error, sample.detail = None, ""


class HttpClient:
    """Over HTTP/1.1, on connections that are kept and used again."""

    def __init__(self, adapter: HttpAdapter) -> None:
        self._adapter = adapter
        self._tls = tls_context(adapter.target, adapter.address)
        self._idle: list[Connection] = []

    @property
    def decodes(self) -> bool:
        """See Client."""
        return self._adapter.decodes

    async def speak(self, sample: Sample, started: float, listener: Listener = HEARS_OUT) -> Response:
        """See Client."""
        target, where = self._adapter.target, self._adapter.address.name
        message = self._adapter.message(sample.text, listener.voice)
        response = Response()
        sample.sent_s = time.monotonic() - started
        kept = True
        while kept:
            kept = bool(self._idle)
            try:
                connection = self._idle.pop() if kept else await self._connect()
            except TimeoutError:
                fail(sample, "connect", f"no connection to {where} within {CONNECT_TIMEOUT_S:g} s")
                break
            except OSError as error:
                fail(sample, "connect", of_connection(error, where))
                break
            if kept and not connection.open:
                continue
            try:
                response = await connection.request(message, target.timeout_s, listener.leave_after_s)
            except TimeoutError:
                fail(sample, "timeout", f"no end within {target.timeout_s:g} s")
                response = connection.response
                break
            except HttpError as error:
                fail(sample, "http_error", f"not HTTP as it should be: {error}")
                response = connection.response
                break
            # A kept connection that the server closed just then has not carried the request: ask again.
            if response.status or response.left:
                break
        sample.end_s = time.monotonic() - started
        if sample.error is None and connection.open:
            self._idle.append(connection)
        return response

    def read(self, sample: Sample, response: Response, started: float) -> bytes:
        """See Client."""
        fault = sample.error, sample.detail
        sample.error, sample.detail = None, ""
        audio = self._adapter.read(sample, response, started)
        settle(sample, response, fault)
        return audio

    async def get(self, path: str) -> bytes | None:
        """See Client."""
        address = self._adapter.address
        try:
            connection = await self._connect()
            answer = await connection.request(
                request_bytes("GET", address.name, address.prefix + path), CONNECT_TIMEOUT_S
            )
        except (OSError, TimeoutError, HttpError):
            return None
        connection.close()
        return b"".join(data for _, data, _ in answer.pieces) if answer.status == 200 else None

    def close(self) -> None:
        """See Client."""
        for connection in self._idle:
            connection.close()

    async def _connect(self) -> Connection:
        address = self._adapter.address
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                Connection, address.host, address.port, ssl=self._tls
            )
        return connection
