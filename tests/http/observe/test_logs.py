"""Log lines: one JSON object each, with the request's id, and never what a client said or knows."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from serving.http.app import create_app
from serving.observe.logs import REQUEST_ID, JsonLines, PlainLines, log_config
from serving.observe.words import requests_come
from serving.profile import ObserveProfile
from tests.support import JSON, running, tone_profile

TEXT = "Zanzibar marmalade"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the root logger writes as JSON."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


def parsed(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


async def test_a_line_for_each_request_with_its_id(lines: io.StringIO) -> None:
    async with running(create_app(tone_profile("http.access_log=true", "http.allow_get=true"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        given = (*JSON, (b"x-request-id", b"mine-1"))
        await api.call("POST", "/tts", {"text": TEXT}, given)
        await api.call("GET", "/tts", headers=(), query=b"text=Zanzibar%20marmalade&key=tts_secret")
        await api.call(
            "POST", "/tts", {"text": "x", "wrong": TEXT}, ((b"x-request-id", b"evil\nline"), *JSON)
        )
        await api.call("GET", "/Zanzibar/marmalade", headers=())
    answered = [line for line in parsed(lines) if line["logger"] == "serving.access"]
    mine, got, refused, lost = answered[-4:]
    assert mine["request_id"] == "mine-1"
    assert (mine["method"], mine["endpoint"], mine["status"], mine["outcome"]) == ("POST", "/tts", 200, "ok")
    assert mine["duration_ms"] > 0
    assert (got["endpoint"], got["status"]) == ("/tts", 400)
    assert (refused["status"], refused["outcome"]) == (400, "invalid")
    assert len(refused["request_id"]) == 32
    assert (lost["status"], lost["endpoint"]) == (404, "none")
    for word in ("marmalade", "tts_secret", "evil"):
        assert word not in lines.getvalue()


async def test_the_line_of_a_failure_names_its_request_and_not_its_text(lines: io.StringIO) -> None:
    async with running(create_app(tone_profile(f"model.options.fail_token={ord('m')}"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", "/tts", {"text": TEXT}, (*JSON, (b"x-request-id", b"mine-2")))
    (failed,) = (line for line in parsed(lines) if line["logger"] == "serving.http.problems")
    assert failed["request_id"] == "mine-2"
    assert all("marmalade" not in json.dumps(line) for line in parsed(lines))


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\ud800", "\x00", "ü" * 10, "%s"])
def test_a_line_is_one_line_of_json_whatever_it_says(text: str) -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "said %s", (text,), None)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert line.isprintable()
    assert text in json.loads(line)["message"]
    assert json.loads(line)["level"] == "info"


def test_an_exception_is_part_of_its_line() -> None:
    requests_come(log_texts=True)  # what another application of this process has hidden
    try:
        raise ValueError("why")
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, "f", 1, "x", (), (ValueError, error, error.__traceback__)
        )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]


def test_plain_lines_name_the_request_too() -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "said", (), None)
    token = REQUEST_ID.set("mine-3")
    try:
        assert PlainLines().format(record).endswith("a INFO said request_id=mine-3")
    finally:
        REQUEST_ID.reset(token)
    assert PlainLines().format(record).endswith("a INFO said")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_configuration_is_one(log_format: Any) -> None:
    config = log_config(ObserveProfile(log_format=log_format, log_level="warning"))
    logging.config.DictConfigurator(config).configure_formatter(config["formatters"]["line"])
    assert config["root"]["level"] == "WARNING"
