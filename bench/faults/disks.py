"""Disks that are full or may not be written, clocks that jump, users without a name."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from bench.faults.server import SLOW, TONE, Reader, Victim, check, serving, until
from bench.fuzz.recordings import VOICE, cloning, recording

FEW_BYTES = 30_000
VOICE_BYTES = 100_000
VOICE_TURNS_S = 10.0
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


TEMPORARY_READ_ONLY = """
for folder in /tmp /var/tmp; do mount --bind $folder $folder && mount -o remount,bind,ro $folder || exit 9; done
cd / && exec "$@"
"""


def _post_voice(victim: Victim, name: str, content: bytes) -> httpx.Response:
    return httpx.post(
        f"{victim.url}/v1/audio/voices",
        data={"name": name, "consent": "true"},
        files={"audio_sample": ("a.wav", content)},
        timeout=60,
    )


def _say_as(victim: Victim, voice: str) -> int:
    """The status of a short sentence in a voice; 0 if it was cut."""
    body = {"text": "One.", "voice": voice}
    try:
        return httpx.post(f"{victim.url}/tts", json=body, timeout=60).status_code
    except httpx.HTTPError:
        return 0


def voice_on_full_disk(folder: Path) -> str:
    """No file may grow past 100 kB while somebody adds a voice; then the HTTP process is killed while one comes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (VOICE_BYTES, VOICE_BYTES))

    arguments = cloning(folder)
    before = sorted(path.name for path in (folder / "voices").iterdir())
    content = recording(6.0, 250)
    with serving(folder, *arguments, prepare=limit) as victim:
        status = _post_voice(victim, "bob", content).status_code
        check(status == 507, f"it was answered with {status}")
        check(_say_as(victim, VOICE) == 200, "it does not speak")
        left = sorted(path.name for path in (folder / "voices").iterdir() if path.suffix == ".wav")
        check(left == before, f"the folder holds {left}")
        parts = httpx.Request(
            "POST", victim.url, data={"name": "bob"}, files={"audio_sample": ("a.wav", content)}
        )
        parts.read()
        lines = [
            "POST /v1/audio/voices HTTP/1.1",
            f"Host: {victim.host}:{victim.port}",
            f"Content-Type: {parts.headers['content-type']}",
            f"Content-Length: {len(parts.content)}",
        ]
        with socket.create_connection((victim.host, victim.port), 10) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode() + parts.content[: len(parts.content) // 2])
            victim.http().kill()
            victim.process.wait(20)
    left = sorted(path.name for path in (folder / "voices").iterdir() if path.suffix == ".wav")
    check(left == before, f"after the kill the folder holds {left}")
    return "507, and nothing of either recording was left"


def voice_deleted_while_used(folder: Path) -> str:
    """Four speak in a voice that is deleted and added again all the time."""
    arguments = cloning(folder)
    statuses: Counter[int] = Counter()
    ended = threading.Event()
    with serving(folder, *arguments) as victim:
        content = recording(4.0, 250)
        check(_post_voice(victim, "bob", content).status_code == 201, "the voice was not taken")

        def speak() -> None:
            while not ended.is_set():
                statuses[_say_as(victim, "bob")] += 1

        speakers = [threading.Thread(target=speak, daemon=True) for _ in range(4)]
        for speaker in speakers:
            speaker.start()
        turns, until_s = 0, time.monotonic() + VOICE_TURNS_S
        while time.monotonic() < until_s:
            deleted = httpx.delete(f"{victim.url}/v1/audio/voices/bob", timeout=60).status_code
            added = _post_voice(victim, "bob", content).status_code
            check(
                (deleted, added) == (200, 201), f"deleting was answered with {deleted}, adding with {added}"
            )
            turns += 1
        ended.set()
        for speaker in speakers:
            speaker.join(60)
        check(set(statuses) <= {200, 400, 404}, f"the speakers got {dict(statuses)}")
        check("Traceback" not in victim.log.read_text(encoding="utf-8"), "a traceback is in the log")
    return f"{turns} times; the speakers got {dict(sorted(statuses.items()))}"


def temporary_read_only(folder: Path) -> str:
    """No temporary folder may be written, as in a container whose file system is read-only."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        return "not done: it takes root to make a folder read-only for one process"
    command = ("unshare", "-m", "sh", "-c", TEMPORARY_READ_ONLY, "sh")
    environ = {"XDG_CACHE_HOME": str(folder / "cache")}
    with serving(folder, *TONE, command=command, environ=environ) as victim:
        check(victim.speak().status_code == 200, "it does not speak")
        left = [path.name for path in Path("/").iterdir() if path.name.startswith("tts-")]
        check(not left, f"it left {left}")
    return "speaks; the engine's socket lies in memory"


def long_temporary_folder(folder: Path) -> str:
    """The temporary folder's name leaves no room for that of a socket."""
    deep = folder / ("long" * 40)
    deep.mkdir(mode=0o777)
    with serving(folder, *TONE, environ={"TMPDIR": str(deep)}) as victim:
        check(victim.speak().status_code == 200, "it does not speak")
    return "speaks"


def standard_files_closed(folder: Path) -> str:
    """Started with standard input and output closed, whose numbers its sockets would get."""

    def close() -> None:
        for descriptor in (0, 1):
            os.close(descriptor)

    with serving(folder, *SLOW, prepare=close) as victim:
        victim.engine().kill()
        until(lambda: victim.status("/readyz") == 503, 5, "/readyz says 503")
        took_s = until(lambda: victim.status("/readyz") == 200, 90, "a new engine")
        check(victim.speak("a").status_code == 200, "it does not speak")
    return f"speaks, and its engine, killed meanwhile, was back after {took_s:.1f} s"


def working_folder_deleted(folder: Path) -> str:
    """The working folder is deleted, and then the engine is killed."""
    gone = folder / "gone"
    gone.mkdir(mode=0o777)
    with serving(folder, *SLOW, cwd=gone) as victim:
        gone.rmdir()
        victim.engine().kill()
        until(lambda: victim.status("/readyz") == 503, 5, "/readyz says 503")
        took_s = until(lambda: victim.status("/readyz") == 200, 90, "a new engine")
        check(victim.speak("a").status_code == 200, "it does not speak")
    return f"its engine, killed meanwhile, was back after {took_s:.1f} s"


def no_locale(folder: Path) -> str:
    """LC_ALL=C without Python's help, and a profile whose name is not in ASCII."""
    profile = folder / "prüfung.toml"
    profile.write_text('extends = "default"\n', encoding="utf-8")
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with serving(folder, "--profile", str(profile), *TONE, environ=environ) as victim:
        check(victim.speak("Grüße.").status_code == 200, "it does not speak")
        told = httpx.get(f"{victim.url}/readyz", timeout=5).json()["profile"]
        check(told == "prüfung", f"the profile is called {told!a}")
    return "speaks, and the profile has its name"


def home_read_only(folder: Path) -> str:
    """A user without a name and without a home, who may write nowhere but to the temporary folder."""
    environ = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"}
    command = _unnamed()
    with serving(folder, *TONE, environ=environ, command=command) as victim:
        who = victim.http().uids().real
        check(victim.speak().status_code == 200, "it does not speak")
    return f"speaks as user {who}, who has {'no name and ' if command else ''}no home"


def no_home(folder: Path) -> str:
    """A user without a name for whom nothing says where a home is: the embedded voice, whose kernels are built."""
    command = (*_unnamed(), "env", "-u", "HOME", "-u", "XDG_CACHE_HOME")
    with serving(folder, command=command) as victim:
        check(victim.speak().status_code == 200, "it does not speak")
        kernels = httpx.get(f"{victim.url}/readyz", timeout=5).json()["kernels"]
        check(kernels != "torch", "it speaks without its kernels")
    return f"speaks with the kernels {kernels}"


def _unnamed() -> tuple[str, ...]:
    """The command before another that runs it as a user without a name, where this one may do that."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return ()
    # He may read what only root may, such as this environment, and write nothing of it.
    caps = "+dac_read_search"
    return ("setpriv", f"--reuid={UNNAMED}", f"--regid={UNNAMED}", "--clear-groups", "--no-new-privs",
            f"--inh-caps={caps}", f"--ambient-caps={caps}")  # fmt: skip


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
