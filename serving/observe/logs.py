"""Log lines, plain or as JSON, each with the id of the request that it is about. The standard library does it all."""

from __future__ import annotations

import datetime
import json
import logging
import logging.config
from contextvars import ContextVar
from typing import Any

from serving.observe.words import log_what_nobody_catches, message_of, traceback_of
from serving.observe.writer import LineWriter
from serving.profile import ObserveProfile

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that this task works for."""

PLAIN = "%(asctime)s %(name)s %(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, request_id, and what `extra` adds."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = traceback_of(record.exc_info[1])
        # In ASCII: a lone surrogate, which is no UTF-8, must not cost a line.
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """One line of text, with the request's id where there is one."""

    def __init__(self) -> None:
        super().__init__(PLAIN)

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler's, who may show more
        return super().format(record)

    def formatException(self, ei: Any) -> str:
        return traceback_of(ei[1]) if ei[1] is not None else ""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = message_of(record)
        fields = dict(getattr(record, "fields", {}))
        if (request_id := REQUEST_ID.get()) is not None:
            fields.setdefault("request_id", request_id)
        known = (f" {name}={value}" for name, value in fields.items() if value is not None)
        return super().formatMessage(record) + "".join(known)


def begin_logs(observe: ObserveProfile) -> None:
    """Let this process log, whatever happens to it."""
    logging.config.dictConfig(log_config(observe))
    log_what_nobody_catches()


def write_logs() -> None:
    """Wait until what was logged is written, or nobody takes it: then other lines may follow on standard error."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def log_config(observe: ObserveProfile) -> dict[str, Any]:
    """For logging.config.dictConfig: everything to standard error, at the profile's level, in its format."""
    formatter = JsonLines if observe.log_format == "json" else PlainLines
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"()": LineWriter, "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": observe.log_level.upper()},
        # The server's own line of each request has its id, and no query.
        "loggers": {"granian.access": {"level": "CRITICAL"}},
    }
