"""Servers under test: a failed start is an error with its reason, and nothing that was started lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from bench.machine import family, tree_cpu_s
from bench.records import load_run
from bench.servers.cores import advantages, started_on
from bench.servers.start import ArmSpec, Server, StartFailed, free_port, get, start_server, target_server
from bench.targets.spec import Limits, Target
from tests.unit.bench.support import FAKE, FAKE_SERVER

WITH_CHILD = ArmSpec(
    "a server with a child that ignores SIGTERM",
    (
        "-c",
        "import runpy, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c',"
        " 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'])\n"
        f"sys.argv = ['fake', '--port', '{{port}}']; runpy.run_path({FAKE_SERVER!r}, run_name='__main__')",
    ),
)

WITH_DAEMON = ArmSpec(
    "a daemon in a session of its own works beside it",
    (
        "-c",
        "import os, runpy, sys, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    while time.process_time() < 0.5: pass\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        f"sys.argv = ['fake', '--port', '{{port}}']; runpy.run_path({FAKE_SERVER!r}, run_name='__main__')",
    ),
)


pytestmark = pytest.mark.slow


def _until(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_server_is_ready_then_gone_with_its_children() -> None:
    with start_server("fake", spec=WITH_CHILD, timeout_s=30) as server:
        assert server.process is not None
        those = [server.process, *server.process.children(recursive=True)]
        assert len(those) == 2
        assert server.info == {"ready": True, "model": "fake"}
        assert server.ready_s is not None
        assert server.alive()
        assert (server.cpu_s() or 0.0) > 0.0
        assert server.stats() == {"requests": 0}
    assert _until(lambda: not any(process.is_running() for process in those), 5.0)
    assert get(f"{server.url}/readyz") == (None, None)


def test_a_daemon_of_a_server_is_counted_as_the_server_and_ends_with_it() -> None:
    with start_server("fake", spec=WITH_DAEMON, timeout_s=30) as server:
        assert server.pid is not None
        assert len(psutil.Process(server.pid).children(recursive=True)) == 0
        assert _until(lambda: len(family(server.pid or 0)) == 2, 5.0)
        [_, daemon] = family(server.pid)
        assert _until(lambda: (server.cpu_s() or 0.0) > sum(daemon.cpu_times()[:2]) > 0.2, 10.0)
    assert _until(lambda: not daemon.is_running(), 5.0)


def test_the_work_of_a_child_that_has_ended_counts() -> None:
    before = tree_cpu_s(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert tree_cpu_s(os.getpid()) > before + 0.25


def test_a_priority_above_the_benchs_is_named() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert advantages(process.pid, above=os.getpriority(os.PRIO_PROCESS, 0)) == []
        assert advantages(process.pid, above=5) == ["nice 0"]
    finally:
        process.communicate(b"\n")


def test_a_priority_of_one_thread_is_named() -> None:
    """Its main thread steps back, and the thread that works does not."""
    program = (
        "import os, threading; threading.Thread(target=input).start(); os.setpriority(os.PRIO_PROCESS, 0, 19);"
        "print(flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        usual = os.getpriority(os.PRIO_PROCESS, 0)
        assert advantages(process.pid, above=usual + 1) == [f"nice {usual}"]
    finally:
        process.communicate(b"\n")


def test_the_servers_end_also_if_the_measurement_fails() -> None:
    with pytest.raises(RuntimeError, match="measured nonsense"), start_server("fake", spec=FAKE) as server:
        raise RuntimeError("measured nonsense")
    assert not server.alive()


def test_a_failed_start_says_why() -> None:
    broken = ArmSpec("ends at once", ("-c", "raise SystemExit('no such voice: {port}')"))
    with (
        pytest.raises(StartFailed, match=r"(?s)broken: .* code 1 .*no such voice"),
        start_server("broken", spec=broken),
    ):
        pass


def test_a_server_that_never_becomes_ready_is_a_failed_start() -> None:
    idle = ArmSpec("never listens", ("-c", "import time; time.sleep(600)"))
    with (
        pytest.raises(StartFailed, match="not ready in time"),
        start_server("idle", spec=idle, timeout_s=0.5),
    ):
        pass


def test_an_override_that_the_server_does_not_know_is_a_failed_start() -> None:
    with (
        pytest.raises(StartFailed, match="unrecognized arguments: --set"),
        start_server("fake", spec=FAKE, overrides=["engine.max_slots=8"]),
    ):
        pass


def test_a_foreign_server_must_answer() -> None:
    with (
        pytest.raises(StartFailed, match="nothing listens"),
        target_server(Target(url=f"http://127.0.0.1:{free_port()}")),
    ):
        pass


def test_a_servers_processes_are_found_by_its_port() -> None:
    """So that a server of this machine which somebody else started is told from what disturbs it."""
    with start_server("fake", spec=WITH_CHILD, timeout_s=30) as started:
        with target_server(Target(url=started.url)) as found:
            assert (found.process, found.remote) == (started.process, False)
            assert found.info == {"ready": True, "model": "fake"}
            assert found.alive()
        assert started.alive()
    assert not found.alive()
    assert found.cpu_s() == 0.0


def test_a_server_of_another_machine_uses_nothing_of_this_one() -> None:
    assert Server("far", "http://far", None, {}, None, remote=True).cpu_s() == 0.0
    assert Server("hidden", "http://127.0.0.1:1", None, {}, None).cpu_s() is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"ca_file": "nowhere.pem"}, "ca_file: No such file"),
    ],
)
def test_a_target_that_cannot_be_asked_is_a_failed_start(more: dict[str, str], says: str) -> None:
    target = Target(adapter="openai", url="https://127.0.0.1:1", **more)  # type: ignore[arg-type]
    with pytest.raises(StartFailed, match=says), target_server(target):
        pass


def test_a_local_target_is_started_within_its_limits() -> None:
    command = ("python", *FAKE.command)
    target = Target(name="mine", command=command, env={"A": "b"}, limits=Limits(cores=1))
    with target_server(target, Limits(threads=3)) as server:
        assert server.process is not None
        assert len(server.process.cpu_affinity()) == 1
        environ = server.process.environ()
        assert (environ["A"], environ["OMP_NUM_THREADS"]) == ("b", "3")
        assert (server.arm, server.target) == ("mine", target)
    assert len(psutil.Process().cpu_affinity()) > 1


LEAVES_ITS_CORES = """
import os, sys, threading
def pinned():
    os.sched_setaffinity(0, {int(sys.argv[1])})
    print("left", flush=True)
    threading.Event().wait()
