"""A text a line to a file each: names, going on after a break, lines that cannot be spoken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import soundfile

from serving.cli import main
from serving.engine.client import EngineClient
from serving.protocol import Stats
from tests.support import ROOT, command, environment

TONE = (
    "--set", "model.name=tests.faulty_tone", "--set", "engine.threads=1", "--set", "engine.device=cpu",
    "--set", "model.options.samples_per_token=24",
)  # fmt: skip
TEXT = "One.\r\n\n  Two, which is longer. \n?!\nVier — 四 four.\n\n"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_bytes(TEXT.encode())
    return path


def say(lines: Path, folder: Path, *more: str) -> int:
    return main(["say", "-f", str(lines), "-o", f"{folder}/", *TONE, *more])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_for_each_line_that_has_a_text(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert say(lines, folder) == 1, "line 4 holds nothing to speak"
    told = capsys.readouterr().err
    assert "line 4: text: " in told
    assert "1 of 4 lines were not spoken" in told
    assert names(folder) == ["001.wav", "003.wav", "005.wav", "index.jsonl"]
    assert main(["say", "Two, which is longer.", "--seed", "0", "-o", str(tmp_path / "two.wav"), *TONE]) == 0
    assert (folder / "003.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()


def test_the_format_is_that_of_the_flag(lines: Path, tmp_path: Path) -> None:
    say(lines, tmp_path / "o", "--format", "opus")
    assert names(tmp_path / "o") == ["001.opus", "003.opus", "005.opus", "index.jsonl"]
    assert soundfile.info(tmp_path / "o" / "001.opus").subtype == "OPUS"


def test_what_is_whole_and_the_same_is_kept(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines.write_text("One.\nTwo.\nThree.\nFour.\n")
    folder = tmp_path / "o"
    assert say(lines, folder) == 0
    whole = {path.name: path.read_bytes() for path in folder.glob("*.wav")}
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.wav")}
    (folder / "002.wav").write_bytes(whole["002.wav"][:-2])
    (folder / "003.wav").unlink()
    (folder / ".004.wav.part").write_bytes(b"half")
    (folder / "mine.part").write_bytes(b"no file of ours")
    with (folder / "index.jsonl").open("ab") as index:
        index.write(b'{"line": 4, "file": "00')
    lines.write_text("One.\nTwo.\nThree.\nFive.\n")
    capsys.readouterr()
    assert say(lines, folder) == 0
    assert "1 of 4 lines are there already" in capsys.readouterr().err
    assert (folder / "001.wav").stat().st_mtime_ns == stamps["001.wav"]
    for name in ("001.wav", "002.wav", "003.wav"):
        assert (folder / name).read_bytes() == whole[name]
    assert (folder / "004.wav").read_bytes() != whole["004.wav"]
    assert names(folder) == ["001.wav", "002.wav", "003.wav", "004.wav", "index.jsonl", "mine.part"]
    assert say(lines, folder) == 0
    assert "4 of 4 lines are there already" in capsys.readouterr().err
    assert say(lines, folder, "--voice", "high") == 0
    assert "there already" not in capsys.readouterr().err
    entries = [
        json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines() if line[-1] == "}"
    ]
    assert {entry["voice"] for entry in entries} == {"low", "high"}


def test_a_line_that_the_engine_fails_on_is_reported(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines.write_text("Fine.\nA buzz.\nFine too.\n")
    assert say(lines, tmp_path / "o", "--set", f"model.options.fail_token={ord('z')}") == 1
    assert "line 2: " in capsys.readouterr().err
    assert "002.wav" not in names(tmp_path / "o")


def test_the_lines_share_the_steps(lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Stats] = []
    stop = EngineClient.stop

    async def look_and_stop(self: EngineClient) -> None:
        seen.append(await self.stats())
        await stop(self)

    monkeypatch.setattr(EngineClient, "stop", look_and_stop)
    lines.write_text("\n".join(f"This is line number {n}." for n in range(40)))
    slow = ("--set", "model.options.step_s=0.003", "--set", "model.options.window_tokens=1")
    assert say(lines, tmp_path / "o", *slow, "--set", "model.options.max_window_tokens=1") == 0
    (stats,) = seen
    assert stats.rows["render"] / stats.steps["render"] > 2
    assert stats.slots_used == 0


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_file_and_the_next_goes_on(lines: Path, tmp_path: Path) -> None:
    lines.write_text("\n".join(f"This is line number {n}." for n in range(60)))
    folder = tmp_path / "o"
    slow = ("--set", "model.options.step_s=0.02", "--set", "model.options.window_tokens=4")
    arguments = [
        "say",
        "-f",
        str(lines),
        "-o",
        f"{folder}/",
        *TONE,
        *slow,
        "--set",
        "model.options.max_window_tokens=4",
    ]
    run = subprocess.Popen(command(*arguments), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    until_s = time.monotonic() + 60
    while len(list(folder.glob("*.wav"))) < 2:  # the last one may not be noted yet
        assert time.monotonic() < until_s
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.wav")}
    assert 0 < len(before) < 60
    for name in before:
        soundfile.read(folder / name)
    result = subprocess.run(command(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "are there already" in result.stderr
    assert len(list(folder.glob("*.wav"))) == 60
    assert (
        sum((folder / name).stat().st_mtime_ns == stamp for name, stamp in before.items()) >= len(before) - 1
    )
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "-o", "."], "is a folder"),
        (["-f", "absent.txt", "-o", "x/"], "cannot read absent.txt"),
        (["-f", __file__, "-o", "x/", "--captions", "c.vtt"], "go with one file"),
        (["-f", __file__, "-o", "x/", "--voice", "nobody"], "voice: no voice"),
        (["-f", __file__, "-o", f"{__file__}/"], "cannot write"),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["say", *arguments, *TONE]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing was made"
