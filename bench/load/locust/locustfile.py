"""Closed-loop Locust users for /tts and /tts/stream. Started by `python -m bench load`, or by hand:

    locust -f bench/load/locust/locustfile.py --headless --host http://127.0.0.1:8009 --samples samples.jsonl

Importing locust patches the process for gevent (sockets, sleep and threads), so nothing else of the bench
imports this module. The users read their answers with the bench's own parser, and every request is kept as a
Sample in the JSONL file: Locust's own percentiles are rounded into buckets, the bench reports none of them.
Locust's page and CSV get one entry for each request, and entries of their own for the time to the first sound and
for the largest gap between chunks, which its totals do not count. Level, silence and length of every wave are heard
at once; the raw audio of some, drawn by chance, is left in a folder beside the JSONL file, to be heard in full when
the load has ended.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
from gevent import GreenletExit
from locust import LoadTestShape, User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from bench.hearing.doubts import wave_doubts
from bench.hearing.features import hear
from bench.load.http1 import HttpError, ResponseParser
from bench.load.locust.stages import Stage, stage_at
from bench.machine import cpu_s
from bench.metrics import audible_ttfa_s, gaps_s, percentile, total_s
from bench.records import ErrorKind, Generator, Sample
from bench.targets.client import read_whatever, settle, tls_context
from bench.targets.http import HttpAdapter
from bench.targets.spec import Target
from bench.targets.words import of_connection
from bench.workload import Workload

REFUSED_PAUSE_S = 0.1
TICK_S = 0.02
TEXTS = 20
"""Drawn at once: many of them take so long that the users are late."""
KEPT = 40
"""Answers whose audio is kept, drawn by chance from all."""
SPAWN_RATE = 100.0
"""Users added per second: at once, as Locust means it."""


class Recorder:
    """The samples of the test, one JSON line each, and the health of this process."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        assert options is not None
        self._path = Path(options.samples)
        self._file: IO[bytes] = self._path.open("wb")
        texts = _endless_texts(options.texts, options.seed)
        # The first are drawn before the clock starts.
        self._texts = itertools.chain([next(texts)], texts)
        self._indices = itertools.count()
        self._lags: list[float] = []
        self._closed = threading.Event()
        self._late: list[float] = []
        self._chance = random.Random(options.seed)
        self._kept: list[tuple[int, bytes]] = []
        self._answers = 0
        self.begun = False
        self.started = time.monotonic()
        self._cpu, self._machine = time.process_time(), cpu_s()
        self._watch = threading.Thread(target=self._watch_lag, daemon=True)
        self._watch.start()

    def begin(self) -> None:
        """The clock of the test starts: called by each user, the first of whom starts it."""
        if not self.begun:
            self.begun, self.started = True, time.monotonic()

    @property
    def time_s(self) -> float:
        """Of the test; 0 until the first user is there."""
        return time.monotonic() - self.started if self.begun else 0.0

    def next(self) -> tuple[int, str]:
        """Index and text of the next request."""
        return next(self._indices), next(self._texts)

    def add(self, sample: Sample, audio: bytes) -> None:
        """Write a sample down, and perhaps keep its audio: of all answers each with the same chance."""
        if sample.heard is not None:
            self._answers += 1
            place = len(self._kept) if len(self._kept) < KEPT else self._chance.randrange(self._answers)
            if place < KEPT:
                self._kept[place : place + 1] = [(sample.index, audio)]
        self._late.append(sample.sent_s - sample.due_s)
        self._file.write(msgspec.json.encode(sample) + b"\n")

    def close(self) -> None:
        """End the file, and write the generator's health and the kept audio beside it."""
        self._closed.set()
        self._file.close()
        elapsed = time.monotonic() - self.started
        busy, total = (after - before for before, after in zip(self._machine, cpu_s(), strict=True))
        health = Generator(
            lateness_p50_s=percentile(self._late or [0.0], 50),
            lateness_p99_s=percentile(self._late or [0.0], 99),
            loop_lag_p99_s=percentile(self._lags or [0.0], 99),
            cpu_share=(time.process_time() - self._cpu) / elapsed,
            machine_cpu_share=busy / total if total else 0.0,
        )
        self._path.with_suffix(".generator.json").write_bytes(msgspec.json.encode(health))
        folder = self._path.with_suffix(".audio")
        folder.mkdir(exist_ok=True)
        for index, audio in self._kept:
            (folder / f"{index}.raw").write_bytes(audio)

    def _watch_lag(self) -> None:
        while not self._closed.is_set():
            due = time.monotonic() + TICK_S
            time.sleep(TICK_S)
            self._lags.append(max(0.0, time.monotonic() - due))


def _endless_texts(mix: str, seed: int) -> Iterator[str]:
    """Texts of a mix without a sentence twice, drawn as they are needed."""
    workload = Workload(seed)
    for block in itertools.count():
        yield from workload.texts(mix, TEXTS, str(block))


_recorder: Recorder | None = None


def _add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--samples", default="samples.jsonl", help="file of the raw samples")
    parser.add_argument("--texts", default="mixed", help="text mix of bench.workload")
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    parser.add_argument(
        "--stages",
        default='[{"name": "hold", "users": 4, "duration_s": 30}]',
        help="JSON list of name, users, duration_s and ramp",
    )


