"""Keeps the words of requests out of the log: what an exception says may hold a text, a key, or a part of one.

Until the first request may come, messages are logged as they are: why a model cannot be loaded is for the operator.
From then on a traceback shows where it happened and what kind of exception it was; in place of its message stands a
digest, so that equal ones are known as equal. observe.log_texts shows everything.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import traceback
from logging import LogRecord, getLogger
from types import TracebackType
from typing import Any

from serving.protocol import SpeechFailed

logger = getLogger(__name__)

_FOREIGN = ("_granian", "asyncio")
"""Loggers that write an exception into their message; its first line says what happened."""
_MOST_CHAINED = 16

_hidden = False


def requests_come(*, log_texts: bool) -> None:
    """From now on an exception of this process may hold a client's words."""
    global _hidden
    _hidden = not log_texts


def described(error: BaseException) -> str:
    """An exception in a line of the log: its kind, and its message where that cannot hold a client's words.

    A class of exceptions whose messages are ours alone says so: is_plain = True.
    """
    kind = type(error).__qualname__
    if not _hidden or getattr(error, "is_plain", False):
        return f"{kind}: {error}"
    if isinstance(error, SpeechFailed):
        return f"{kind}: {error.code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    text = str(error)
    if not text:
        return kind
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kind}: ({len(text)} characters, {digest}; observe.log_texts shows them)"


def message_of(record: LogRecord) -> str:
    """What a record says."""
    text = record.getMessage()
    if _hidden and record.name.startswith(_FOREIGN):
        return text.partition("\n")[0]
    return text


def traceback_of(error: BaseException) -> str:
    """Where an exception came from, and those behind it, each as described() tells it."""
    return "".join(_lines(error, set())).rstrip("\n")


def _lines(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None and id(behind) not in seen and len(seen) < _MOST_CHAINED:
        lines += [*_lines(behind, seen), "\nwhich led to:\n\n"]
    lines += ["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)]
    lines.append(f"{described(error)}\n")
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(inner) not in seen and len(seen) < _MOST_CHAINED:
            lines += ["\nwith:\n\n", *_lines(inner, seen)]
    return lines


def log_what_nobody_catches() -> None:
    """Send what Python itself would write to standard error, in its own words, to the log."""

    def in_main(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            logger.critical("nobody caught an exception", exc_info=error)

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            logger.error("nobody caught an exception of a thread", exc_info=arguments.exc_value)

    def unraisable(arguments: Any) -> None:
        if arguments.exc_value is not None:
            logger.error("an exception could not be raised", exc_info=arguments.exc_value)

    sys.excepthook = in_main
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
