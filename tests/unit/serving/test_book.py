"""A long text to one file: parts, chapters, captions, and going on after a break."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest

from serving import book
from serving.cli import main
from serving.profile import PauseProfile
from serving.text import read
from serving.text.pauses import with_leads

TONE = (
    "--set", "model.name=tone", "--set", "engine.threads=1", "--set", "engine.device=cpu",
    "--set", "model.options.samples_per_token=24",
)  # fmt: skip
PARAGRAPH = "The quick brown fox jumps over the lazy dog. " * 20
TEXT = "\n\n".join(
    [
        "# One",
        PARAGRAPH,
        PARAGRAPH,
        PARAGRAPH,
        "Chapter 2",
        PARAGRAPH,
        PARAGRAPH,
        "Not a chapter. " * 3,
        PARAGRAPH,
    ]
)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def say(text: Path, output: Path, *more: str) -> int:
    return main(["say", "-f", str(text), "-o", str(output), *more, *TONE])


def test_parts_are_paragraphs_and_a_heading_begins_one() -> None:
    made = list(book.parts(TEXT, with_leads(read(TEXT), PauseProfile())))
    assert [part.chapter for part in made if part.chapter] == ["One", "Chapter 2"]
    assert len(made) > 3
    assert sum(len(part.sentences) for part in made) == sum(1 for sentence in read(TEXT) if sentence.words)
    endless = "and so on and so on, " * 2000
    assert max(sum(len(s.text) for s in part.sentences) for part in book.parts(endless, read(endless))) < 4000


def test_a_book_is_what_say_would_speak(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole.wav", tmp_path / "parts.wav"
    assert main(["say", TEXT, "-o", str(whole), *TONE]) == 0
    assert say(text, parts) == 0
    assert parts.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.progress*"))


def test_a_run_that_was_broken_off_goes_on_and_the_file_is_the_same(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, broken = tmp_path / "a.wav", tmp_path / "b.wav"
    captions = (tmp_path / "a.vtt", tmp_path / "b.vtt")
    chapters = (tmp_path / "a.json", tmp_path / "b.json")

    def options(number: int) -> tuple[str, ...]:
        return ("--captions", str(captions[number]), "--chapters", str(chapters[number]))

    assert say(text, at_once, *options(0)) == 0
    add = book.Book.add

    def add_twice(self: book.Book, file: object, made: book.Made) -> None:
        if self.progress.parts == 2:
            file.write(made.pcm[:100])  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        add(self, file, made)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(book.Book, "add", add_twice)
        assert say(text, broken, *options(1)) == 130
    assert broken.stat().st_size < at_once.stat().st_size
    capsys.readouterr()
    assert say(text, broken, *options(1)) == 0
    assert "going on after" in capsys.readouterr().err
    assert broken.read_bytes() == at_once.read_bytes()
    for pair in (captions, chapters):
        assert pair[0].read_bytes() == pair[1].read_bytes()
    told = json.loads(chapters[0].read_text())["chapters"]
    assert [chapter["title"] for chapter in told] == ["One", "Chapter 2"]
    with wave.open(str(at_once)) as file:
        assert told[-1]["end_s"] == pytest.approx(file.getnframes() / 24000, abs=1e-3)
    assert captions[0].read_text().count("-->") == sum(1 for sentence in read(TEXT) if sentence.words)


def test_notes_that_do_not_fit_are_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.wav"
    notes = tmp_path / "b.wav.progress"
    notes.write_text("{")
    assert say(text, output) == 2
    assert "is broken" in capsys.readouterr().err
    notes.write_text('{"made_of": "x", "parts": 1, "samples": 10}')
    assert say(text, output) == 2
    assert "is of another text, voice or setting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "absent.txt"], "cannot read absent.txt"),
        (["x", "--chapters", "c.vtt"], "--chapters goes with -f"),
        (["x", "--captions", "c.txt"], "name it .json or .vtt or .srt"),
        (["-f", "absent.txt", "-o", "-"], "-f needs a file"),
    ],
)
def test_files_that_cannot_be_meant(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["say", *arguments, *TONE]) == 2
    assert words in capsys.readouterr().err


def test_spell_prints_what_would_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spell", "Dr. Lee paid $5. [pause 1s] Say 你好.", *TONE]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "Doctor Lee paid five dollars."
    assert "left out: Han" in captured.err
    assert main(["spell", "$5", "--json", *TONE]) == 0
    assert json.loads(capsys.readouterr().out)["spoken"] == "five dollars"
    assert main(["spell", "$5", "--no-normalize", *TONE]) == 0
    assert capsys.readouterr().out == "$5\n"


@pytest.mark.parametrize(
    ("name", "more", "what"),
    [("b.mp3", (), "mp3 at 24000 Hz"), ("b.wav", ("--sample-rate-hz", "8000"), "wav at 8000 Hz")],
)
def test_a_book_is_bare_samples_at_the_rate_of_the_model(
    name: str,
    more: tuple[str, ...],
    what: str,
    text: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert say(text, tmp_path / name, *more) == 2
    assert f"not as {what}" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
