"""C kernels, compiled where they run: one source file, with the headers beside it and here, to one shared library.

Building takes about two seconds, once: the library is kept in the user's cache folder under the hash of its source,
flags and compiler. Two environment variables change how: CC names the compiler, and TTS_NATIVE_FLAGS gives flags that
follow all others, separated by spaces (the session `sanitize` of noxfile.py asks for sanitizers so).
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

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
AVX2 = "-march=x86-64-v3"
HEADERS = Path(__file__).parent
"""What every source may include: the headers here."""


class NativeError(RuntimeError):
    """There is no C compiler, or it does not take the source."""


def load_library(source: Path, *, openmp: bool = False) -> ctypes.CDLL:
    """Compile `source` unless that was done before, and load it. Raises NativeError.

    `openmp` asks for threads; a compiler that knows none builds the same library for one.
    """
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NativeError("no C compiler found (cc, gcc or clang, or the one that CC names)")
    flags = [*FLAGS, AVX2] if has_avx2() else [*FLAGS]
    extra = os.environ.get("TTS_NATIVE_FLAGS", "").split()
    if openmp:
        try:
            return ctypes.CDLL(str(_built(compiler, [*flags, "-fopenmp", *extra], source)))
        except NativeError as error:
            logger.warning("kernels run on one thread: %s", error)
    return ctypes.CDLL(str(_built(compiler, [*flags, *extra], source)))


def load_functions(source: Path, *, openmp: bool = False, **arguments: tuple[type, ...]) -> ctypes.CDLL:
    """load_library, with the argument types of its functions, which all return nothing. Raises NativeError."""
    library = load_library(source, openmp=openmp)
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, None
    return library


def _built(compiler: str, flags: list[str], source: Path) -> Path:
    key = hashlib.sha256("\0".join([compiler, platform.machine(), *flags]).encode())
    for file in (source, *sorted(source.parent.glob("*.h")), *sorted(HEADERS.glob("*.h"))):
        key.update(file.read_bytes())
    library = cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if not library.exists():
        _compile([compiler, *flags, f"-I{HEADERS}"], source, library)
    return library


def has_avx2() -> bool:
    """Whether this CPU (and the operating system) runs AVX2."""
    import torch  # a frontend reads the options that name kernels, and has no use for torch

    return platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() != "DEFAULT"


def cache_folder() -> Path:
    """Where built libraries lie: under XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tts-serving"


def _compile(command: list[str], source: Path, library: Path) -> None:
    started_s = time.perf_counter()
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may build at once: each its own file, moved into place whole.
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            built = Path(folder) / library.name
            done = subprocess.run(
                [*command, str(source), "-o", str(built), "-lm"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise NativeError(
                    f"{command[0]} does not compile {source.name}: {done.stderr.strip()[-2000:]}"
                )
            built.replace(library)
    except OSError as error:
        raise NativeError(f"cannot build {source.name}: {error}") from error
    logger.info("compiled %s in %.1f s", source.name, time.perf_counter() - started_s)
