"""Real runs of schemathesis: what it says of a server that answers as it should, and of those that do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench.fuzz import judge
from bench.fuzz.command import PROGRAM, fuzz
from tests.fuzz.servers import BATCH, FORMATS, ITEM, SPEECH, Takes, honest, serving

SCHEMATHESIS = str(Path(sys.executable).with_name(PROGRAM))
ACCEPTED = "Schema-violating request accepted"
CASES = 100


def complaints(takes: Takes, path: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What was printed of requests drawn for a path; empty if the server was clean."""
    only = ("--include-path", path, "--phases", "fuzzing")
    with serving(takes) as url:
        sent, why = fuzz(SCHEMATHESIS, url, {}, 1, CASES, *only)
    said = capfd.readouterr().out
    assert sent >= CASES / 2, said
    assert bool(why) == bool(said)
    return said


def with_formats(**others: judge.Check) -> Takes:
    """A server that takes what is right, but for what these formats mean."""
    formats = {**FORMATS, **others}

    def takes(path: str, body: Any) -> bool:
        return honest(path, body) if path == BATCH else judge.Reader(ITEM, formats).is_valid(body)

    return takes


@pytest.mark.parametrize("path", [SPEECH, BATCH])
def test_of_a_server_that_takes_what_is_right_it_complains_of_nothing(
    path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert complaints(honest, path, capfd) == ""


def test_a_server_that_takes_everything_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert ACCEPTED in complaints(lambda path, body: True, SPEECH, capfd)


@pytest.mark.parametrize("format", ["voice", "speakable"])
def test_a_server_that_does_not_check_a_format_of_ours_is_named(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = complaints(with_formats(**{format: lambda text: True}), SPEECH, capfd)
    assert "not refused with 400: " in said
    assert ("voice: 'nobody', speaker: 'nobody'" if format == "voice" else "input: '?! ...'") in said


def test_a_batch_that_speaks_wrong_items_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    def takes(path: str, body: Any) -> bool:
        return path == "item" or honest(path, body)

    assert "is wrong and was spoken" in complaints(takes, BATCH, capfd)


def test_a_batch_that_refuses_right_items_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    def takes(path: str, body: Any) -> bool:
        return path != "item" and honest(path, body)

    assert "is right and was refused" in complaints(takes, BATCH, capfd)
