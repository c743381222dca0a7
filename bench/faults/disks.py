"""Disks that are full or may not be written, clocks that jump, users without a name."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from bench.faults.server import SLOW, TONE, Reader, check, serving

FEW_BYTES = 30_000
UNNAMED = 54_321


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
    command: tuple[str, ...] = ()
    if os.getuid() == 0 and shutil.which("setpriv"):
        # He may read what only root may, such as this environment, and write nothing of it.
        caps = "+dac_read_search"
        command = ("setpriv", f"--reuid={UNNAMED}", f"--regid={UNNAMED}", "--clear-groups", "--no-new-privs",
                   f"--inh-caps={caps}", f"--ambient-caps={caps}")  # fmt: skip
    with serving(folder, *TONE, environ=environ, command=command) as victim:
        who = victim.http().uids().real
        check(victim.speak().status_code == 200, "it does not speak")
    return f"speaks as user {who}, who has {'no name and ' if command else ''}no home"


def clock_jumps(folder: Path) -> str:
    """The clock is set a year ahead, then two back, while it speaks. In Python: no other process is to notice."""
    jump = folder / "jump"
    jump.write_text("0")
    (folder / "sitecustomize.py").write_text(_CLOCK.format(path=str(jump)))
    environ = {"PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))}
    with serving(folder, *SLOW, environ=environ) as victim:
        reader = Reader(victim, "a" * 60)
        check(reader.first.wait(30), "the stream did not begin")
        for years in (1, -1):
            jump.write_text(str(years * 31_536_000))
            check(victim.speak("a").status_code == 200, "it does not speak")
            check(victim.status("/readyz") == 200, "/readyz is not 200")
        reader.join(20)
        check(reader.ended == "whole", f"the stream was {reader.ended}")
        check("the engine died" not in victim.log.read_text(encoding="utf-8"), "the engine was ended")
    return "a stream went on to its end, no deadline struck"


_CLOCK = """
import time
_true = time.time
def _set(path={path!r}):
    with open(path) as file:
        return _true() + float(file.read() or 0)
time.time = _set
"""
