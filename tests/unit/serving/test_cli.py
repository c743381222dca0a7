"""The command line: what it prints, what it writes and with which code it ends."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from serving.audio.encode import UNKNOWN_SIZE, AudioFormat
from serving.cli import main
from tests.decoding import decoded
from tests.support import ROOT, command, environment

TONE = ("--set", "model.name=tone", "--set", "engine.threads=1", "--set", "engine.device=cpu")


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, cwd=ROOT, env=environment(), timeout=60
    )


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    line = capsys.readouterr().err
    assert line.startswith("tts-serving: ")
    assert line.count("\n") == 1
    return line


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in os.environ.keys() - environment().keys():
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--profile", "fast"], "no profile 'fast'; there are"),
        (["serve", "--set", "engine.max_slts=3"], "max_slts"),
        (["serve", "--set", "engine.max_slots"], "table.key=value"),
        (["serve", "--port", "70000"], "http.port"),
        (["serve", "--host", "no such host"], "http.host"),
        (["serve", "--host", "192.0.2.1"], "192.0.2.1"),
        (["say", "x", "--set", "model.name=nobody"], "no model 'nobody'"),
        (["voices", *TONE, "--set", "model.options.pitch=3"], "pitch"),
        (["say", " ", *TONE], "text: empty"),
        (["say", "?!", *TONE], "text: "),
        (["say", "x", "--voice", "nobody", *TONE], "voice: no voice is called 'nobody'; there are low, high"),
        (["say", "x", "--speed", "9"], "speed: "),
        (["say", "x", "--seed", "-2", *TONE], "seed: "),
        (["say", "x", "--format", "opus", "--sample-rate-hz", "8000", *TONE], "sample_rate_hz: "),
        (["say", "x", "-o", "no/such/folder/x.wav", *TONE], "no/such/folder/x.wav"),
        (["profiles", "fast"], "no profile 'fast'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in complaint(capsys)


def test_a_cluster_without_ray_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["cluster", *TONE, "--port", "0"]) == 2
    assert "pip install 'tts-serving[cluster]'" in complaint(capsys)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_busy_port_is_an_error_and_not_a_share(
    host: str, shared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        if shared:  # as another Granian listens
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", "--host", host, "--port", str(port)]) == 2
    assert f"http.port: {port} " in complaint(capsys)


@pytest.mark.parametrize("arguments", [[], ["sing"], ["say"], ["serve", "--port", "many"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: tts-serving" in capsys.readouterr().err


def test_profiles_are_listed_and_printed_as_set_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("default", "eager", "compile", "cuda-graph"))
    assert main(["profiles", "compile", "--set", "engine.max_slots=3"]) == 0
    settings = capsys.readouterr().out.splitlines()
    assert {'name="compile"', "engine.compile=true", "engine.max_slots=3", "http.port=8009"} <= set(settings)
    overrides = [part for line in settings for part in ("--set", line)]
    assert main(["profiles", "default", *overrides]) == 0
    assert capsys.readouterr().out.splitlines() == settings


def test_voices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voices", *TONE]) == 0
    listed = capsys.readouterr().out
    assert "low (default)" in listed
    assert "high" in listed
    assert "24000 Hz" in listed


@pytest.mark.slow
def test_fetch_shows_the_licences_before_it_asks_the_hub(tmp_path: Path) -> None:
    arguments = [*command("fetch", "indextts2", "--to", str(tmp_path))]
    offline = environment() | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    ended = subprocess.run(arguments, capture_output=True, cwd=ROOT, env=offline, timeout=60, text=True)
    assert ended.returncode == 1
    licences, _, files = ended.stdout.partition("get  config.yaml from IndexTeam/IndexTTS-2")
    assert "bilibili Model Use License Agreement" in licences
    assert not files.strip()
    assert ended.stderr.startswith("tts-serving: the hub did not give the file")


def test_a_model_without_files_has_nothing_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "tone", "--to", "nowhere"]) == 2
    assert "tone has nothing to fetch" in complaint(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("given", [b"caf\xe9", b"\xff\xfe"])
def test_input_that_is_not_utf8_is_one_line(given: bytes, tmp_path: Path) -> None:
    piped = run("say", "-", "-o", str(tmp_path / "a.wav"), *TONE, stdin=given)
    assert piped.returncode == 2
    assert piped.stderr.startswith(b"tts-serving: standard input is not UTF-8")
    assert piped.stderr.count(b"\n") == 1
    written = run("say", os.fsdecode(given), "-o", str(tmp_path / "a.wav"), *TONE)
    assert written.returncode == 2
    assert written.stderr.startswith(b"tts-serving: the text is not UTF-8")


@pytest.mark.slow
def test_a_byte_order_mark_on_standard_input_is_skipped(tmp_path: Path) -> None:
    done = run("say", "-", "-o", str(tmp_path / "a.wav"), *TONE, stdin=b"\xef\xbb\xbfHello")
    assert done.returncode == 0
    assert b"0.25 s of speech" in done.stderr


@pytest.mark.parametrize(
    ("name", "audio_format"), [("a.mp3", "wav"), ("a.WAV", "pcm"), ("a.pcm", "wav"), ("a.opus", "wav")]
)
def test_a_file_name_of_another_format_is_refused(
    name: str, audio_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["say", "x", *TONE, "--format", audio_format, "-o", str(tmp_path / name)]) == 2
    assert f"the format is {audio_format}" in complaint(capsys)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "audio_format"),
    [("a.mp3", "mp3"), ("a.FLAC", "flac"), ("a.opus", "opus"), ("a.ogg", "opus"), ("a.aac", "aac")],
)
def test_the_name_of_the_file_chooses_the_format(
    name: str, audio_format: AudioFormat, tmp_path: Path
) -> None:
    path = tmp_path / name
    assert main(["say", "Hello there. And more.", "-o", str(path), *TONE]) == 0
    samples, rate = decoded(path.read_bytes(), audio_format, 0)
    assert rate == (48_000 if audio_format == "opus" else 24_000)
    late_s = 2048 / rate if audio_format == "aac" else 0  # ADTS does not tell its length
    assert 1.45 <= round(len(samples) / rate, 4) <= 1.45 + late_s


def test_say_at_another_rate_and_for_a_telephone(tmp_path: Path) -> None:
    wide, bare = tmp_path / "wide.wav", tmp_path / "phone.ulaw"
    assert main(["say", "Hello.", "-o", str(wide), "--sample-rate-hz", "48000", *TONE]) == 0
    with wave.open(str(wide)) as file:
        assert (file.getframerate(), file.getnframes()) == (48_000, 6 * 2_400)
    assert main(["say", "Hello.", "-o", str(bare), *TONE]) == 0
    assert bare.stat().st_size == 6 * 400


@pytest.mark.parametrize("name", ["a.m4a", "a.webm"])
def test_a_file_of_a_format_that_is_not_written_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["say", "x", *TONE, "-o", str(tmp_path / name)]) == 2
    assert "the formats are wav, pcm, flac, opus, mp3, aac, mulaw, alaw" in complaint(capsys)


def test_say_writes_a_wav_file_with_its_true_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "said.wav"
    assert main(["say", "Hello there. And more.", "-o", str(path), *TONE]) == 0
    with wave.open(str(path)) as file:
        assert file.getframerate() == 24000
        assert file.getnframes() == 21 * 1200 + 0.4 * 24000  # the sentences, and the pause between them
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1.45 s of speech" in captured.err
    assert "real-time factor" in captured.err


def test_say_is_deterministic_and_pcm_is_the_wav_without_its_header(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.pcm")]
    for path in paths:
        audio_format = path.suffix.removeprefix(".")
        options = ["--format", audio_format, "--voice", "high", "--seed", "3"]
        assert main(["say", "Twice.", "-o", str(path), *options, *TONE]) == 0
    first, second, bare = (path.read_bytes() for path in paths)
    assert first == second
    assert first[44:] == bare


@pytest.mark.slow
def test_say_streams_standard_input_to_standard_output() -> None:
    done = run("say", "-", "-o", "-", *TONE, stdin=b"Hello there.")
    assert done.returncode == 0, done.stderr
    assert done.stdout[40:44] == UNKNOWN_SIZE.to_bytes(4, "little")
    with wave.open(io.BytesIO(done.stdout)) as read:
        assert len(read.readframes(10**6)) == 12 * 1200 * 2
    assert done.stderr.startswith(b"0.60 s of speech")  # no log and no progress bar without a terminal


def test_a_model_that_fails_ends_say_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails = ("--set", "model.name=tests.faulty_tone", "--set", "model.options.fail_token=33")
    assert main(["say", "This fails!", "-o", str(tmp_path / "x.wav"), *TONE, *fails]) == 1
    assert "tts-serving: " in capsys.readouterr().err


@pytest.mark.slow
def test_importing_the_command_line_is_light() -> None:
    program = (
        "import sys, serving.cli; "
        "heavy = {'torch', 'litestar', 'granian'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert done.stdout.strip() == "[]", done.stderr
