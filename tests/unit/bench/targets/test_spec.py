"""How targets are written down, and what is said of those that are written wrongly."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from bench.targets.arguments import add_target_arguments, targets_of
from bench.targets.client import create_client
from bench.targets.command import PAGES
from bench.targets.spec import ADAPTERS, Limits, Target, TargetError, check, read_targets

PIPER = """
[targets.piper]
adapter = "http"
command = ["python", "-m", "piper.http_server", "--port", "{port}"]
path = "/synthesize"
body = { text = "{text}" }
limits = { threads = 2 }

[targets.far]
adapter = "openai"
url = "https://example.org/v1"
key_env = "FAR_KEY"
"""


def parsed(*words: str) -> tuple[Target, ...]:
    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    return targets_of(parser.parse_args(words))


def test_words_and_files(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(PIPER)
    found = parsed(
        *("--target", "mine=openai:http://127.0.0.1:1/v1", "--target", str(file), "--voice", "v"),
        *("--field", "seed=3", "--field", "language=en", "--header", "X-A: b:c"),
    )
    mine, piper, far = found
    assert (mine.name, mine.adapter, mine.url, mine.voice) == ("mine", "openai", "http://127.0.0.1:1/v1", "v")
    assert (mine.fields, mine.headers) == ({"seed": 3, "language": "en"}, {"X-A": "b:c"})
    assert (piper.local, piper.limits, piper.voice) == (True, Limits(threads=2), None)
    assert (far.local, far.key_env) == (False, "FAR_KEY")
    (plain,) = parsed("--target", "http://127.0.0.1:9")
    assert (plain.name, plain.adapter) == ("target", "tts")


def test_limits_of_a_target_win_over_those_of_the_run() -> None:
    both = Limits(threads=2).over(Limits(cores=1, threads=1))
    assert both == Limits(cores=1, threads=2)
    assert both.environ["OMP_NUM_THREADS"] == "2"
    assert Limits().environ == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["piper"], "write NAME=ADAPTER:URL"),
        (["a=b:http://x"], "no adapter 'b'"),
        (["a=openai:ftp://x"], "url: 'ftp://x'"),
        (["a=openai:http://x:port"], "a: url"),
        (["a=openai:http://user:word@x"], "no query, fragment or password"),
        (["a b=openai:http://x"], "a name is of letters"),
        (["a=elevenlabs:http://x"], "voice: the adapter elevenlabs needs one"),
        (["a=http:http://x"], "{text} occurs neither"),
        (["a=openai:http://x", "a=tts:http://y"], "two targets are called 'a'"),
        (["nowhere.toml"], "nowhere.toml: No such file"),
    ],
)
def test_a_wrong_word_is_named(words: list[str], says: str) -> None:
    with pytest.raises(TargetError) as error:
        read_targets(words)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x = ", "Invalid value"),
        ("[target.a]", "'target' is not known"),
        ("", "no table [targets.NAME]"),
        ("[targets.a]\nurl = 'http://x'\nvoise = 'y'", "targets.a: Object contains unknown field `voise`"),
        ("[targets.a]\nurl = 'http://x'\nadapter = 'rest'", "targets.a: Invalid enum value 'rest'"),
        ("[targets.a]\nvoice = 'x'", "a: give either url"),
        ("[targets.a]\nurl = 'http://x'\ncommand = ['a', '{port}']", "a: give either url"),
        ("[targets.a]\ncommand = ['a']", "command: {port}"),
        ("[targets.a]\nurl = 'http://x'\nlimits = { cores = 1 }", "limits.cores"),
        ("[targets.a]\ncommand = ['a', '{port}']\nlimits = { threads = 0 }", "limits.threads"),
        ("[targets.a]\nurl = 'http://x'\ntimeout_s = -1.0", "timeout_s: -1.0 is out of range"),
        ("[targets.a]\nurl = 'http://x'\nword_interval_s = 0.1", "word_interval_s: of omni and nari alone"),
        ("[targets.a]\nurl = 'http://x'\nbody = 'x'", "body: the adapter tts makes its own"),
        ("[targets.a]\nurl = 'http://x'\nadapter = 'omni'\nformat = 'mp3'", "over a WebSocket it is pcm"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(content)
    with pytest.raises(TargetError) as error:
        read_targets([str(file)])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--voice", "v"], "--voice: there is no --target"),
        (["--target", "http://x", "--field", "seed"], "write KEY=VALUE"),
        (["--target", "http://x", "--header", "secret"], "--header: write NAME:VALUE"),
    ],
)
def test_wrong_options_are_named(words: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as error:
        parsed(*words)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key_env": "NO_SUCH_KEY"}, "the environment variable NO_SUCH_KEY is not set"),
        ({"headers": {"X": "${NO_SUCH_KEY}"}}, "NO_SUCH_KEY is not set"),
        ({"headers": {"X": "a\r\nY: b"}}, "a line end in the head"),
        ({"adapter": "elevenlabs", "voice": "x", "format": "flac"}, "elevenlabs has no flac"),
    ],
)
def test_a_target_that_cannot_be_asked_is_named(more: dict[str, Any], says: str) -> None:
    target = check(Target(**({"adapter": "openai", "url": "http://x"} | more)))
    with pytest.raises(TargetError) as error:
        create_client(target, target.url, "/tts/stream", {})
    assert says in str(error.value)


def test_every_adapter_has_a_page_with_a_line_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(PAGES) == set(ADAPTERS)
    for name, page in PAGES.items():
        if name != "http":
            (target,) = parsed(*page.example.split())
            assert target.adapter == name
            if target.key_env:
                monkeypatch.setenv(target.key_env, "x")
            create_client(target, target.url, "/tts/stream", {})


def test_a_report_shows_no_secret() -> None:
    target = Target(
        adapter="http", url="http://x", body={"text": "{text}"}, headers={"X-Key": "hush"}, key_env="NAME",
        env={"SECRET": "hush"}, voice="v",
    )  # fmt: skip
    shown = target.described()
    assert "hush" not in str(shown)
    assert (shown["voice"], shown["key_env"], shown["headers"], shown["env"]) == (
        "v",
        "NAME",
        ["X-Key"],
        ["SECRET"],
    )
