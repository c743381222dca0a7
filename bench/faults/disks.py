"""Disks that are full or may not be written, clocks that jump, users without a name."""

from __future__ import annotations

import ast
import os
import resource
from pathlib import Path

import serving as package
from bench.faults.server import TONE, check, serving

FEW_BYTES = 30_000
UNNAMED = 54_321
_WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now"}


def disk_full(folder: Path) -> str:
    """No file may grow past 30 kB: answers cannot be kept, and are given all the same."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, FEW_BYTES))

    kept = folder / "answers"
    cache = ("--set", f"cache.folder={kept}", "--set", "cache.max_bytes=100000000")
    with serving(folder, *TONE, *cache, prepare=limit) as victim:
        answers = [victim.speak("The harbour was quiet when the first boats came home.") for _ in range(3)]
        check(all(answer.status_code == 200 for answer in answers), "an answer was lost")
        check(len({answer.content for answer in answers}) == 1, "an answer is broken")
        left = [path.stat().st_size for path in kept.rglob("*") if path.is_file()]
        check(not any(size == FEW_BYTES for size in left), "half a file was left")
    return "3 of 3 answers whole; no half file is left"


def home_read_only(folder: Path) -> str:
    """A user without a name and without a home, who may write nowhere but to the temporary folder."""
    environ = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"}
    if os.getuid() != 0:
        with serving(folder, *TONE, environ=environ) as victim:
            check(victim.speak().status_code == 200, "it does not speak")
        return "speaks with no home (not root: under this user's own number)"

    def unnamed() -> None:
        os.setgroups([])
        os.setgid(UNNAMED)
        os.setuid(UNNAMED)

    with serving(folder, *TONE, environ=environ, prepare=unnamed) as victim:
        check(victim.speak().status_code == 200, "it does not speak")
    return f"speaks as user {UNNAMED}"


def clock_jumps(_: Path) -> str:
    """No deadline and no duration is read from the clock that can be set."""
    found = []
    files = sorted(Path(package.__file__).parent.rglob("*.py"))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _WALL_CLOCK:
                found.append(f"{path.name}:{node.lineno}")
    check(not found, f"the wall clock is read at {', '.join(found)}")
    return f"{len(files)} files read the monotonic clock alone"
