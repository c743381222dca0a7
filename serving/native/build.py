"""From a C source to a loaded library: one that the wheel brought, one of the user's cache, or a new one.

A wheel that was built with kernels has them in `built/`. Everything else is compiled where it runs, which takes about
two seconds, once: the library is kept in the user's cache folder (cache.py), under the hash of its source, its flags
and the compiler. Two environment variables change how: CC names the compiler, and TTS_NATIVE_FLAGS gives flags that
follow all others, separated by spaces (the session `sanitize` of noxfile.py asks for sanitizers so); either sets aside
what the wheel brought.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from serving.native import cache

BUILD_S = 300.0
"""A compiler that takes longer hangs; it takes seconds."""

logger = logging.getLogger(__name__)

FLAGS = (
    "-std=c11",
    "-O3",
    "-shared",
    "-fPIC",
    # Loops of selects and of rintf become vectors; no sum changes its order.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffp-contract=fast",
)
OPENMP = "-fopenmp"
HEADERS = Path(__file__).parent
"""What every source may include: the headers here."""
BUILT = HEADERS / "built"
"""What the wheel brought."""


class NativeError(RuntimeError):
    """There is no C compiler, or it does not take the source."""


def load(source: Path, tier_flags: Sequence[str], *, openmp: bool = False) -> ctypes.CDLL:
    """The library of `source`, built if need be. Raises NativeError.

    `openmp` asks for threads; a machine that knows none gets the same library for one.
    """
    flags = [*FLAGS, *tier_flags]
    if openmp:
        try:
            return _load(source, [*flags, OPENMP])
        except NativeError as error:
            logger.warning("kernels run on one thread: %s", error)
    return _load(source, flags)


def built_name(source: Path, flags: Sequence[str]) -> str:
    """Name in BUILT of the library of `source`: another source, or other flags, have another name."""
    return f"{source.stem}-{_digest(source, flags)}.so"


def compile_to(library: Path, source: Path, command: Sequence[str]) -> None:
    """Compile `source` with a command's compiler and flags. Raises NativeError."""
    started_s = time.perf_counter()
    # The compiler of ziglang keeps what it has compiled of the C library, and may find no home that it can write to.
    kept = library.parent
    with contextlib.suppress(OSError):  # of a user without a home
        if library.parent.parent == cache.cache_folder():
            kept = library.parent.parent / "zig"
    caches = {f"ZIG_{name}_CACHE_DIR": str(kept) for name in ("GLOBAL", "LOCAL")}
    words = [*command, f"-I{HEADERS}", str(source), "-o", str(library), "-lm"]
    if any(
        Path(word).name in ("zig", "ziglang") for word in words
    ):  # its names of processors have no hyphens
        words = [word.replace("-", "_").replace("_", "-", 1) if "-march=" in word else word for word in words]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env=os.environ | caches, timeout=BUILD_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"cannot build {source.name}: {error}") from error
    if done.returncode:
        raise NativeError(f"{command[0]} does not compile {source.name}: {done.stderr.strip()[-2000:]}")
    logger.info("compiled %s in %.1f s", source.name, time.perf_counter() - started_s)


def find_compiler() -> list[str]:
    """The compiler of CC, of the path, or of the package ziglang. Raises NativeError if there is none."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    if found := next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None):
        return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NativeError(
        "no C compiler found (cc, gcc or clang, the one that CC names, or the package ziglang: "
        "pip install 'tts-serving[compiler]')"
    )


def _load(source: Path, flags: Sequence[str]) -> ctypes.CDLL:
    extra = os.environ.get("TTS_NATIVE_FLAGS", "").split()
    brought = BUILT / built_name(source, flags)
    if brought.exists() and not extra and not os.environ.get("CC"):
        try:
            return ctypes.CDLL(str(brought))
        except OSError as error:
            logger.warning("%s cannot be loaded, and is compiled anew: %s", brought.name, error)
    command = [*find_compiler(), *flags, *extra]
    stem = f"{source.stem}-{_digest(source, command)}"
    try:
        folder = cache.own_folder()
        library = cache.find(folder, stem)
        if library is None:
            # Several processes may build at once: each in a folder of its own, and a file is moved in whole.
            with tempfile.TemporaryDirectory(dir=folder) as work:
                made = Path(work) / f"{stem}.so"
                compile_to(made, source, command)
                library = cache.keep(folder, stem, made)
        return ctypes.CDLL(str(library))
    except OSError as error:
        logger.warning("no kernels are kept, every start compiles them: %s", error)
    try:
        with tempfile.TemporaryDirectory(prefix="tts-serving-") as work:
            made = Path(work) / f"{stem}.so"
            compile_to(made, source, command)
            return ctypes.CDLL(str(made))  # a loaded library needs its file no more
    except OSError as error:
        raise NativeError(f"cannot build {source.name}: {error}") from error


def _digest(source: Path, words: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join([platform.system(), platform.machine(), *words]).encode())
    for file in (source, *sorted(source.parent.glob("*.h")), *sorted(HEADERS.glob("*.h"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
