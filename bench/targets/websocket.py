"""The adapters over a WebSocket: text goes in, word by word if asked, and raw samples come out as binary frames."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bench.load.answers import read_answer
from bench.load.http1 import MAX_BODY_BYTES, Response
from bench.load.listeners import Listener
from bench.records import ErrorKind, Sample
from bench.targets.client import CONNECT_TIMEOUT_S, HEARS_OUT, fail, settle, tls_context
from bench.targets.dialects import DIALECTS, Turn
from bench.targets.http import Secrets, address
from bench.targets.socket import Socket
from bench.targets.spec import ENCODING_BYTES, Target, TargetError
from bench.targets.unpack import format_of
from bench.targets.words import of_connection, of_status

MAX_MESSAGE_BYTES = 64 << 20
_WORDS = re.compile(r"\S+\s*")
_CLOSED = {
    1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "kind of data not taken", 1006: "no close frame",
    1007: "invalid data", 1008: "policy violation", 1009: "message too big", 1011: "internal error",
    1012: "service restart", 1013: "try again later",
}  # fmt: skip
_TRY_LATER = 1013


@dataclass(slots=True)
class Refused(Exception):
    """The server did not open the WebSocket; the fault of the sample."""

    kind: ErrorKind
    detail: str


@dataclass(slots=True)
class _Listening:
    """Puts the messages of one turn together."""

    turn: Turn
    done: asyncio.Future[None]
    leave_after_s: float | None
    pieces: list[tuple[float, bytes, bool]] = field(default_factory=list)
    left: bool = False
    size: int = 0

    def hear(self, now: float, message: bytes | str) -> None:
        self.size += len(message)
        if self.size > MAX_BODY_BYTES:
            self.turn.fault = ("http_error", f"an answer of more than {MAX_BODY_BYTES >> 20} MiB")
        elif isinstance(message, bytes):
            if message:
                self.pieces.append((now, message, True))
            if self.leave_after_s is not None and self.pieces:
                asyncio.get_running_loop().call_later(self.leave_after_s, self._leave)
                self.leave_after_s = None
        else:
            try:
                event = json.loads(message)
            except ValueError:
                event = None
            try:
                self.turn.take(event)
            except (AttributeError, TypeError, ValueError):
                self.turn.fault = ("http_error", f"not an event of this protocol: {message[:80]}")
        if self.turn.complete or self.turn.fault is not None:
            self.end()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self.turn.ready.set()

    def _leave(self) -> None:
        self.left = not self.done.done()
        self.end()


class SocketClient:
    """Over a WebSocket: see bench.targets.client.Client. Sockets are kept where the server keeps them open."""

    decodes = False

    def __init__(self, target: Target, url: str, fields: dict[str, Any]) -> None:
        self._target = target
        self._secrets = Secrets.of(target)
        self._address = address(url)
        self._tls = tls_context(target, self._address)
        self._dialect = DIALECTS[target.adapter](target, fields)
        path = target.path or self._dialect.path
        if target.path is None and self._address.prefix.endswith("/v1"):
            path = path.removeprefix("/v1")
        self._path = self._address.prefix + path
        scheme = "wss" if self._address.tls else "ws"
        try:
            self._uri = parse_uri(f"{scheme}://{self._address.name}{self._path}")
        except InvalidURI as error:
            raise TargetError(f"{target.name}: {error}") from None
        self._idle: list[Socket] = []

    async def speak(self, sample: Sample, started: float, listener: Listener = HEARS_OUT) -> Response:
        """See Client. The first word is due with the sample, each further one word_interval_s later."""
        target = self._target
        sample.sent_s = time.monotonic() - started
        response = Response()
        kept = True
        while kept:
            kept = bool(self._idle)
            try:
                socket = self._idle.pop() if kept else await self._connect()
            except Refused as refused:
                fail(sample, refused.kind, self._secrets.scrub(refused.detail))
                break
            if kept and not socket.open:
                continue
            turn = self._dialect.turn()
            heard = _Listening(turn, asyncio.get_running_loop().create_future(), listener.leave_after_s)
            socket.listen(heard.hear, heard.end)
            writing = asyncio.create_task(self._write(socket, turn, sample, started, listener.voice))
            try:
                async with asyncio.timeout(target.timeout_s):
                    await heard.done
            except TimeoutError:
                fail(sample, "timeout", f"no end within {target.timeout_s:g} s")
            finally:
                writing.cancel()
            response = Response(200, {}, time.monotonic(), heard.pieces, turn.complete, heard.left)
            if turn.rate_hz:
                response.headers["x-sample-rate"] = str(turn.rate_hz)
            silent = not (turn.heard or heard.pieces)
            if kept and silent and sample.error is None and not heard.left:
                continue  # the server closed it just then, and the turn has not begun: ask again
            if turn.fault is not None:
                fail(sample, turn.fault[0], self._secrets.scrub(turn.fault[1]))
            elif not turn.complete and not heard.left and sample.error is None:
                self._blame_close(sample, socket)
            socket.deafen()
            if turn.complete and turn.fault is None and self._dialect.keeps:
                self._idle.append(socket)
            else:
                socket.close()
            break
        sample.end_s = time.monotonic() - started
        return response

    def read(self, sample: Sample, response: Response, started: float) -> bytes:
        """See Client."""
        fault = sample.error, sample.detail
        sample.error, sample.detail = None, ""
        sample.format, sample.encoding, sample.channels = "pcm", self._target.encoding, self._target.channels
        sample.frame_bytes = ENCODING_BYTES[sample.encoding] * sample.channels
        if self._target.sample_rate_hz:
            response.headers.setdefault("x-sample-rate", str(self._target.sample_rate_hz))
        audio = read_answer(sample, response, started)
        if not response.header_at:
            sample.header_s = None
        if (got := format_of(audio[:12])) is not None and fault[0] is None:
            fault = "bad_audio", f"asked for raw samples, the frames are {got}"
        settle(sample, response, fault)
        return audio

    async def get(self, path: str) -> bytes | None:
        """See Client; such a server is asked for nothing else."""
        return None

    def close(self) -> None:
        """See Client."""
        for socket in self._idle:
            socket.close()

    async def _connect(self) -> Socket:
        """An open WebSocket. Raises Refused."""
        where = self._address.name
        subprotocols = [Subprotocol(self._dialect.subprotocol)] if self._dialect.subprotocol else None

        def create() -> Socket:
            protocol = ClientProtocol(self._uri, subprotocols=subprotocols, max_size=MAX_MESSAGE_BYTES)
            return Socket(protocol, self._secrets.headers)

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, socket = await loop.create_connection(
                    create, self._address.host, self._address.port, ssl=self._tls
                )
                answer = await socket.opened
        except TimeoutError:
            raise Refused("connect", f"no WebSocket at {where} within {CONNECT_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise Refused("connect", of_connection(error, where)) from None
        if answer is not None and answer.status_code == 101 and socket.open:
            return socket
        socket.close()
        if answer is None:
            raise Refused("connect", f"{where} closed the connection before it answered the handshake")
        if answer.status_code != 101:
            headers = {name.lower(): value for name, value in answer.headers.raw_items()}
            kind: ErrorKind = "refused" if answer.status_code in (429, 503) else "http_error"
            words = of_status(answer.status_code, headers, bytes(answer.body or b""), f"GET {self._path}")
            raise Refused(kind, words)
        raise Refused("http_error", f"the handshake is not that of a WebSocket: {socket.close_reason}")

    async def _write(
        self, socket: Socket, turn: Turn, sample: Sample, started: float, voice: str | None
    ) -> None:
        for message in self._dialect.begin(voice):
            socket.send(message)
        await turn.ready.wait()
        interval_s = self._target.word_interval_s
        words = [sample.text] if interval_s is None else _WORDS.findall(sample.text)
        if interval_s is not None:
            sample.text_end_s = sample.due_s + (len(words) - 1) * interval_s
        for index, word in enumerate(words):
            if interval_s:
                await asyncio.sleep(sample.due_s + index * interval_s - (time.monotonic() - started))
            socket.send(self._dialect.text(index, word))
        socket.send(self._dialect.end(len(words)))

    def _blame_close(self, sample: Sample, socket: Socket) -> None:
        code, reason = socket.close_code, socket.close_reason
        words = f"the WebSocket was closed with {code} ({_CLOSED.get(code, 'a code of its own')})"
        words += f": {reason}" if reason else ""
        fail(sample, "refused" if code == _TRY_LATER else "truncated", self._secrets.scrub(words))
