"""A whole run on servers that are pure functions: what is found, written and said, and when there is no answer."""

from __future__ import annotations

import random
import re
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.__main__ import main
from bench.capacity import command
from bench.capacity.record import CapacityRun, Found
from bench.capacity.report import difference, headline, write_report
from bench.capacity.search import Estimate, Limits
from bench.records import Cell
from bench.servers.start import StartFailed
from tests.unit.bench.capacity.made_up import RATE_HZ, cell, refused, sample

CAPACITY = {"granian": 23.0, "reference": 11.0}
pytestmark = pytest.mark.slow  # it loads the recogniser's package and draws


def pretend(amount: float, kind: str, arm: str, seed: int, **more: Any) -> Cell:
    """Beyond its capacity, give or take some percent, a server is late and refuses."""
    most = CAPACITY[arm] * random.Random(seed).lognormvariate(0.0, 0.04)
    late = 0.05 + 0.2 * (amount / most) ** 4
    samples = [sample(index, ttfa_s=late) for index in range(24)]
    if amount > 1.5 * most:
        samples[0] = refused(0)
    streams = kind == "streams"
    return cell(
        samples, arm=arm, mode="closed" if streams else "open", clients=round(amount) if streams else None,
        rate_rps=None if streams else amount, **more,
    )  # fmt: skip


def ran(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, change: Callable[[Cell], None] = lambda _: None
) -> tuple[int, CapacityRun]:
    def measure(
        fresh: Any, kind: str, amount: float, load: Any, *, seed: int, order: int, waves: Path
    ) -> Cell:
        found = pretend(amount, kind, fresh.args[0], seed, order=order)
        change(found)
        return found

    monkeypatch.setattr(command, "measure", measure)
    code = main(["capacity", *words.split(), "--output", str(folder)])
    return code, msgspec.json.decode((folder / "capacity.json").read_bytes(), type=CapacityRun)


