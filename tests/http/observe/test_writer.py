"""The log is written from a thread: nobody who logs waits for whoever takes it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from serving.observe.writer import MOST_BYTES, LineWriter

LINE = "x" * 999


@dataclass
class Log:
    """A logger whose lines go to a pipe."""

    reading: int
    handler: LineWriter

    def say(self, text: str) -> None:
        self.handler.handle(logging.makeLogRecord({"msg": text, "name": "test"}))

    def heard(self) -> bytes:
        """What comes until there is an end."""
        self.handler.close()
        pieces = []
        while piece := os.read(self.reading, 65_536):
            pieces.append(piece)
            if piece.endswith(b"last\n"):
                break
        return b"".join(pieces)


@pytest.fixture
def log() -> Iterator[Log]:
    reading, writing = os.pipe()
    log = Log(reading, LineWriter(writing))
    yield log
    log.handler.close()
    os.close(writing)
    os.close(log.reading)


def test_lines_come_in_their_order_whole_and_in_utf_8(log: Log) -> None:
    said = [f"{number} Grüße \ud800" for number in range(500)] + ["last"]
    for text in said:
        log.say(text)
    log.handler.flush()
    assert log.heard() == "".join(f"{text}\n" for text in said).encode("utf-8", "backslashreplace")


def test_nobody_waits_for_a_reader_that_does_not_read(log: Log) -> None:
    count = 2 * MOST_BYTES // 1000
    for _ in range(count):
        log.say(LINE)  # a write would wait for ever: a pipe holds 64 kB
    log.handler.flush()
    pieces: list[bytes] = []
    while b"".join(pieces).count(b"\n") < MOST_BYTES // 1000:
        pieces.append(os.read(log.reading, 65_536))
    log.handler.flush()
    log.say("last")
    lines = (b"".join(pieces) + log.heard()).decode().splitlines()
    *told, last = [line for line in lines if line != LINE]
    assert last == "last"
    assert told
    assert all(line.endswith(" lines of the log were left out: it was not taken") for line in told)
    assert sum(int(line.split()[0]) for line in told) + lines.count(LINE) == count


def test_a_reader_that_is_gone_costs_the_line_alone(log: Log) -> None:
    spare, log.reading = log.reading, os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    log.say("lost")
    log.handler.flush()
    assert log.heard() == b""


def test_what_cannot_be_formatted_is_a_line_too(log: Log) -> None:
    log.handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",), "name": "test"}))
    log.say("last")
    assert log.heard() == b"test: a line of the log is TypeError\nlast\n"


def test_a_descriptor_that_does_not_wait_loses_no_line(log: Log) -> None:
    os.set_blocking(log.handler._descriptor, False)
    for _ in range(300):  # more than the pipe holds
        log.say(LINE)
    log.say("last")
    assert log.heard().count(b"\n") == 301


def test_a_child_writes_by_a_thread_of_its_own(log: Log) -> None:
    log.say("before")
    log.handler.flush()
    if (child := os.fork()) == 0:
        log.say("in the child")
        log.handler.flush()
        os._exit(0)
    os.waitpid(child, 0)
    log.say("last")
    assert log.heard() == b"before\nin the child\nlast\n"
