"""How kernels are built: once, with the flags that are asked for, without a warning, and within a thread's stack; and
what happens without a compiler, without a folder to keep them in, and in a folder of somebody else's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.native import NativeError, build, load_library
from serving.native.cache import cache_folder
from serving.native.tiers import TIER_FLAGS, TIERS, Tier, machine_tier

pytestmark = pytest.mark.slow

SERVING = Path(build.HEADERS).parent
SOURCES = sorted(SERVING.rglob("*.c"))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source, and an empty cache."""
    machine_tier()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "answer.c"
    file.write_text("int answer(void) { return 42; }")
    return file


def kept() -> list[Path]:
    return sorted(cache_folder().iterdir()) if cache_folder().exists() else []


def test_a_library_is_built_once_and_its_errors_are_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_library(source).answer() == 42
    (built,) = kept()
    at_ns = built.stat().st_mtime_ns
    assert load_library(source).answer() == 42
    assert built.stat().st_mtime_ns == at_ns
    source.write_text("int answer(void) { return }")
    with pytest.raises(NativeError, match=r"does not compile answer\.c: (?s:.*)error"):
        load_library(source)
    assert kept() == [built]
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(NativeError, match="no-such-compiler"):
        load_library(source)


def test_flags_of_the_environment_are_the_last(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_text("int answer(void) { return ANSWER; }")
    for answer in (42, 43):
        monkeypatch.setenv("TTS_NATIVE_FLAGS", f"-DANSWER=0 -UANSWER -DANSWER={answer}")
        assert load_library(source).answer() == answer


def test_a_library_that_was_cut_short_is_built_again(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_library(source)
    (built,) = kept()
    whole = built.read_bytes()
    built.unlink()
    built.write_bytes(whole[: len(whole) // 2])
    built.chmod(0o700)
    assert load_library(source).answer() == 42
    assert "is not what was built" in caplog.text
    assert [path.read_bytes() for path in kept()] == [whole]


def test_a_pipe_in_place_of_a_library_holds_nobody(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_library(source)
    (built,) = kept()
    built.unlink()
    os.mkfifo(built, 0o700)
    assert load_library(source).answer() == 42
    assert "is not what was built" in caplog.text


def test_a_user_without_a_home_is_done_without(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert load_library(source).answer() == 42
    assert "no kernels are kept" in caplog.text


def test_a_compiler_that_hangs_is_given_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setattr(build, "BUILD_S", 0.2)
    with pytest.raises(NativeError, match="timed out"):
        load_library(source)


@pytest.mark.parametrize("what", ["folder", "library", "parent", "link"])
def test_what_others_can_write_is_not_run(
    what: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is built for this process alone."""
    load_library(source)
    (built,) = kept()
    spoilt = b"not a library"
    if what == "folder":
        cache_folder().chmod(0o770)
    elif what == "parent":
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o777)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared" / "own"))
    elif what == "link":
        cache_folder().rename(tmp_path / "elsewhere")
        cache_folder().symlink_to(tmp_path / "elsewhere")
    else:
        built.unlink()  # this process has it loaded
        built.write_bytes(spoilt)
        built.chmod(0o766)
    before = kept()
    assert load_library(source).answer() == 42
    assert "no kernels are kept" in caplog.text
    assert kept() == before


def test_what_belongs_to_somebody_else_is_not_run(
    source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_library(source)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert load_library(source).answer() == 42
    assert "belongs to another user" in caplog.text


def test_a_home_that_cannot_be_written_is_done_without(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be: root, too, cannot make one there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("tts-serving-*"))
    assert load_library(source).answer() == 42
    assert "no kernels are kept" in caplog.text
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("tts-serving-*")) <= before


def test_without_a_compiler_the_extra_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NativeError, match=r"tts-serving\[compiler\]"):
        load_library(source)


@pytest.mark.parametrize("home", ["writable", "read-only"])
def test_without_a_compiler_the_one_of_ziglang_is_used(
    home: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if home == "read-only":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build.find_compiler() == [sys.executable, "-m", "ziglang", "cc"]
    source.write_text('#include "numbers.h"\nint answer(void) { return (int)exp_of(3.7612f); }')
    assert load_library(source).answer() == 42


def test_a_wheel_brings_its_libraries(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are loaded where nothing can be compiled; of another source they are not."""
    flags = [*build.FLAGS, *TIER_FLAGS[machine_tier()]]
    brought = tmp_path / "built"
    brought.mkdir()
    build.compile_to(brought / build.built_name(source, flags), source, [*build.find_compiler(), *flags])
    monkeypatch.setattr(build, "BUILT", brought)
    monkeypatch.setattr(build, "find_compiler", lambda: ["/no/compiler"])
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("TTS_NATIVE_FLAGS", raising=False)
    monkeypatch.delenv("TTS_NATIVE_TIER", raising=False)
    assert load_library(source).answer() == 42
    assert not kept()
    source.write_text("int answer(void) { return 43; }")
    with pytest.raises(NativeError, match="/no/compiler"):
        load_library(source)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.relative_to(SERVING).as_posix())
def test_a_kernel_compiles_without_a_warning_and_fits_on_the_stack(
    source: Path, tier: Tier, tmp_path: Path
) -> None:
    """No function keeps more on the stack than STACK_BYTES of vector.h; also in tiers that this machine cannot run."""
    (stack,) = re.findall(r"STACK_BYTES = 1 << (\d+)", (build.HEADERS / "vector.h").read_text())
    compiler = shutil.which("gcc") or "cc"
    warnings = ["-Wall", "-Wextra", "-Wno-psabi", f"-Wframe-larger-than={1 << int(stack)}"]
    command = [compiler, *build.FLAGS, *TIER_FLAGS[tier], "-O1", "-fopenmp", *warnings, f"-I{build.HEADERS}"]
    done = subprocess.run(
        [*command, str(source), "-o", str(tmp_path / "kernel.so")], capture_output=True, text=True, check=True
    )
    assert not re.findall(r"warning: .*\[-W.*", done.stderr)
