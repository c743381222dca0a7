"""Where an engine runs: a process of its own, or a thread of this one. Both end by telling `on_exit`.

The child is a fresh interpreter, never a fork of one that holds torch. It gets the profile on its standard
input and keeps that pipe open: its end is how it learns that its parent died, whatever killed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.config
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from serving.engine.life.lifeline import die_with_parent
from serving.engine.life.watchdog import Steps, send_beats
from serving.observe.logs import begin_logs
from serving.profile import Profile

logger = logging.getLogger(__name__)

WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""torch's OpenMP threads sleep at a barrier instead of spinning. Where the engine shares its cores with other
work, spinning threads hold back the ones they wait for: steps took 10 to 50 times longer on a busy machine.
The environment wins, for machines whose cores are the engine's alone.
"""

_OF_THE_PARENT: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
if sys.platform != "win32":
    _OF_THE_PARENT += (signal.SIGHUP, signal.SIGUSR1)
"""Whoever ends a server, or has it read its profile again, may signal all its processes: the parent sees to it."""
_SOCKET = "engine.sock"
_MOST_PATH_BYTES = 80
"""The kernel takes 107 for the path of a socket."""


class Launch(msgspec.Struct, frozen=True):
    """What the parent writes to the child's standard input, as one line of JSON."""

    profile: Profile
    endpoint: str


def _private_folder() -> Path:
    """A new folder of this user's alone whose name leaves room for that of a socket. Raises OSError.

    Where the temporary folder cannot be written, as in a container whose file system is read-only, or has a long name,
    another one is taken.
    """
    for place in (None, "/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="tts-engine-", dir=place))
            if len(os.fsencode(folder)) <= _MOST_PATH_BYTES:
                return folder
            folder.rmdir()
    raise OSError("no temporary folder can be written: TMPDIR names one")


def _remove(folder: Path) -> None:
    """Remove a private folder, also where no more files may be opened: shutil.rmtree would open it."""
    for remove, path in ((os.unlink, folder / _SOCKET), (os.rmdir, folder)):
        with contextlib.suppress(OSError):
            remove(path)


def _working_folder() -> str | None:
    """None for this process's own; another where that was deleted: torch's libraries do not load in it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return os.sep
    return None


class EngineProcess:
    """An engine in a process of its own, over a socket in a private folder."""

    def __init__(self) -> None:
        self._folder = _private_folder()
        self.endpoint = f"ipc://{self._folder}/{_SOCKET}"
        self._child: subprocess.Popen[bytes] | None = None
        self.beats: int | None = 0
        """Signs of life that came."""
        self.step_age_s = 0.0
        """What the last one told: how long the oldest step has taken."""

    def start(self, profile: Profile, on_exit: Callable[[str], None]) -> None:
        """Start it. on_exit is called in this event loop once it has ended, with how it ended.

        The child finds the same modules as this process, a model outside this package too.
        """
        loop = asyncio.get_running_loop()
        launch = msgspec.json.encode(Launch(profile, self.endpoint))
        child = subprocess.Popen(
            # -P: nothing is imported from the working directory because it lies there.
            [sys.executable, "-P", "-m", "serving.engine.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # A session of its own: Ctrl-C in the terminal is the parent's to answer.
            start_new_session=True,
            cwd=_working_folder(),
            env=WAITING | os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._child = child
        assert child.stdin is not None
        # A broken pipe means that the child is dead already; the watch below tells it.
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(launch + b"\n")
            child.stdin.flush()
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        loop.add_reader(child.stdout.fileno(), self._read_beats)

        def watch() -> None:
            code = child.wait()
            how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
            if not loop.is_closed():
                loop.call_soon_threadsafe(on_exit, how)

        threading.Thread(target=watch, name="engine-watch", daemon=True).start()

    def _read_beats(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        beats = self._child.stdout.read(4096)
        if not beats:  # its end: the watch tells
            asyncio.get_running_loop().remove_reader(self._child.stdout.fileno())
            return
        self.beats = (self.beats or 0) + len(beats)
        self.step_age_s = float(beats[-1])

    def connected(self) -> None:
        """The child has spoken: nobody else will connect, so the socket's path is not needed any more."""
        _remove(self._folder)

    def kill(self) -> None:
        """End it at once; on_exit follows."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Give back what it held. Call it after on_exit, or if it was never started."""
        self.connected()
        if self._child is not None and self._child.stdin is not None and self._child.stdout is not None:
            self._child.stdin.close()
            asyncio.get_running_loop().remove_reader(self._child.stdout.fileno())
            self._child.stdout.close()


class EngineThread:
    """An engine in a thread of this process, over an inproc socket. Nothing can end a thread that is stuck."""

    beats: int | None = None
    step_age_s = 0.0

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self.endpoint = f"inproc://engine-{id(self)}"

    def start(self, profile: Profile, on_exit: Callable[[str], None]) -> None:
        """Start it. on_exit is called in this event loop once it has ended, with how it ended."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                from serving.engine.life.start import run_engine  # torch, which the HTTP process does without

                run_engine(profile, self._context, self.endpoint)
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(on_exit, "its thread ended")

        threading.Thread(target=run, name="engine", daemon=True).start()

    def connected(self) -> None:
        """Nothing to do: an inproc socket has no path."""

    def kill(self) -> None:
        """A thread cannot be killed: it ends at its next look at the socket."""

    def close(self) -> None:
        """Nothing to give back."""


def main() -> None:
    """The child's entry: `python -m serving.engine.process`, with a Launch on standard input.

    Standard output is the pipe of the signs of life; what is printed goes to standard error.
    """
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    pipe = os.dup(1)
    os.dup2(2, 1)
    steps: Steps = {}
    send_beats(pipe, steps)
    # Unbuffered: a thread that waits inside sys.stdin's lock would break the interpreter's shutdown.
    parent = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    launch = msgspec.json.decode(parent.readline(), type=Launch)
    begin_logs(launch.profile.observe)

    def watch_parent() -> None:
        parent.read(1)
        _remove(Path(launch.endpoint.removeprefix("ipc://")).parent)
        os._exit(1)

    threading.Thread(target=watch_parent, name="parent-watch", daemon=True).start()
    from serving.engine.life.start import run_engine  # after the watch: loading torch takes seconds

    with zmq.Context() as context:
        run_engine(launch.profile, context, launch.endpoint, steps)


if __name__ == "__main__":
    main()
