"""Standard error, written from a thread of its own: whoever takes the log may stop taking it, and the server speaks on.

A terminal that is held, a full pipe and a log shipper that hangs all make write() wait for as long as they like. Lines
wait for them here, up to a bound; what comes past it is left out, and the next line says how many were.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from multiprocessing.util import Finalize
from queue import SimpleQueue

STDERR = 2
MOST_BYTES = 1_000_000
"""Of the lines that wait to be written."""
END_S = 0.5
"""A process that ends gives its last lines this long."""
_AGAIN_S = 0.2


class LineWriter(logging.Handler):
    """A handler of logging. Its lines are UTF-8; emit() never waits and never raises."""

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._begin()

    def _begin(self) -> None:
        """Nothing waits, and nobody writes yet: at first, and in a child, which has no threads of its parent."""
        self._process = os.getpid()
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._waiting = 0
        self._left_out = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler, which holds a lock around it."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception as error:
            line = f"{record.name}: a line of the log is {type(error).__name__}\n".encode()
        if self._process != os.getpid():
            self._begin()
        if self._waiting + len(line) > MOST_BYTES:
            self._left_out += 1
            return
        if self._left_out:
            line = f"{self._left_out} lines of the log were left out: it was not taken\n".encode() + line
            self._left_out = 0
        self._waiting += len(line)
        self._lines.put(line)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, args=(self._lines,), name="log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: better late than never
            self._lines.put(None)
            self._run(self._lines)
            self._begin()
            return
        # A child of multiprocessing ends without the handlers of atexit.
        Finalize(None, self.flush, exitpriority=0)

    def flush(self) -> None:
        """Wait until what was logged is written, for END_S at most."""
        if self._thread is None or self._process != os.getpid():
            return
        written = threading.Event()
        self._lines.put(written)
        written.wait(END_S)

    def close(self) -> None:
        """End the thread once it has written what waits."""
        if self._thread is not None and self._process == os.getpid():
            self._lines.put(None)
        self._thread = None
        super().close()

    def _run(self, lines: SimpleQueue[bytes | threading.Event | None]) -> None:
        while (line := lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            self._write(line)
            with self.lock or contextlib.nullcontext():
                self._waiting -= len(line)

    def _write(self, line: bytes) -> None:
        """Write all of it, however long that takes; nothing if nobody can ever read it."""
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # somebody who shares it made it so
                select.select([], [self._descriptor], [], _AGAIN_S)
            except OSError:
                return
