"""A machine whose cores are busy with a model's steps, and how long who is woken there waits for a core."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from queue import SimpleQueue
from statistics import mean

import torch
import zmq

from bench.simulate.costs import Crowd
from bench.simulate.speeches import speeches
from serving.engine.runner import Runner
from serving.engine.transport import EnginePair
from serving.engine.workers import STEPPED_BACK
from serving.models.base import Frontend, Model
from serving.native.cores import usable_cores
from serving.profile import Profile

WAKES = 150
REST_S = 0.002
"""Between two wakes, so that all threads are asleep again."""
SENDS = 100
SENT_SAMPLES = 48_000
"""Of a chunk: two seconds of 24 kHz."""


@contextmanager
def crowd(kind: Crowd, profile: Profile, frontend: Frontend, model: Model) -> Iterator[list[float]]:
    """Meanwhile a thread for each core computes steps of the model, one after another, as the engine's workers do.

    `behind`: they are as nice as steps that step back. `idle`: there are none. Yields the seconds, of each step so far,
    until another thread of this process knew of its end, while the one that told it went on with the next.
    """
    texts = list(islice(speeches(frontend, "short", 4000, profile.text.pauses), 8))
    ending = threading.Event()
    ends: SimpleQueue[float | None] = SimpleQueue()
    waits: list[float] = []
    failures: list[BaseException] = []

    def work(slot: int) -> None:
        try:
            if kind == "behind" and sys.platform == "linux":
                thread = threading.get_native_id()
                os.setpriority(
                    os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + STEPPED_BACK
                )
            torch.set_num_threads(1)
            runner = Runner(model, profile.engine, torch.device("cpu"))
            for speech in islice(cycle(texts), slot, None):
                for segment in speech.segments:
                    state = model.open(speech.params, segment, slot, urgent=False)
                    try:
                        while state.stage is not None:
                            if ending.is_set():
                                return
                            runner.finish(runner.launch(state.stage, [state]))
                            ends.put(time.perf_counter())
                    finally:
                        model.close(state)
        except BaseException as error:
            failures.append(error)

    count = 0 if kind == "idle" else usable_cores()
    threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in range(count)]
    told = threading.Thread(target=_note, args=(ends, waits), daemon=True)
    for thread in (told, *threads):
        thread.start()
    try:
        yield waits
    finally:
        ending.set()
        for thread in threads:
            thread.join()
        ends.put(None)
        told.join()
    if failures:
        raise failures[0]


def wake_s() -> float:
    """Seconds until a thread of this process that waits at a queue, as a worker does, has what another put there."""
    there: SimpleQueue[float | None] = SimpleQueue()
    waits: list[float] = []
    thread = threading.Thread(target=_note, args=(there, waits))
    thread.start()
    for _ in range(WAKES):
        time.sleep(REST_S)
        there.put(time.perf_counter())
    there.put(None)
    thread.join()
    return mean(waits)


def _note(moments_s: SimpleQueue[float | None], waits: list[float]) -> None:
    while (moment_s := moments_s.get()) is not None:
        waits.append(time.perf_counter() - moment_s)


def socket_s() -> tuple[float, float]:
    """CPU seconds of the engine's socket for a chunk: of the loop that sends it, and of the socket's own thread."""
    import numpy as np

    with contextlib.ExitStack() as stack:
        contexts = [stack.enter_context(zmq.Context()) for _ in range(2)]
        reading = stack.enter_context(contexts[0].socket(zmq.PAIR))
        port = reading.bind_to_random_port("tcp://127.0.0.1")
        sending = EnginePair(contexts[1], f"tcp://127.0.0.1:{port}")
        stack.callback(sending.close)
        read_s: list[float] = []
        thread = threading.Thread(target=lambda: read_s.append(_own_cpu_s(lambda: _read(reading))))
        samples = np.zeros(SENT_SAMPLES, np.float32)
        whole_s = time.process_time()
        thread.start()
        own_s = _own_cpu_s(lambda: _send(sending, samples))
        rest_s = _own_cpu_s(lambda: [time.sleep(REST_S) for _ in range(SENDS)])  # type: ignore[func-returns-value]
        thread.join()
        whole_s = time.process_time() - whole_s
    own_s -= rest_s
    # What is left is of two such threads, one at either end.
    return own_s / SENDS, max(0.0, whole_s - own_s - 2 * rest_s - read_s[0]) / 2 / SENDS


def _send(pair: EnginePair, samples: object) -> None:
    for _ in range(SENDS):
        time.sleep(REST_S)
        pair.send_chunk("0", samples)  # type: ignore[arg-type]


def _read(socket: zmq.Socket[bytes]) -> None:
    for _ in range(SENDS):
        socket.recv_multipart()


def _own_cpu_s(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s
