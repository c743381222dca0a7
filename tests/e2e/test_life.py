"""Start, stop, drain, death, and what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support import ROOT, Server, alive, children, command, engine_pid, environment, serving

pytestmark = pytest.mark.e2e

TONE = ("--set", "model.name=tone", "--set", "engine.threads=1", "--set", "engine.device=cpu")
LONG = (
    "The harbour was quiet when the first boats came home, and nobody spoke while they were unloaded. " * 30
)
SLOW = (
    "--set",
    "model.name=tests.faulty_tone",
    "--set",
    "model.options.step_s=0.05",
    "--set",
    "model.options.max_window_tokens=1",
)


class Listener(threading.Thread):
    """Reads one stream to its end, in a thread."""

    def __init__(self, server: Server, text: str) -> None:
        super().__init__()
        self.url = f"{server.base_url}/tts/stream"
        self.text = text
        self.body = b""
        self.error: Exception | None = None
        self.first = threading.Event()
        self.start()
        assert self.first.wait(30)

    def run(self) -> None:
        try:
            json = {"text": self.text, "format": "pcm"}
            with httpx.stream("POST", self.url, json=json, timeout=60) as answer:
                for piece in answer.iter_raw():
                    self.body += piece
                    self.first.set()
        except httpx.HTTPError as error:
            self.error = error


def gone(pids: list[int], limit_s: float = 10.0) -> bool:
    """Whether every one of the processes has ended within limit_s."""
    deadline = time.monotonic() + limit_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def is_let_go(host: str | None, port: int | None, limit_s: float = 10.0) -> bool:
    """Whether nobody listens on an address any more within limit_s: a process whose first thread has ended may hold its
    files for the moment that its other threads need.
    """
    deadline = time.monotonic() + limit_s
    while True:
        with socket.socket() as free:
            # As the next server does: connections of the last one may linger.
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind((host, port))
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.02)
            else:
                return True


def test_sigterm_lets_a_stream_finish_and_leaves_nothing_behind(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('extends = "default"\n')
    settings = ("--profile", str(profile), *TONE, *SLOW)
    with serving(tmp_path, *settings) as server, httpx.Client(base_url=server.base_url) as idle:
        family = children(server.pid)
        assert len(family) >= 2
        assert idle.get("/healthz").status_code == 200
        listener = Listener(server, "a" * 30)
        profile.write_text("[engine]\nmax_slots = 0\n")
        server.process.send_signal(signal.SIGUSR1)
        until_s = time.monotonic() + 10
        while "the profile is not taken" not in server.log.read_text() and time.monotonic() < until_s:
            time.sleep(0.01)
        assert "engine.max_slots" in server.log.read_text(), "a wrong profile changes nothing"
        code = server.stop(signal.SIGTERM)
        listener.join()
        assert listener.error is None
        assert len(listener.body) == 30 * 1200 * 2
        assert code == 0, server.log.read_text()
        assert gone(family)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_at_once_cuts_no_stream(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, *TONE, *SLOW) as server:
        family = children(server.pid)
        listener = Listener(server, "a" * 30)
        for pid in (*family, server.pid):  # as a shutdown of the machine sends it
            os.kill(pid, number)
        listener.join()
        assert listener.error is None
        assert len(listener.body) == 30 * 1200 * 2
        assert server.process.wait(30) == 0, server.log.read_text()
        assert gone(family)


def test_sigusr1_to_every_process_at_once_cuts_no_stream(tmp_path: Path) -> None:
    with serving(tmp_path, *TONE, *SLOW) as server:
        listener = Listener(server, "a" * 30)
        for pid in (*children(server.pid), server.pid):
            os.kill(pid, signal.SIGUSR1)
        listener.join()
        assert listener.error is None
        assert len(listener.body) == 30 * 1200 * 2
        assert "the engine died" not in server.log.read_text()


def test_after_ctrl_c_a_stream_past_the_drain_limit_is_cut(tmp_path: Path) -> None:
    with serving(tmp_path, *TONE, *SLOW, "--set", "http.drain_s=1") as server:
        family = children(server.pid)
        listener = Listener(server, "a" * 400)  # 20 s of steps
        begun = time.monotonic()
        for pid in (server.pid, *family):  # Ctrl-C reaches every process of the terminal's group
            if os.getpgid(pid) == os.getpgid(server.pid):
                os.kill(pid, signal.SIGINT)
        server.process.wait(60)
        assert time.monotonic() - begun < 15
        listener.join()
        assert isinstance(listener.error, httpx.RemoteProtocolError)
        assert gone(family)


def test_a_killed_server_takes_its_engine_along(tmp_path: Path) -> None:
    with serving(tmp_path, *TONE, "--host", "localhost") as server:
        assert urlsplit(server.base_url).hostname in ("127.0.0.1", "::1")
        assert httpx.get(f"{server.base_url}/readyz").status_code == 200
        family = children(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait(10)
        assert gone(family)
        assert is_let_go(urlsplit(server.base_url).hostname, urlsplit(server.base_url).port)


def test_a_closed_terminal_ends_the_server_in_order(tmp_path: Path) -> None:
    with serving(tmp_path, *TONE, *SLOW) as server:
        family = children(server.pid)
        listener = Listener(server, "a" * 30)
        for pid in (server.pid, *family):
            if os.getpgid(pid) == os.getpgid(server.pid):
                os.kill(pid, signal.SIGHUP)
        assert server.process.wait(30) == 0, server.log.read_text()
        listener.join()
        assert listener.error is None
        assert gone(family)


def test_a_frozen_engine_is_noticed_and_replaced(tmp_path: Path) -> None:
    with (
        serving(tmp_path, *TONE, *SLOW) as server,
        httpx.Client(base_url=server.base_url, timeout=30) as client,
    ):
        listener = Listener(server, "a" * 400)
        frozen = engine_pid(server.pid)
        os.kill(frozen, signal.SIGSTOP)
        assert client.get("/stats").status_code == 503
        while client.get("/readyz").status_code == 200:
            time.sleep(0.05)
        listener.join()
        assert isinstance(listener.error, httpx.RemoteProtocolError)
        while client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        assert gone([frozen])
        assert client.post("/tts", json={"text": "a"}).status_code == 200


def test_a_frozen_engine_ends_with_its_server(tmp_path: Path) -> None:
    with serving(tmp_path, *TONE, "--set", "engine.silence_s=600") as server:
        family = children(server.pid)
        os.kill(engine_pid(server.pid), signal.SIGSTOP)
        assert server.stop() == 0
        assert gone(family)


def test_a_step_that_hangs_is_noticed_and_its_engine_replaced(tmp_path: Path) -> None:
    hanging = ("--set", "model.name=tests.faulty_tone", "--set", f"model.options.hang_token={ord('!')}")
    deadline = ("--set", "engine.request_timeout_s=2")
    with (
        serving(tmp_path, *TONE, *hanging, *deadline) as server,
        httpx.Client(base_url=server.base_url, timeout=30) as client,
    ):
        hung = engine_pid(server.pid)
        answer = client.post("/tts", json={"text": "This hangs!"})
        assert answer.status_code in (503, 504), answer.text
        while alive(hung) or client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        assert client.post("/tts", json={"text": "a"}).status_code == 200


def test_a_killed_engine_cuts_its_streams_and_is_started_again(real_server: Server) -> None:
    with httpx.Client(base_url=real_server.base_url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        listener = Listener(real_server, LONG)
        whole = pool.submit(httpx.post, f"{real_server.base_url}/tts", json={"text": LONG}, timeout=60)
        while client.get("/stats").json()["slots_used"] < 3:
            pass
        before = client.get("/readyz").json()
        engine = engine_pid(real_server.pid)
        os.kill(engine, signal.SIGKILL)
        killed_at = time.monotonic()
        listener.join()
        assert isinstance(listener.error, httpx.RemoteProtocolError)
        answer = whole.result()
        assert answer.status_code == 503
        assert answer.json()["code"] == "engine_died"
        assert int(answer.headers["retry-after"]) >= 1

        during = client.get("/readyz")
        assert during.status_code == 503
        assert during.json()["state"] == "restarting"
        refused = client.post("/tts", json={"text": "Now?"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "not_ready"
        assert client.get("/healthz").status_code == 200

        while client.get("/readyz").status_code != 200:
            assert time.monotonic() - killed_at < 60
            time.sleep(0.05)
        after = client.get("/readyz").json()
        assert engine_pid(real_server.pid) != engine
        assert after["run_id"] == before["run_id"]
        assert client.post("/tts", json={"text": "Now."}).status_code == 200


def fails_to_serve(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        command("serve", "--port", "0", *arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_an_engine_that_cannot_start_ends_the_server_with_its_reason() -> None:
    code, log = fails_to_serve(*TONE, "--set", "engine.device=cuda:93")
    assert code == 1
    assert "cuda:93" in log
    assert "Traceback" not in log


def test_options_that_the_model_refuses_are_a_usage_error() -> None:
    code, log = fails_to_serve(*TONE, "--set", "model.options.pitch=3")
    assert code == 2
    assert log.splitlines()[-1].startswith("tts-serving: model.options:")
    assert "pitch" in log
    assert "Traceback" not in log
