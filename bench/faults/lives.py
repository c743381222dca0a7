"""Processes that die, stop, hang or are told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from bench.faults.server import (
    SLOW,
    TONE,
    FaultError,
    Reader,
    Victim,
    check,
    end,
    gone,
    hang_up,
    serving,
    start,
    until,
)

STOPPED_S = 12.0
RECOVER_S = 20.0
LETTERS = "a" * 100
"""Five seconds of the slow model."""


def engine_killed(folder: Path) -> str:
    """SIGKILL of the engine while four listen."""
    with serving(folder, *SLOW) as victim:
        readers = [Reader(victim, LETTERS) for _ in range(4)]
        check(all(reader.first.wait(30) for reader in readers), "the streams did not begin")
        victim.engine().kill()
        until(lambda: victim.status("/readyz") == 503, 5, "/readyz says 503")
        refused = victim.speak()
        check(
            refused.status_code == 503 and "retry-after" in refused.headers,
            f"refused with {refused.status_code}",
        )
        check(victim.status("/healthz") == 200, "/healthz is silent")
        took_s = until(lambda: victim.status("/readyz") == 200, RECOVER_S, "a new engine")
        used_s = _used_s(victim)
        for reader in readers:
            reader.join(10)
        check(all(reader.ended == "cut" for reader in readers), "a stream was not cut")
        check(victim.speak("a").status_code == 200, "it does not speak")
        return f"back after {took_s:.1f} s, {used_s:.1f} s of them CPU; lost: 4 streams in flight, each cut; then 503"


def engine_frozen(folder: Path) -> str:
    """SIGSTOP of the engine while one listens."""
    with serving(folder, *SLOW) as victim:
        reader = Reader(victim, LETTERS * 5)
        check(reader.first.wait(30), "the stream did not begin")
        victim.engine().send_signal(signal.SIGSTOP)
        begun_s = time.monotonic()
        stats = victim.status("/stats", 5)
        check(stats == 503, f"/stats answers {stats}")
        until(lambda: victim.status("/readyz") == 503, 10, "/readyz says 503")
        noticed_s = time.monotonic() - begun_s
        until(lambda: victim.status("/readyz") == 200, RECOVER_S, "a new engine")
        took_s, used_s = time.monotonic() - begun_s, _used_s(victim)
        reader.join(10)
        check(reader.ended == "cut", f"the stream was {reader.ended}")
        check(victim.speak("a").status_code == 200, "it does not speak")
        back = f"back after {took_s:.1f} s, {used_s:.1f} s of them CPU"
        return f"noticed after {noticed_s:.1f} s, {back}; lost: the stream in flight"


def everything_stopped(folder: Path) -> str:
    """SIGSTOP of every process while one listens, SIGCONT after a while; then of the HTTP process alone."""
    with serving(folder, *SLOW) as victim:
        engine = victim.engine()
        for stopped in (victim.family(), [victim.http()]):
            reader = Reader(victim, LETTERS * 3)
            check(reader.first.wait(30), "the stream did not begin")
            for process in stopped:
                process.suspend()
            time.sleep(STOPPED_S)
            for process in reversed(stopped):
                process.resume()
            until(lambda: victim.status("/readyz") == 200, 5, "/readyz says 200")
            reader.join(60)
            check(reader.ended == "whole", f"the stream was {reader.ended}")
        check(victim.engine() == engine, "the engine was blamed for it")
    return f"twice {STOPPED_S:g} s: the streams went on to their ends, with the same engine"


def _used_s(victim: Victim) -> float:
    """CPU time that the engine has used: what its start takes on any load."""
    times = victim.engine().cpu_times()
    return float(times.user + times.system)


def engine_hung(folder: Path) -> str:
    """A step that never ends, with engine.request_timeout_s at 3."""
    with serving(folder, *SLOW, "--set", "engine.request_timeout_s=3") as victim:
        hung = victim.engine()
        status = victim.speak("a!").status_code
        check(status in (503, 504), f"the request got {status}")
        took_s = until(lambda: gone([hung]) and victim.status("/readyz") == 200, RECOVER_S, "a new engine")
        check(victim.speak("a").status_code == 200, "it does not speak")
        return f"the request got {status}; a new engine {took_s:.1f} s later"


def engine_crashes_at_start(folder: Path) -> str:
    """An engine that dies whenever it starts: given up after engine.restart_limit, with the reason in the log."""
    log = folder / "crashing.log"
    with log.open("wb") as stderr:
        process = start(
            stderr.fileno(), *SLOW, "--set", "engine.restart_limit=4", environ={"TTS_FAULT": "start"}
        )
    try:
        took_s = until(lambda: process.poll() is not None, 240, "the server gives up")
    finally:
        end(process)
    text = log.read_text(encoding="utf-8")
    deaths = text.count("ERROR the engine died: exit status 70")
    check(process.returncode == 1, f"it ended with {process.returncode}")
    check(deaths == 5 and "stopping:" in text, f"{deaths} deaths are in the log")
    return f"5 deaths, then exit status 1 after {took_s:.1f} s"


def frozen_engine_at_the_end(folder: Path) -> str:
    """SIGTERM while the engine is stopped: nothing is left."""
    with serving(folder, *TONE, "--set", "engine.silence_s=600") as victim:
        family = victim.family()
        victim.engine().send_signal(signal.SIGSTOP)
        victim.process.terminate()
        took_s = until(lambda: gone(family), 30, "all have ended")
        return f"all ended after {took_s:.1f} s"


def http_killed(folder: Path) -> str:
    """SIGKILL of the HTTP process: the engine and the main process end, whoever started them starts them again."""
    with serving(folder, *TONE) as victim:
        family = victim.family()
        victim.http().kill()
        took_s = until(lambda: gone(family), 15, "all have ended")
        check(victim.process.wait(5) == 1, "the exit status is not 1")
        return f"all ended, with status 1, after {took_s:.1f} s; port {_free(victim.host, victim.port)}"


def main_killed(folder: Path) -> str:
    """SIGKILL of the main process."""
    with serving(folder, *TONE) as victim:
        family = victim.family()
        victim.process.kill()
        took_s = until(lambda: gone(family), 10, "all have ended")
        victim.process.wait(5)
        return f"all ended after {took_s:.1f} s; port {_free(victim.host, victim.port)}"


def terminal_closed(folder: Path) -> str:
    """SIGHUP of the group, with a stream in flight."""
    return _told_to_end(folder, hang_up)


def told_to_end(folder: Path) -> str:
    """SIGTERM with three streams in flight."""
    return _told_to_end(folder, lambda victim: victim.process.terminate())


def _told_to_end(folder: Path, tell: Callable[[Victim], None]) -> str:
    with serving(folder, *SLOW) as victim:
        family = victim.family()
        readers = [Reader(victim, "a" * 40) for _ in range(3)]
        check(all(reader.first.wait(30) for reader in readers), "the streams did not begin")
        tell(victim)
        took_s = until(lambda: gone(family), 40, "all have ended")
        for reader in readers:
            reader.join(5)
        endings = [reader.ended for reader in readers]
        check(endings == ["whole"] * 3, f"the streams were {endings}")
        check(victim.process.wait(5) == 0, f"the exit status is {victim.process.returncode}")
        return f"3 streams finished, status 0 after {took_s:.1f} s; lost: nothing"


def profile_changed(folder: Path) -> str:
    """SIGUSR1 with three streams in flight: first a wrong profile, then a right one."""
    profile = folder / "mine.toml"
    profile.write_text('extends = "default"\n[engine]\nmax_slots = 4\n', encoding="utf-8")
    with serving(folder, "--profile", str(profile), *SLOW) as victim:
        old = victim.engine()
        readers = [Reader(victim, LETTERS * 3) for _ in range(3)]
        check(all(reader.first.wait(30) for reader in readers), "the streams did not begin")
        profile.write_text("[engine]\nmax_slots = 0\n", encoding="utf-8")
        victim.process.send_signal(signal.SIGUSR1)
        until(lambda: "is not taken" in victim.log.read_text(encoding="utf-8"), 10, "the log says why not")
        check(victim.engine() == old and victim.speak("a").status_code == 200, "it does not speak")
        profile.write_text('extends = "default"\n[engine]\nmax_slots = 6\n', encoding="utf-8")
        victim.process.send_signal(signal.SIGUSR1)
        refused = 0

        def changed() -> bool:
            nonlocal refused
            refused += victim.speak("a").status_code != 200
            return bool(httpx.get(f"{victim.url}/stats", timeout=5).json().get("slots") == 6)

        took_s = until(changed, RECOVER_S, "the new engine takes over")
        for reader in readers:
            reader.join(40)
        endings = [reader.ended for reader in readers]
        check(endings == ["whole"] * 3, f"the streams were {endings}")
        check(len({reader.size for reader in readers}) == 1, "a stream is shorter than another")
        check(not refused, f"{refused} requests were refused meanwhile")
        until(lambda: gone([old]), 20, "the old engine ends")
        return f"wrong one: refused, in the log; right one: speaks after {took_s:.1f} s; lost: nothing, 3 streams whole"


def two_on_one_port(folder: Path) -> str:
    """Two starts at the same moment on one port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as stderr:
        both = [start(stderr.fileno(), *TONE, port=port) for _ in range(2)]
        try:
            until(lambda: any(process.poll() is not None for process in both), 30, "one gives up")
            codes = [process.poll() for process in both]
            check(sorted(codes, key=str) == [2, None], f"they ended with {codes}")
            stderr.seek(0)
            check(b"is taken by another server" in stderr.read(), "the log does not say so")
        finally:
            for process in both:
                end(process)
    return "one serves, the other ends with status 2 and says why"


