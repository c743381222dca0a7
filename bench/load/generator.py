"""The load generator: closed and open loop, in a process of its own, one process per load point.

    python -m bench.load.generator < plan.json > outcome.json

The load of a closed loop follows the server: a client asks again when its answer is whole. That measures
capacity and hides waiting. An open loop sends on a schedule fixed beforehand, however slow the server is; every
latency counts from when the request was due. Connections are kept and used again. The generator watches
itself, and bench.load.validity calls it late or starved.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from bench.energy import energy_counter
from bench.hearing.hear import hear_all, worth_hearing
from bench.hearing.raw import samples_of
from bench.load.http1 import Response
from bench.load.listeners import Listener, played_until_s
from bench.machine import cpu_s, tree_cpu_s
from bench.metrics import percentile
from bench.records import Endpoint, Generator, Sample
from bench.targets.client import create_client, read_whatever
from bench.targets.spec import Target

TICK_S = 0.02
"""Period of the timer with which the generator's event loop watches its own lag."""
MOST_LONGER = 5.0
"""Times its duration that a closed loop goes on for the sake of long requests."""
REFUSED_PAUSE_S = 0.1
"""A closed-loop client that was refused waits this long before it asks again."""


class LoadPlan(msgspec.Struct, kw_only=True):
    """One load point, as the generator process gets it."""

    url: str
    endpoint: Endpoint
    texts: list[str]
    warmup_texts: list[str]
    clients: int | None = None
    """Clients of a closed loop; None for an open one."""
    due_s: list[float] | None = None
    """Due times of an open loop, one text each; None for a closed one."""
    duration_s: float
    """A closed loop sends new requests for this long, and until min_requests were sent, while texts are left."""
    min_requests: int = 1
    stagger_s: float = 0.0
    """The clients of a closed loop begin one after the other, evenly over this long: no wave of equal requests."""
    longest_times: float = 0.0
    """A closed loop goes on for so many times its longest request so far, for at most MOST_LONGER times duration_s."""
    target: Target = Target()
    """How the server at `url` is spoken to; its own URL counts for nothing here."""
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further fields of each request."""
    listeners: list[Listener] = msgspec.field(default_factory=list)
    """One for each text; empty: all hear their answers out, and ask again at once."""
    server_pid: int | None = None
    """Root of the server's processes on this machine; their CPU time is read where the measuring begins and ends."""
    hears: bool = True
    """Whether the waves are heard after the load (Sample.heard); a server whose waves are not is not believed."""
    keep_waves: int = 0
    """Number of good requests, drawn by chance, whose audio is written as WAV files of 16 bits."""
    keep_doubtful: int = 0
    """Number of further ones: those whose audio is most in doubt."""
    seed: int = 0
    """Of that chance."""
    waves: str = ""
    """The folder of these files."""
    name: str = ""
    """How their names begin."""


class Outcome(msgspec.Struct, kw_only=True):
    """What the generator saw."""

    samples: list[Sample]
    generator: Generator
    duration_s: float
    server_cpu_s: float | None = None
    """CPU seconds of the server's processes from the first due time to the last answer; None without server_pid."""
    energy_j: float | None = None
    """What the GPUs used in the same time; None without server_pid, or without one that counts."""
    stats_before: dict[str, Any] | None
    """GET /stats after the warm-up, and below after the last answer; None if the server offers none."""
    stats_after: dict[str, Any] | None