def _begin(environment: Environment, **_: Any) -> None:
    global _recorder
    _recorder = Recorder(environment)


def _end(environment: Environment, **_: Any) -> None:
    if _recorder is not None:
        _recorder.close()


events.init_command_line_parser.add_listener(_add_arguments)  # type: ignore[no-untyped-call]
events.test_start.add_listener(_begin)  # type: ignore[no-untyped-call]
# When the last user is gone: `quitting` comes before that at Ctrl-C, and late where the page stays open.
events.test_stop.add_listener(_end)  # type: ignore[no-untyped-call]


class StageShape(LoadTestShape):
    """Follows the stages of --stages: ramp, hold, spike, soak."""

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now and how many to add per second; None when the last stage has ended."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        stages = msgspec.json.decode(options.stages, type=list[Stage])
        found = stage_at(stages, 0.0 if _recorder is None else _recorder.time_s)
        return None if found is None else (found[1], SPAWN_RATE)


class SpeechUser(User):
    """Sends a request, reads its answer to the end, sends the next."""

    abstract = True
    wait_time = constant(0)
    endpoint: str

    def on_start(self) -> None:
        """Called by Locust for each new user."""
        assert _recorder is not None
        _recorder.begin()
        target = msgspec.json.decode(os.environ.get("BENCH_TARGET", "{}"), type=Target)
        self._adapter = HttpAdapter(target, self.host or "http://127.0.0.1:8009", self.endpoint, {})
        self._tls = tls_context(target, self._adapter.address)
        self._socket: socket.socket | None = None

    def on_stop(self) -> None:
        """Called by Locust when the user leaves."""
        self._drop()

    @task
    def speak(self) -> None:
        """One request. A failure is an error of the sample, never an exception."""
        assert _recorder is not None
        index, text = _recorder.next()
        due_s = time.monotonic() - _recorder.started
        sample = Sample(
            index=index,
            text=text,
            characters=len(text),
            due_s=due_s,
            sent_s=due_s,
            end_s=due_s,
            streaming=self.endpoint == "/tts/stream",
        )
        parser = ResponseParser()
        failure: tuple[ErrorKind | None, str] = (None, "")
        cut: GreenletExit | None = None
        target, where = self._adapter.target, self._adapter.address.name
        try:
            sample.sent_s = time.monotonic() - _recorder.started
            connection = self._connect()
            self._exchange(connection, text, parser)
        except TimeoutError:
            failure = ("timeout", f"no end within {target.timeout_s:g} s")
        except GreenletExit as error:  # Locust waits no longer
            failure, cut = ("timeout", "no end when the load was over"), error
        except HttpError as error:
            failure = ("http_error", str(error))
        except OSError as error:
            failure = ("connect", of_connection(error, where))
        sample.end_s = time.monotonic() - _recorder.started
        started, answer = _recorder.started, parser.response
        audio = read_whatever(lambda: self._adapter.read(sample, answer, started), sample)
        settle(sample, parser.response, failure)
        if sample.error is not None:
            self._drop()
        else:
            sample.heard = hear(
                audio, sample.encoding, sample.channels, sample.sample_rate_hz, sound_only=True
            )
            sample.doubts = wave_doubts(sample, sound_only=True)
            if parser.response.headers.get("connection", "").lower() == "close":
                self._drop()
        _recorder.add(sample, audio)
        self._report(sample)
        if cut is not None:
            raise cut
        if sample.error in ("refused", "connect"):
            time.sleep(REFUSED_PAUSE_S)

    def _connect(self) -> socket.socket:
        if self._socket is None:
            address, timeout_s = self._adapter.address, self._adapter.target.timeout_s
            self._socket = socket.create_connection((address.host, address.port), timeout=timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=address.host)
        return self._socket

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, connection: socket.socket, text: str, parser: ResponseParser) -> None:
        connection.sendall(self._adapter.message(text))
        while not parser.response.complete:
            data = connection.recv(65_536)
            if not data:
                parser.end()
                self._drop()
                return
            parser.feed(data, time.monotonic())

    def _report(self, sample: Sample) -> None:
        """To Locust's page: a request, failed if it has an error or nobody would call its audio speech."""
        words = sample.doubts[0] if sample.doubts else f"{sample.error}: {sample.detail}"
        self.environment.events.request.fire(
            request_type="TTS",
            name=self.endpoint,
            response_time=total_s(sample) * 1000,
            response_length=sum(size for _, size in sample.events),
            exception=RuntimeError(words) if sample.error is not None or sample.doubts else None,
            context={},
        )
        if not sample.streaming or sample.error is not None:
            return
        # Straight into their own entries: an event of a request would count in the totals of the page as well.
        entries = self.environment.stats.entries
        first = audible_ttfa_s(sample)
        if first is not None:
            entries[f"{self.endpoint} first sound", "TTS"].log(round(first * 1000), 0)
        entries[f"{self.endpoint} largest gap", "TTS"].log(round(max(gaps_s(sample), default=0.0) * 1000), 0)


class StreamUser(SpeechUser):
    """A listener who plays the audio as it comes."""

    endpoint = "/tts/stream"
    weight = 3


class WholeUser(SpeechUser):
    """A caller who wants the whole file."""

    endpoint = "/tts"
    weight = 1
