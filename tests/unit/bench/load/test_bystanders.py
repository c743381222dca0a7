"""Clients that are passed over, servers that work unasked, and work that is done elsewhere."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from bench.load.bystanders import Bystanders, accuse_bystanders
from bench.load.validity import validate
from bench.records import Cell, Generator, Run, Sample
from bench.servers.start import Server
from tests.unit.bench.support import heard

CALM = Generator(
    lateness_p50_s=0.0, lateness_p99_s=0.0, loop_lag_p99_s=0.0, cpu_share=0.1, machine_cpu_share=0.5
)


def _cell(arm: str = "a", samples: list[Sample] | None = None, clients: int = 4, **more: Any) -> Cell:
    return Cell(
        arm=arm, mode="closed", endpoint="/tts/stream", texts="short", clients=clients, seed=1, duration_s=1.0,
        warmup_requests=0, samples=samples or [_answer(0.0, 0.1)], generator=CALM, **more,
    )  # fmt: skip


def _answer(sent_s: float, end_s: float, characters: int = 60) -> Sample:
    return Sample(
        index=0, text="a", characters=characters, due_s=sent_s, sent_s=sent_s, end_s=end_s, sample_rate_hz=24_000,
        status=200, events=[(end_s, 48_000)], heard=heard(),
    )  # fmt: skip


def _client(begin_s: float, *takes_s: float, characters: int = 60) -> list[Sample]:
    found = []
    for took_s in takes_s:
        found.append(_answer(begin_s, begin_s + took_s, characters))
        begin_s += took_s
    return found


def _run(*cells: Cell) -> Run:
    return Run(
        id="r", started_at="", machine={}, commit=None, dirty=False, profile="", workload_seed=1, warmup_rule="",
        cells=list(cells),
    )  # fmt: skip


def _passed_over(*clients: list[Sample]) -> bool:
    cell = _cell(samples=[sample for samples in clients for sample in samples], clients=len(clients))
    validate(cell)
    assert all("passed over" in reason for reason in cell.reasons), cell.reasons
    return bool(cell.reasons)


def test_clients_that_wait_while_later_ones_are_served_are_named() -> None:
    quick = [0.1] * 40
    assert _passed_over(_client(0.0, *quick), _client(0.01, *quick), _client(0.0, 4.0), _client(0.0, 4.0))
    assert _passed_over(
        _client(0.0, *quick), _client(0.01, *quick), _client(0.0, 1.9, 1.9), _client(0.0, 1.9, 1.9)
    )


def test_equal_clients_a_pause_of_the_server_and_long_texts_are_no_fault() -> None:
    even = [0.3, 0.25, 0.35, 0.3] * 5
    assert not _passed_over(*(_client(0.01 * number, *even) for number in range(4)))
    stopped = [0.1, 0.1, 5.0, *[0.1] * 20]
    assert not _passed_over(*(_client(0.01 * number, *stopped) for number in range(4)))
    quick = [0.1] * 40
    assert not _passed_over(
        *(_client(0.01 * n, *quick) for n in range(3)), _client(0.0, 2.0, 2.0, characters=600)
    )
    assert not _passed_over(_client(0.0, 0.1, 4.0, 0.1))


def test_a_server_that_spins_while_another_one_is_measured_is_named_and_a_calm_one_is_not() -> None:
    spins = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    sleeps = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        servers = [
            Server(name, "http://127.0.0.1", None, {}, psutil.Process(process.pid))
            for name, process in (("spins", spins), ("sleeps", sleeps))
        ]
        servers.append(Server("elsewhere", "http://example.com", None, {}, None))
        for _ in range(3):
            cell = _cell("victim")
            bystanders = Bystanders(servers)
            until = time.monotonic() + 60  # what it gets of a busy machine is not the test's
            while time.monotonic() < until and servers[0].cpu_s() == bystanders._before[0][1]:
                time.sleep(0.05)
            bystanders.accuse(cell)
    finally:
        for process in (spins, sleeps):
            process.kill()
            process.wait()
    assert [server.unasked_cpu[-1] > 0 if server.unasked_cpu else None for server in servers] == [
        True,
        False,
        None,
    ]


@pytest.mark.parametrize(
    ("shares", "named"), [([1.0, 1.0, 1.0], True), ([0.9, *[0.0] * 11], False), ([], False)]
)
def test_a_server_that_works_unasked_is_invalid_everywhere(shares: list[float], named: bool) -> None:
    server = Server("spins", "http://127.0.0.1", None, {}, None, unasked_cpu=shares)
    run = _run(_cell("spins"), _cell("victim"), _cell("spins", clients=8))
    accuse_bystanders(run, [server])
    expected = "INVALID" if named else "VALID"
    assert [cell.verdict for cell in run.cells] == [expected, "VALID", expected]


def test_work_that_is_done_outside_the_server_s_processes_is_named() -> None:
    cells = [
        _cell(arm, clients=clients, others_cpu_share=others, server_cpu_share=own)
        for clients in (1, 4, 16)
        for arm, others, own in (("helped", 0.35, 0.2), ("honest", 0.02, 0.7))
    ]
    accuse_bystanders(_run(*cells), [])
    assert {cell.arm for cell in cells if cell.reasons} == {"helped"}
    noisy = [
        _cell(arm, clients=clients, others_cpu_share=others, server_cpu_share=0.5)
        for clients, both in ((1, (0.3, 0.05)), (4, (0.02, 0.3)), (16, (0.1, 0.12)))
        for arm, others in zip(("one", "two"), both, strict=True)
    ]
    accuse_bystanders(_run(*noisy), [])
    assert all(cell.verdict == "VALID" for cell in noisy)


def test_a_helper_that_does_a_fifth_of_the_work_is_named() -> None:
    cells = [
        _cell(arm, clients=clients, others_cpu_share=others, server_cpu_share=own)
        for clients in (1, 4, 16)
        for arm, others, own in (("helped", 0.35, 1.6), ("honest", 0.02, 1.7))
    ]
    accuse_bystanders(_run(*cells), [])
    assert {cell.arm for cell in cells if cell.reasons} == {"helped"}