def generate(plan: LoadPlan) -> Outcome:
    """Run a plan in a generator process. Raises RuntimeError with the end of its output if that process fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load.generator"],
        input=msgspec.json.encode(plan),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its waves are heard by a process for each core
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Outcome)


class LoadGenerator:
    """Runs one plan in this process."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._client = create_client(plan.target, plan.url, plan.endpoint, plan.fields)
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._listeners: list[Listener] = []
        self._decoder = ThreadPoolExecutor(1, "decoder")
        self._started = 0.0
        self._audio: dict[int, bytes] = {}
        self._lags: list[float] = []

    async def run(self) -> Outcome:
        """Warm up, then measure."""
        plan = self._plan
        await self._closed_loop(plan.warmup_texts, plan.clients or 2, 0.0, len(plan.warmup_texts))
        await self._read_all()
        self._listeners = plan.listeners
        self._audio.clear()
        before = await self._stats()
        gc.collect()
        gc.disable()
        energy_j = energy_counter() if plan.server_pid else (lambda: None)
        used_before = plan.server_pid and tree_cpu_s(plan.server_pid)
        joules_before = energy_j()
        self._started = time.monotonic()
        cpu, machine = time.process_time(), cpu_s()
        watch = asyncio.create_task(self._watch_lag())
        if plan.due_s is None:
            clients = plan.clients or 1
            samples = await self._closed_loop(
                plan.texts, clients, plan.duration_s, plan.min_requests, plan.stagger_s, plan.longest_times
            )
        else:
            samples = await self._open_loop(plan.texts, plan.due_s)
        watch.cancel()
        used = plan.server_pid and tree_cpu_s(plan.server_pid)
        joules = energy_j()
        await self._read_all()
        elapsed = self._now()
        busy, total = (after - before for before, after in zip(machine, cpu_s(), strict=True))
        lateness = [sample.sent_s - sample.due_s for sample in samples] or [0.0]
        generator = Generator(
            lateness_p50_s=percentile(lateness, 50),
            lateness_p99_s=percentile(lateness, 99),
            loop_lag_p99_s=percentile(self._lags or [0.0], 99),
            cpu_share=(time.process_time() - cpu) / elapsed,
            machine_cpu_share=busy / total if total else 0.0,
        )
        gc.enable()
        after = await self._stats()
        self._client.close()
        samples.sort(key=lambda sample: sample.index)
        self._decoder.shutdown()
        if plan.hears:
            hear_all(samples, self._audio)
        self._write_waves(samples)
        return Outcome(
            samples=samples,
            generator=generator,
            duration_s=plan.duration_s,
            server_cpu_s=_difference(used_before, used),
            energy_j=_difference(joules_before, joules),
            stats_before=before,
            stats_after=after,
        )

    def _now(self) -> float:
        return time.monotonic() - self._started

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lags.append(max(0.0, time.monotonic() - due))

    async def _closed_loop(
        self,
        texts: list[str],
        clients: int,
        duration_s: float,
        at_least: int,
        stagger_s: float = 0.0,
        longest_times: float = 0.0,
    ) -> list[Sample]:
        samples: list[Sample] = []
        started = 0
        lasts_s = duration_s
        begin = time.monotonic()

        async def client(number: int) -> None:
            nonlocal started, lasts_s
            free_s = self._now() + stagger_s * number / clients
            while True:
                if (wait_s := free_s - self._now()) > 0:
                    await asyncio.sleep(wait_s)
                if started == len(texts):
                    return
                if started >= at_least and time.monotonic() - begin >= lasts_s:
                    return
                index = started
                started += 1
                sample = await self.ask(index, texts[index], free_s)
                samples.append(sample)
                wanted_s = longest_times * (sample.end_s - sample.due_s)
                lasts_s = max(lasts_s, min(wanted_s, MOST_LONGER * duration_s))
                free_s = await self._free_s(sample)
                if sample.error in ("refused", "connect"):
                    free_s = max(free_s, self._now() + REFUSED_PAUSE_S)

        await asyncio.gather(*(client(number) for number in range(clients)))
        return samples

    async def _free_s(self, sample: Sample) -> float:
        """When the listener of this sample asks again."""
        think_s = self._listeners[sample.index].think_s if self._listeners else None
        if think_s is None:
            return self._now()
        if reading := self._reading.get(sample.index):
            await reading
        return played_until_s(sample) + think_s

    async def _open_loop(self, texts: list[str], due_s: list[float]) -> list[Sample]:
        tasks = []
        for index, due in enumerate(due_s):
            await asyncio.sleep(due - self._now())
            tasks.append(asyncio.create_task(self.ask(index, texts[index], due)))
        return list(await asyncio.gather(*tasks))

    async def ask(self, index: int, text: str, due_s: float) -> Sample:
        """One request. A failure is an error of the sample, never an exception.

        What came coded is decoded by a thread meanwhile: the sample is complete after _read_all.
        """
        plan = self._plan
        sample = Sample(
            index=index,
            text=text,
            characters=len(text),
            due_s=due_s,
            sent_s=due_s,
            end_s=due_s,
            streaming=plan.endpoint == "/tts/stream",
        )
        listener = self._listeners[index] if self._listeners else Listener()
        response = await self._client.speak(sample, self._started, listener)
        if self._client.decodes and response.status == 200:
            self._reading[index] = asyncio.create_task(self._decode(sample, response))
        else:
            self._keep(sample, self._read(sample, response))
        return sample

    async def _decode(self, sample: Sample, response: Response) -> None:
        loop = asyncio.get_running_loop()
        self._keep(sample, await loop.run_in_executor(self._decoder, self._read, sample, response))

    def _read(self, sample: Sample, response: Response) -> bytes:
        return read_whatever(lambda: self._client.read(sample, response, self._started), sample)

    def _keep(self, sample: Sample, audio: bytes) -> None:
        sample.detail = sample.detail.encode(errors="replace").decode()  # a record is UTF-8
        if sample.error is None and sample.left_s is None:
            self._audio[sample.index] = audio

    async def _read_all(self) -> None:
        """Wait until every answer so far was read."""
        await asyncio.gather(*self._reading.values())
        self._reading.clear()

    async def _stats(self) -> dict[str, Any] | None:
        if self._plan.target.adapter != "tts":
            return None
        body = await self._client.get("/stats")
        try:
            return None if body is None else msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            return None

    def _write_waves(self, samples: list[Sample]) -> None:
        plan = self._plan
        if not plan.keep_waves + plan.keep_doubtful:
            return
        chosen = worth_hearing(samples, plan.keep_waves, plan.keep_doubtful, plan.seed)
        for sample in samples:
            if sample.index in chosen:
                sample.wave = f"{plan.name}-{sample.index}.wav"
                floats = samples_of(self._audio[sample.index], sample.encoding, sample.channels)
                with wave.open(str(Path(plan.waves) / sample.wave), "wb") as file:
                    file.setnchannels(sample.channels)
                    file.setsampwidth(2)
                    file.setframerate(sample.sample_rate_hz)
                    file.writeframes((floats * 32768).clip(-32768, 32767).astype("<i2").tobytes())


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def main() -> None:
    """Read a plan from standard input, run it, write the outcome to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadPlan)
    outcome = asyncio.run(LoadGenerator(plan).run())
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
