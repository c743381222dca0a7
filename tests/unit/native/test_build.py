"""How kernels are built: once, with the flags that are asked for, without a warning, and within a thread's stack."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from serving import native

pytestmark = pytest.mark.slow

SERVING = Path(native.HEADERS).parent
SOURCES = sorted(SERVING.rglob("*.c"))


def test_a_library_is_built_once_and_its_errors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "answer.c"
    source.write_text("int answer(void) { return 42; }")
    assert native.load_library(source).answer() == 42
    (built,) = native.cache_folder().iterdir()
    at_ns = built.stat().st_mtime_ns
    assert native.load_library(source).answer() == 42
    assert built.stat().st_mtime_ns == at_ns
    source.write_text("int answer(void) { return }")
    with pytest.raises(native.NativeError, match=r"does not compile answer\.c: (?s:.*)error"):
        native.load_library(source)
    assert list(native.cache_folder().iterdir()) == [built]
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(native.NativeError, match="no-such-compiler"):
        native.load_library(source)


def test_flags_of_the_environment_are_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "answer.c"
    source.write_text("int answer(void) { return ANSWER; }")
    for answer in (42, 43):
        monkeypatch.setenv("TTS_NATIVE_FLAGS", f"-DANSWER=0 -UANSWER -DANSWER={answer}")
        assert native.load_library(source).answer() == answer


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.relative_to(SERVING).as_posix())
def test_a_kernel_compiles_without_a_warning_and_fits_on_the_stack(source: Path, tmp_path: Path) -> None:
    """No function keeps more on the stack than STACK_BYTES of vector.h."""
    (stack,) = re.findall(r"STACK_BYTES = 1 << (\d+)", (native.HEADERS / "vector.h").read_text())
    compiler = shutil.which("gcc") or "cc"
    flags = [*native.FLAGS, "-O1", *([native.AVX2] if native.has_avx2() else [])]
    warnings = ["-Wall", "-Wextra", "-Wno-psabi", f"-Wframe-larger-than={1 << int(stack)}"]
    command = [compiler, *flags, "-fopenmp", *warnings, f"-I{native.HEADERS}", str(source)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernel.so")], capture_output=True, text=True, check=True
    )
    assert not re.findall(r"warning: .*\[-W.*", done.stderr)
