"""A reader who does what a page says: its blocks in order, in one folder, against a real server."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import soundfile
import yaml

import bench.__main__
import serving.cli
from tests.pages import Block
from tests.support import ROOT, environment
from tests.support import serving as running_server

SHOWN = {"text"}
"""Blocks of these languages show something and are not run."""
INSTALLERS = {"apt", "brew", "git", "pip", "pipx", "sudo", "uv"}
"""Programs that a test does not start: a line with one needs a mark, or stands in .ci/run."""

_ADDRESS = re.compile(r"(?<=://)127\.0\.0\.1:\d+")
_OUTPUT = re.compile(r"(?:^|\s)(?:-o|--output)[ =](\S+)")
_SERVE = re.compile(r"((?:\w+=\S+ )*)tts-serving serve( .*)?")
_UNKNOWN = "--no-such-option"


class Reader:
    """Use it as a context manager: a server that a page starts runs until the page ends."""

    def __init__(self, folder: Path, base_url: str, *, curl: str | None = shutil.which("curl")) -> None:
        """`base_url` is that of a server with the default profile, which `nox -s serve` would start.

        Without `curl`, tests/curl.py stands in for it.
        """
        self.folder = folder / "page"
        self._programs = folder / "programs"
        self.folder.mkdir()
        self._programs.mkdir()
        if curl is None:
            stand_in = self._programs / "curl"
            stand_in.write_text(
                f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/curl.py "$@"\n', encoding="utf-8"
            )
            stand_in.chmod(0o755)
        self.base_url = base_url
        self._servers = contextlib.ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def do(self, block: Block) -> None:
        """Run one block, or check what can be checked of one that is not run. Raises AssertionError."""
        if block.file:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        match block.language:
            case "sh":
                self._shell(block)
            case "python" if block.file or block.not_run:
                compile(block.text, str(block), "exec")
            case "python":
                self._run([sys.executable, "-W", "error", "-c", self._addressed(block.text)], block)
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "yaml":
                for command in workflow_commands(block.text):
                    self._check(command, block)
            case language:
                assert language in SHOWN, (
                    f"{block}: a test runs sh, python, toml, json and yaml, not {language!r}"
                )

    def _shell(self, block: Block) -> None:
        for command in commands(block.text):
            if block.not_run:
                self._check(command, block)
            elif serve := _SERVE.fullmatch(command):
                self._serve(serve[1], serve[2])
            elif not self._check(command, block):
                self._run(["bash", "-euo", "pipefail", "-c", self._addressed(command)], block)
                for name in _OUTPUT.findall(command):
                    if name != "-":
                        check_audio(self.folder / name)

    def _check(self, command: str, block: Block) -> bool:
        """Let the program's own parser read the arguments. False if the command must run to be tested."""
        words = shlex.split(command, comments=True)
        if words[0] == "nox":
            check_session(words[1:])
        elif words[:3] == ["python", "-m", "bench"]:
            check_arguments(bench.__main__.main, words[3:])
        elif words[0] in INSTALLERS:
            done_in_ci = without_options(words) in map(without_options, ci_commands())
            assert block.not_run or done_in_ci, f"{block}: mark it as not run, with the reason: {command}"
        elif block.not_run and words[0] == "tts-serving":
            check_arguments(serving.cli.main, words[1:])
        else:
            return False
        return True

    def _run(self, command: Sequence[str], block: Block) -> None:
        path = os.pathsep.join([str(self._programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment() | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{block}: {command[-1]}\n{done.stdout}{done.stderr}"

    def _serve(self, variables: str, arguments: str | None) -> None:
        self._servers.close()
        environ = environment() | dict(word.split("=", 1) for word in variables.split())
        words = [*shlex.split(arguments or "", comments=True), "--port", "0"]
        started = running_server(self.folder, *words, cwd=self.folder, environ=environ)
        self.base_url = self._servers.enter_context(started).base_url

    def _addressed(self, text: str) -> str:
        return _ADDRESS.sub(self.base_url.removeprefix("http://"), text)


def commands(script: str) -> list[str]:
    """The commands of a shell block, continued lines joined and comments left out."""
    lines = re.sub(r"\\\n\s*", "", script).splitlines()
    parts = (part.strip() for line in lines for part in line.split(" && "))
    return [part for part in parts if part and not part.startswith("#")]


def ci_commands() -> list[list[str]]:
    """What .ci/run runs, in words."""
    return [shlex.split(command) for command in commands((ROOT / ".ci/run").read_text(encoding="utf-8"))]


def without_options(words: Sequence[str]) -> list[str]:
    """The words of a command that are no options."""
    return [word for word in words if not word.startswith("-")]


def workflow_commands(text: str) -> list[str]:
    """What the steps of a forge's workflow run."""
    jobs = yaml.safe_load(text)["jobs"].values()
    return [command for job in jobs for step in job["steps"] for command in commands(step.get("run", ""))]


def check_audio(path: Path) -> None:
    """A player opens the file, and it is speech or at least no silence; so is every one in a folder or a zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.with_suffix(""))
        path = path.with_suffix("")
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith("index.")]
        assert files, f"{path.name} is empty"
        for file in files:
            check_audio(file)
        return
    samples, rate_hz = soundfile.read(path)
    assert 0.1 < len(samples) / rate_hz < 60.0, f"{path.name}: {len(samples) / rate_hz:.2f} s"
    assert abs(samples).max() > 0.05, f"{path.name} is silent"


def check_arguments(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> None:
    """A program's own parser takes the arguments. One more that it cannot know keeps it from running."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            main([*arguments, _UNKNOWN])
    except SystemExit:
        pass
    said = errors.getvalue().strip()
    assert said.endswith(f"unrecognized arguments: {_UNKNOWN}"), f"{shlex.join(arguments)}: {said}"


def check_session(words: Sequence[str]) -> None:
    """The sessions exist, and the programs behind them take what follows `--`."""
    split = words.index("--") if "--" in words else len(words)
    for name in (word for word in words[:split] if not word.startswith("-")):
        session = Mock(posargs=list(words[split + 1 :]))
        assert hasattr(noxfile(), name), f"noxfile.py has no session {name!r}"
        getattr(noxfile(), name)(session)
        for call in session.run.call_args_list:
            match call.args:
                case ("python", "-m", "bench", *arguments):
                    check_arguments(bench.__main__.main, arguments)
                case ("tts-serving", *arguments):
                    check_arguments(serving.cli.main, arguments)
                case ("pytest", *arguments):
                    missing = [
                        word for word in arguments if word.startswith("tests/") and not (ROOT / word).exists()
                    ]
                    assert not missing, f"{name}: no {missing}"


@cache
def noxfile() -> ModuleType:
    """The sessions of noxfile.py; calling one with a stand-in for nox's session shows what it would run."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with contextlib.chdir(ROOT):
        spec.loader.exec_module(module)
    return module
