"""Messages over a pair of ZeroMQ sockets: msgpack structs, and raw float32 samples behind each Chunk."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from serving.engine.admission import FirstSounds
from serving.models.base import ModelError
from serving.protocol import Broken, Chunk, FromEngine, Segment, Shutdown, ToEngine

if TYPE_CHECKING:
    from serving.engine.utterance import Utterance

MESSAGES_PER_TURN = 64
"""Messages that the asyncio side takes before it lets the rest of its event loop run."""

PULL_S = 0.005
"""A frontend works this long on one request before others have their turn."""
FIRST_THREADS = 2
"""For the first segments of requests that are in their turn."""
SLOW_S = 0.02
"""The length of a turn."""
MOST_THREADS = 8
"""For first segments, those included whose turn is over."""
SHORT_S = 10.0
"""The frontend looks on at once, in the thread of first segments, only at texts that promise no more than this."""
REST_THREADS = 1
"""For what follows: however long the texts are that others send, no first segment waits for it in a queue."""

_encoder = msgspec.msgpack.Encoder()
_from_engine: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)
_to_engine: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(ToEngine)


def _open(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.PAIR)
    socket.set(zmq.LINGER, 0)
    # Admission bounds what is in flight; a high-water mark would block the engine's loop instead.
    socket.set(zmq.SNDHWM, 0)
    socket.set(zmq.RCVHWM, 0)
    return socket


def _has_message(socket: zmq.Socket[bytes]) -> bool:
    events = socket.get(zmq.EVENTS)
    assert isinstance(events, int)
    return bool(events & zmq.POLLIN)


class EnginePair:
    """The engine's end. Use it from the thread that made it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = _open(context)
        self._socket.connect(endpoint)

    def send(self, message: FromEngine) -> None:
        self._socket.send(_encoder.encode(message))

    def send_chunk(self, request_id: str, samples: NDArray[np.float32]) -> None:
        """Send samples of one request: any float array [n]."""
        header = _encoder.encode(Chunk(request_id=request_id, samples=len(samples)))
        self._socket.send(header, zmq.SNDMORE)
        self._socket.send(np.ascontiguousarray(samples, "<f4").data)

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until a message is there; at most timeout_s seconds."""
        self._socket.poll(None if timeout_s is None else max(0, int(timeout_s * 1000) + 1))

    def receive(self) -> list[ToEngine]:
        """Every message that is there, in order; never blocks."""
        messages = []
        while _has_message(self._socket):
            messages.append(_to_engine.decode(self._socket.recv(zmq.NOBLOCK)))
        return messages

    def send_last(self, message: FromEngine, timeout_s: float = 2.0) -> None:
        """Send and wait until the client answered by Shutdown: it has then read everything."""
        self.send(message)
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            self.wait(until_s - time.monotonic())
            if any(isinstance(answer, Shutdown) for answer in self.receive()):
                return

    def close(self) -> None:
        """Close at once; what the client has not read is dropped."""
        self._socket.close(0)


class ClientPair:
    """The asyncio end: calls `receiver` with each message and its samples (only a Chunk has some).

    It reads the socket's descriptor itself rather than through zmq.asyncio, whose futures cost more than the
    messages.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        receiver: Callable[[FromEngine, NDArray[np.float32] | None], None],
    ) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._socket = _open(context)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self._loop.add_reader(self._socket.fileno(), self._drain)
        self._loop.call_soon(self._drain)

    def send(self, message: ToEngine) -> bool:
        """Send without blocking; False if no engine is at the other end."""
        if self._socket.closed:
            return False
        try:
            self._socket.send(_encoder.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        # The descriptor is edge-triggered and a send may take the edge of a message that just came.
        self._loop.call_soon(self._drain)
        return True

    def _drain(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            # Asked first: an exception for "nothing is there" would cost as much as a message.
            if self._socket.closed or not _has_message(self._socket):
                return
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                message = _from_engine.decode(frames[0])
                samples = np.frombuffer(frames[1], "<f4") if len(frames) > 1 else None
            except ValueError as error:  # its memory is broken, or it is of another version: it is to end
                message, samples = Broken(message=f"the engine sent what is no message: {error}"), None
            self._receiver(message, samples)
        self._loop.call_soon(self._drain)

    def close(self) -> None:
        """Close at once; what was not read is dropped."""
        if not self._socket.closed:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close(0)


def tell(utterance: Utterance, message: ToEngine) -> None:
    """Send to the engine that speaks it; if that is gone, its requests are failed anyway."""
    if utterance.engine is not None and utterance.engine.pair is not None:
        utterance.engine.pair.send(message)


Pulled = tuple[list[Segment], bool]
"""Segments, and whether there are no more."""


def pull(segments: Iterator[Segment], limit: int | None = None) -> Pulled:
    """The segments that come within PULL_S, at least one and at most `limit`.

    Raises what the frontend raises, and ModelError for a segment that the engine could not read.
    """
    pulled: list[Segment] = []
    until_s = time.monotonic() + PULL_S
    for segment in segments:
        if not all(type(token) is int for token in segment.tokens):
            raise ModelError(f"segment {segment.index}: the frontend's tokens are not all of type int")
        pulled.append(segment)
        if len(pulled) == limit or time.monotonic() >= until_s:
            return pulled, False
    return pulled, True


class Frontends:
    """The threads in which frontends make segments. Use it from one event loop.

    First segments take turns in FIRST_THREADS threads. A text that holds one for longer than SLOW_S has had its turn:
    it goes on in its thread, and the next begins beside it, up to MOST_THREADS. Without that two texts that are made
    to be slow would hold up everybody's first sound.
    """

    def __init__(self) -> None:
        self.first_sounds = FirstSounds()
        self._first = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="frontend")
        self._rest = ThreadPoolExecutor(REST_THREADS, thread_name_prefix="frontend-rest")
        self._waiting: deque[Callable[[], None]] = deque()
        self._worked_s = 0.0
        """CPU time of the last work in `_rest`."""
        self._turns = 0
        """Texts that are read in their turn."""
        self._slow = 0
        """Texts that are read past their turn."""

    def first(
        self, segments: Iterator[Segment], audio_s: float
    ) -> tuple[asyncio.Future[list[Segment]], asyncio.Future[Pulled]]:
        """The first segment of a text that promises `audio_s`, as soon as it is there, and what a second look finds.

        See _read.
        """
        loop = asyncio.get_running_loop()
        head: asyncio.Future[list[Segment]] = loop.create_future()
        rest: asyncio.Future[Pulled] = loop.create_future()

        def begin() -> None:
            if head.done():  # whoever asked is gone
                rest.cancel()
                return
            self._turns += 1
            is_slow = False

            def slow() -> None:
                nonlocal is_slow
                is_slow = True
                self._turns, self._slow = self._turns - 1, self._slow + 1
                self._next()

            def ended(found: Pulled | Exception) -> None:
                turn.cancel()
                self._turns, self._slow = self._turns - (not is_slow), self._slow - is_slow
                if not rest.done():
                    rest.set_exception(found) if isinstance(found, Exception) else rest.set_result(found)
                self._next()

            def read() -> None:
                """In the thread. Its last act is told as `head` is, so that a short text is known whole in one turn."""
                found: Pulled | Exception
                try:
                    found = _read(segments, loop, head, audio_s <= SHORT_S)
                except Exception as error:
                    found = error
                loop.call_soon_threadsafe(ended, found)

            turn = loop.call_later(SLOW_S, slow)
            self._first.submit(read)

        self._waiting.append(begin)
        self._next()
        return head, rest

    def _next(self) -> None:
        while self._waiting and self._turns < FIRST_THREADS and self._turns + self._slow < MOST_THREADS:
            self._waiting.popleft()()

    def rest(self, segments: Iterator[Segment]) -> asyncio.Future[Pulled]:
        """The next segments; see pull."""
        return asyncio.get_running_loop().run_in_executor(self._rest, self._pull_rest, segments)

    def _pull_rest(self, segments: Iterator[Segment]) -> Pulled:
        """In the only thread of its kind: after the work for one text the next one waits."""
        self.first_sounds.give_way(self._worked_s)
        begun_s = time.thread_time()
        try:
            return pull(segments)
        finally:
            self._worked_s = time.thread_time() - begun_s

    def close(self) -> None:
        """Let the threads end; what waits for them is cancelled."""
        self._waiting.clear()
        for pool in (self._first, self._rest):
            pool.shutdown(wait=False, cancel_futures=True)


def _read(
    segments: Iterator[Segment],
    loop: asyncio.AbstractEventLoop,
    head: asyncio.Future[list[Segment]],
    is_short: bool,
) -> Pulled:
    """Give `head`, a future of `loop`, the first segment as soon as it is there; for a short text look for one more.

    The second look ends a text of one sentence in the same turn. More than that would hold up the first segments of
    requests that come meanwhile.

    What goes wrong before the first segment is given to `head` too; what goes wrong after it is raised.
    """

    def give(first: list[Segment]) -> None:
        if not head.done():
            head.set_result(first)

    def refuse(error: Exception) -> None:
        if not head.done():
            head.set_exception(error)

    try:
        first, last = pull(segments, 1)
    except Exception as error:
        loop.call_soon_threadsafe(refuse, error)
        return [], True
    loop.call_soon_threadsafe(give, first)
    return pull(segments, 1) if is_short and not last else ([], last)