def log_closed(folder: Path) -> str:
    """The reader of the log goes away."""
    with _read_until_ready(folder) as (victim, reading):
        os.close(reading)
        return _restarted_without_a_log(victim)


def log_not_read(folder: Path) -> str:
    """The reader of the log stays and reads no more, while 3000 requests are logged."""
    with _read_until_ready(folder, "--set", "http.access_log=true") as (victim, reading):
        worst_ms = 0.0
        with httpx.Client(timeout=5) as http:
            for _ in range(3000):
                begun_s = time.monotonic()
                check(http.get(f"{victim.url}/healthz").status_code == 200, "/healthz is silent")
                worst_ms = max(worst_ms, (time.monotonic() - begun_s) * 1e3)
        said = _restarted_without_a_log(victim)
        os.close(reading)
    return f"/healthz worst {worst_ms:.0f} ms; {said}"


@contextlib.contextmanager
def _read_until_ready(folder: Path, *arguments: str) -> Iterator[tuple[Victim, int]]:
    """A server whose log is a pipe, read until it is ready; and the pipe's reading end, which the caller closes."""
    reading, writing = os.pipe()
    process = start(writing, *SLOW, *arguments)
    os.close(writing)
    try:
        text = b""
        while b"ready at " not in text or not text.endswith(b"\n"):
            piece = os.read(reading, 65_536)
            check(piece, "the server ended")
            text += piece
        url = text.split(b"ready at ")[1].split(b": ")[0].decode()
        yield Victim(process, url, folder), reading
    finally:
        end(process)


def _restarted_without_a_log(victim: Victim) -> str:
    victim.engine().kill()  # which is logged, at length
    until(lambda: victim.status("/readyz") == 503, 5, "/readyz says 503")
    took_s = until(lambda: victim.status("/readyz") == 200, RECOVER_S, "a new engine")
    check(victim.speak("a").status_code == 200, "it does not speak")
    victim.process.terminate()
    check(victim.process.wait(20) == 0, f"it ended with {victim.process.returncode}")
    return f"speaks on, its engine killed meanwhile was back after {took_s:.1f} s"


def _free(host: str, port: int) -> str:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
            taken.listen()
        except OSError as error:
            raise FaultError(f"the port is not free: {error.strerror}") from None
    return "free"