def test_the_answer_is_a_sentence_with_an_interval_that_holds_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('machine_per_hour = 0.5\ncurrency = "EUR"\n', encoding="utf-8")
    code, record = ran(tmp_path, monkeypatch, f"--kinds streams --prices {prices}")
    said = capsys.readouterr().out
    assert code == 0
    assert "2 searches with probes of 15 s: at most 13 minutes" in said
    for found in record.found:
        assert found.invalid is None
        assert found.estimate.low is not None
        assert found.estimate.high is not None
        assert found.estimate.low <= CAPACITY[found.arm] <= found.estimate.high
        assert found.estimate.high < 1.4 * found.estimate.low
    [line] = headline(record)
    assert re.fullmatch(
        r"granian holds 2\d listeners \[\d+, \d+\]; reference holds 1\d listeners \[\d+, \d+\]\. "
        r"That is [\d.]+ times as many\.",
        line,
    ), line
    assert line in " ".join(said.split())
    markdown = (tmp_path / "capacity.md").read_text(encoding="utf-8")
    assert "Knee: TTFA p95 has doubled above" in markdown
    assert re.search(
        r"\| granian \| 2\d listeners \|.*\| 1\.00 GiB \| - \| [\d.e-]+ EUR \| [\d.e-]+ EUR \|", markdown
    )
    page = (tmp_path / "capacity.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "#0102" not in page, "a stand-in colour is left"
    assert 'aria-label="Listeners at once' in page
    assert f"<title>{line}</title>" in page


def test_two_runs_with_other_seeds_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [
        ran(tmp_path, monkeypatch, f"--kinds rate --arms granian --quick --seed {seed}")[1] for seed in (1, 2)
    ]
    one, two = (run.found[0].estimate for run in runs)
    assert one != two
    assert one.agrees(two)


def test_a_disturbed_machine_gives_no_answer_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturb(found: Cell) -> None:
        found.others_cpu_share = 0.9

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian", disturb)
    assert code == 1
    assert len(record.probes) == 4
    assert headline(record) == [
        "granian no answer, INVALID: 4 probes say nothing, the last: disturbed machine: others used 0.90 of a core."
    ]
    assert "## Void probes" in (tmp_path / "capacity.md").read_text(encoding="utf-8")


def test_a_disturbance_now_and_then_only_repeats_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturb(found: Cell) -> None:
        found.others_cpu_share = 0.9 if found.order % 3 == 2 else 0.1

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian --quick", disturb)
    assert code == 0
    void = [probe for probe in record.probes if probe.standing == "void"]
    assert void
    for probe in void:
        assert record.probes[record.probes.index(probe) + 1].amount == probe.amount
    assert record.found[0].estimate.probes == len(record.probes) - len(void)


def test_a_server_that_holds_nothing_and_one_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(found: Cell) -> None:
        found.samples = [refused(0)]

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian", fail)
    assert (code, headline(record)) == (0, ["granian does not hold even 1 listener."])

    def end(found: Cell) -> None:
        raise StartFailed("granian: the process ended with code 1")

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian", end)
    assert code == 1
    assert record.arms[0].failure == "granian: the process ended with code 1"
    assert "INVALID: granian: the process ended" in headline(record)[0]


def test_waves_in_doubt_do_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(found: Cell) -> None:
        for one in found.samples:
            one.doubts = ["said twice: a piece of the wave comes again in it"]

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian", twice)
    assert code == 0
    assert headline(record) == ["granian does not hold even 1 listener."]
    assert "said twice" in record.probes[0].reasons[0]
    assert write_report(record, tmp_path)


def test_speech_that_nobody_understands_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recogniser hears the highest loads that held; the waves of all others are deleted."""

    def hum(found: Cell) -> None:
        found.samples[0].wave = f"waves/{found.order:03d}.wav"
        with wave.open(str(tmp_path / found.samples[0].wave), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(struct.pack("<2h", 3000, -3000) * RATE_HZ)

    code, record = ran(tmp_path, monkeypatch, "--kinds streams --arms granian --quick", hum)
    assert code == 1
    assert "INVALID" in headline(record)[0]
    assert "unintelligible: request 0 has a WER of 100%" in headline(record)[0]
    kept = [probe for probe in record.probes if probe.cell.samples[0].wave]
    assert 1 <= len(kept) <= 6
    assert len(list((tmp_path / "waves").iterdir())) == len(kept)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--arms nobody", "--arms: no arm 'nobody'"),
        ("--kinds speed", "--kinds: no kind 'speed'"),
        ("--wer 0.5", "--wer"),
        ("--barge-in 1", "--barge-in"),
        ("--burst 0", "--burst"),
        ("--arms granian,granian", "each name once"),
        ("--arms granian --target granian=tts:http://127.0.0.1:1", "each name once"),
        ("--kinds rate,rate", "each name once"),
        ("--trace x", "--trace: is replayed at a rate"),
        ("--think-s -1", "0 or more"),
    ],
)
def test_bad_arguments_are_named(words: str, says: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(says)):
        main(["capacity", *words.split()])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", "--kinds", "rate", "--trace", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().out


def test_each_of_three_servers_is_held_against_the_first() -> None:
    def found(arm: str, low: float, capacity: float, high: float) -> Found:
        return Found(
            arm=arm, kind="rate", limits=Limits(first=4.0, lowest=0.1, highest=999.0, whole=False),
            estimate=Estimate(standing="found", capacity=capacity, low=low, high=high),
        )  # fmt: skip

    three = [found("ours", 55, 60, 65), found("plain", 10, 11, 12), found("mine", 54, 59, 66)]
    assert difference(three) == (
        " ours against plain: that is 5.5 times as many. ours against mine: no difference outside the intervals."
    )
    assert difference(three[:2]) == " That is 5.5 times as many."
    assert difference(three[:1]) == ""
