"""Every fenced block of the README, CONTRIBUTING.md and docs/, done as a reader would, against a real server."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.pages import PAGES, ROOT, Block, blocks, page_name
from tests.reader import Reader, check_audio, commands, workflow_commands

pytestmark = pytest.mark.e2e

README = ROOT / "README.md"
SOUND = ROOT / "docs/media/hello.mp3"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=page_name)
def test_a_page_does_what_it_says(page: Path, server: str, tmp_path: Path) -> None:
    with Reader(tmp_path, server) as reader:
        for block in blocks(page):
            reader.do(block)


def test_a_machine_without_curl_can_read_along(server: str, tmp_path: Path) -> None:
    page = ROOT / "docs/http-api.md"
    with Reader(tmp_path, server, curl=None) as reader:
        for block in blocks(page):
            reader.do(block)
    assert (reader.folder / "fast.pcm").stat().st_size > 24000


def test_the_readme_shows_both_ways_to_speak() -> None:
    shown = [
        command for block in blocks(README) if block.language == "sh" for command in commands(block.text)
    ]
    assert sum(command.startswith("curl") and "/tts " in command for command in shown) == 1
    assert sum(command.startswith("curl") and "/tts/stream " in command for command in shown) == 1


def test_the_sound_of_the_readme_is_the_server_s(server: str) -> None:
    text = "Hello. The first words of this sentence were on their way before its last words were computed."
    assert text in " ".join(README.read_text(encoding="utf-8").split())
    answer = httpx.post(f"{server}/tts", json={"text": text, "seed": 7}, timeout=60)
    said, rate_hz = soundfile.read(io.BytesIO(answer.content))
    heard, heard_hz = soundfile.read(SOUND)
    assert heard_hz == rate_hz
    assert likeness(said, heard) > 0.95, "make it again as CONTRIBUTING.md says"
    other = httpx.post(f"{server}/tts", json={"text": text, "seed": 8, "speed": 1.1}, timeout=60)
    assert likeness(soundfile.read(io.BytesIO(other.content))[0], heard) < 0.7


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The largest normalised cross-correlation of two mono signals, whatever lies between their starts."""
    size = len(one) + len(other)
    product = np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size).conj(), size)
    return float(product.max() / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_workflow_calls_what_there_is(tmp_path: Path) -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert ".ci/run" in workflow_commands(text)
    Reader(tmp_path, "").do(block("yaml", text))


@pytest.mark.parametrize(
    ("language", "text", "complaint"),
    [
        ("sh", "nox -s no_such_session", "has no session"),
        ("sh", "nox -s bench -- --no-such-switch", "unrecognized arguments: --no-such-switch"),
        ("sh", "nox -s serve -- --port many", "invalid int value"),
        ("sh", "nox -s tests -- tests/no_such_folder", "tests/no_such_folder"),
        ("sh", "python -m bench no-such-command", "invalid choice"),
        ("sh", "pip install tts-serving", "mark it as not run"),
        ("sh", "tts-serving say Hello. --no-such-flag", "--no-such-flag"),
        ("sh", "false && true", "false"),
        ("sh", "cp /dev/null empty.wav # --output empty.wav", "empty.wav"),
        ("python", "raise SystemExit(3)", "raise SystemExit"),
        ("toml", "key =", "Invalid value"),
        ("json", "{", "Expecting"),
        ("go", "package main", "not 'go'"),
    ],
)
def test_a_block_that_is_wrong_fails(language: str, text: str, complaint: str, tmp_path: Path) -> None:
    with (
        Reader(tmp_path, "") as reader,
        pytest.raises((AssertionError, ValueError, RuntimeError), match=complaint),
    ):
        reader.do(block(language, text))


@pytest.mark.parametrize("text", ["tts-serving fetch indextts2 --too x", "nox -s no_such_session"])
def test_a_block_that_is_not_run_is_still_read(text: str, tmp_path: Path) -> None:
    with Reader(tmp_path, "") as reader, pytest.raises(AssertionError):
        reader.do(block("sh", text, not_run="a test of the test"))


def test_silence_is_no_speech(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(24000), 24000)
    with pytest.raises(AssertionError, match="silent"):
        check_audio(tmp_path / "silence.wav")


def block(language: str, text: str, not_run: str | None = None) -> Block:
    return Block(page=README, line=1, language=language, text=text, not_run=not_run)
