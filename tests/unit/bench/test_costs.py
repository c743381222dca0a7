"""What speech costs: arithmetic on cells, price files, and the reading of NVML's counters."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.costs import PriceError, Prices, cost_of, load_prices, usage_of
from bench.energy import joules
from bench.machine import tree_cpu_s, tree_peak_rss_bytes
from tests.unit.bench.capacity.made_up import cell, refused, sample


def test_usage_is_per_second_of_good_audio() -> None:
    # Two cells of 8 s of audio in 4.1 and in 8.2 s of wall time.
    busy = cell([sample(0, due_s=0.0), sample(1, due_s=2.0), refused(2)], server_cpu_s=2.0, energy_j=80.0)
    busy.samples[2].end_s = busy.samples[2].due_s = 3.0
    calm = cell([sample(0, due_s=0.0), sample(1, due_s=6.1)], server_cpu_s=1.0, energy_j=40.0)
    calm.server_peak_rss_bytes = 3 * 2**30
    usage = usage_of([busy, calm])
    assert usage is not None
    assert usage.audio_s == pytest.approx(16.0)
    assert usage.cpu_s_per_audio_s == pytest.approx(3.0 / 16)
    assert usage.cores_busy == pytest.approx(3.0 / (4.1 + 8.2))
    assert usage.audio_s_per_s == pytest.approx(16.0 / (4.1 + 8.2))
    assert usage.peak_rss_bytes == 3 * 2**30
    assert usage.energy_j_per_audio_s == pytest.approx(120.0 / 16)
    assert usage.characters_per_audio_s == pytest.approx(240 / 16)


def test_what_one_cell_does_not_know_nobody_knows() -> None:
    usage = usage_of([cell([sample(0)]), cell([sample(0)], server_cpu_s=None)])
    assert usage is not None
    assert usage.cpu_s_per_audio_s is None
    assert usage.energy_j_per_audio_s is None
    assert usage_of([cell([refused(0)])]) is None


def test_costs_follow_from_prices_and_throughput() -> None:
    usage = usage_of([cell([sample(0, due_s=0.0), sample(1, due_s=2.0)], energy_j=8000.0)])
    assert usage is not None
    # 8 s of audio in 4.1 s; 15 characters are a second of it, so a million are 18.52 hours of audio.
    cost = cost_of(usage, Prices(machine_per_hour=1.0, currency="EUR"))
    assert cost.per_audio_hour == pytest.approx(4.1 / 8)
    assert cost.per_million_characters == pytest.approx(4.1 / 8 * 1e6 / 15 / 3600)
    # A kilojoule per audio second is a kilowatt-hour per audio hour.
    with_energy = cost_of(usage, Prices(machine_per_hour=1.0, energy_per_kwh=0.3))
    assert with_energy.per_audio_hour == pytest.approx(4.1 / 8 + 0.3)


def test_a_price_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "EUR"\nmachine_per_hour = 0.42\n', encoding="utf-8")
    assert load_prices(path) == Prices(machine_per_hour=0.42, currency="EUR")
    for text, words in [
        ("machine_per_hour = -1", "machine_per_hour is -1.0"),
        ("machine_per_hour = nan", "machine_per_hour is nan"),
        ("machine_per_hour = 1\nenergy_per_kwh = -0.3", "energy_per_kwh is -0.3"),
        ('currency = "EUR"', "machine_per_hour"),
        ("machine_per_hour = 1\nmachine_per_day = 2", "machine_per_day"),
        ('machine_per_hour = "cheap"', "machine_per_hour"),
        ("machine_per_hour =", "prices.toml"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(PriceError, match=words):
            load_prices(path)
    with pytest.raises(PriceError, match="No such file"):
        load_prices(tmp_path / "none.toml")


def nvml(counts: list[int], fails: str = "") -> Any:
    """The functions of pynvml that are called, over devices with these counters in millijoules."""

    class NVMLError(Exception):
        pass

    def call(name: str, value: Any) -> Any:
        if name == fails:
            raise NVMLError(name)
        return value

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: call("init", None),
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: call("count", len(counts)),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda device: call("energy", counts[device]),
    )


def test_energy_is_the_sum_of_all_devices_or_unknown() -> None:
    assert joules(nvml([1500, 2500])) == 4.0
    assert joules(nvml([])) is None
    assert [joules(nvml([1500], fails=name)) for name in ("init", "count", "energy")] == [None] * 3


def test_the_process_tree_is_measured_and_a_gone_one_is_nothing() -> None:
    before = tree_cpu_s(os.getpid())
    sum(range(3_000_000))
    assert tree_cpu_s(os.getpid()) > before
    peak = tree_peak_rss_bytes(os.getpid())
    assert peak is not None
    assert 2**20 < peak < 2**40
    assert (tree_cpu_s(2**22 + 1), tree_peak_rss_bytes(2**22 + 1)) == (0.0, None)