threading.Thread(target=pinned, daemon=True).start()
threading.Event().wait()
"""


def test_a_thread_that_pins_itself_elsewhere_is_put_back_and_counted() -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    command = [sys.executable, "-c", LEAVES_ITS_CORES, str(second)]
    with started_on((first,)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"left\n"
        server = Server("arm", "", None, {}, psutil.Process(process.pid), cores=(first,))
        assert server.hold_to_cores() == 1
        threads = [os.sched_getaffinity(thread.id) for thread in psutil.Process(process.pid).threads()]
        assert threads == [{first}] * 2
        assert server.hold_to_cores() == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target(name="a", command=("no-such-program", "{port}")), "a: no-such-program cannot be started"),
        (Target(name="a", command=("python", "-c", "1", "{port}"), limits=Limits(cores=4096)), "4096 cores"),
        (
            Target(name="a", command=("python", *FAKE.command), ready="/nowhere", ready_timeout_s=1.5),
            "the last status of /nowhere was 404",
        ),
    ],
)
def test_a_local_target_that_does_not_start_is_named(target: Target, says: str) -> None:
    with pytest.raises(StartFailed, match=says), target_server(target):
        pass


def _command_line(process: psutil.Process) -> str:
    """What the process was started as; nothing for one that has ended between the listing and the look."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "run", "--arms", "reference", "--output", str(tmp_path)]
    those: list[psutil.Process] = []
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as bench,
    ):

        def loading() -> bool:
            those[:] = psutil.Process(bench.pid).children(recursive=True)
            names = [_command_line(process) for process in those]
            return all(
                any(part in name for name in names) for part in ("servers.reference", "load.generator")
            )

        try:
            assert _until(loading, 60.0), (tmp_path / "log").read_text()
            bench.send_signal(signal.SIGINT)
            assert bench.wait(30.0) == 130
            assert _until(lambda: not any(process.is_running() for process in those), 5.0)
        finally:
            for process in (bench, *those):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
    assert any("interrupted" in reason for reason in load_run(tmp_path / "run.json").exclusions)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b'{"a":' * 2000,
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"a":"\\ud800"}',
    ],
)
def test_whatever_a_server_says_of_itself_ends_no_run(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        _, content = get(f"http://127.0.0.1:{listening.getsockname()[1]}/readyz")
        thread.join(20)
    assert not content


def test_a_server_of_this_machine_under_another_of_its_addresses_is_no_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with its name in the network: no loopback address, but the connection has it at both ends."""
    monkeypatch.setattr("bench.servers.start.ip_address", lambda _: ip_address("192.0.2.7"))
    with (
        start_server("fake", spec=FAKE, timeout_s=30) as started,
        target_server(Target(url=started.url)) as found,
    ):
        assert not found.remote
        assert found.process == started.process
