"""`python -m bench cheats`: every server of the table through the real generator and the real checks."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.cheats.rows import Row
from bench.cheats.server import Voice, serve
from bench.cheats.table import CHARGED, CHEATS, HONEST
from bench.hearing.judge import judge
from bench.hearing.speech_check import check_speech
from bench.load.again import TEXTS, again, kept
from bench.load.cell import measure_cell
from bench.load.generator import LoadPlan, generate
from bench.metrics import audible_ttfa_s
from bench.records import Arm, Cell, LoadPoint, Run, Sample
from bench.servers.start import Server
from bench.workload import Workload, warmup_texts

POINTS = (
    LoadPoint(endpoint="/tts/stream", texts="mixed", clients=1),
    LoadPoint(endpoint="/tts/stream", texts="mixed", clients=10),
)
"""Alone and under load: four requests and ten."""
FOOLED = "the stopwatch is fooled"
MACHINE = ("late generator", "starved generator", "disturbed machine")
"""Reasons that are the machine's: a table of cheats is no measurement of speed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows of the table (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    parser.add_argument("--markdown", action="store_true", help="print the table for the docs")


def main(arguments: argparse.Namespace) -> int:
    """Print a line per server. Returns 1 if a cheat passed or was not named, or an honest server was accused."""
    table = [row for row in CHEATS + CHARGED + HONEST if not arguments.names or row.name in arguments.names]
    voice, failed = Voice(), 0
    if arguments.markdown:
        print("| server | what it does | what is said of it |\n| --- | --- | --- |")
    for row in table:
        began = time.monotonic()
        found = reasons(row, voice, arguments.seed)
        good = right(row, found)
        failed += not good
        if arguments.markdown:
            said = next((one for one in found if named_by(row, one)), "nothing")
            print(f"| {row.name} | {row.does} | {said} |", flush=True)
        else:
            took = time.monotonic() - began
            print(f"{'ok  ' if good else 'FAIL'} {row.name:18} {took:5.1f} s  {'; '.join(found)}", flush=True)
    return int(failed > 0)


def right(row: Row, found: Sequence[str]) -> bool:
    """A cheat is named by its words, an honest one is not accused, and one of CHARGED fools no stopwatch."""
    if row.speaks_after_s:
        return not any(reason.startswith(FOOLED) for reason in found)
    return not found if row.named is None else any(named_by(row, reason) for reason in found)


def named_by(row: Row, reason: str) -> bool:
    """Whether the reason says one of the words that the row wants."""
    return any(word in reason for word in (row.named or "").split("|") if word)


def reasons(row: Row, voice: Voice, seed: int) -> list[str]:
    """What the bench holds against a server of the table, the machine's own troubles apart.

    The recogniser, which takes most of the time, is asked only where the samples have not said it already.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = measure(row, voice, seed, Path(folder))
        judge(run)
        found = _said(run)
        found += _too_soon(row, run)
        if row.named is None or not right(row, found):
            check_speech(run, Path(folder))
            found = _said(run) + _too_soon(row, run)
    return found


def _too_soon(row: Row, run: Run) -> list[str]:
    """Whether the stopwatch took something for the speech that is none."""
    heard = [
        time for cell in run.cells for sample in cell.samples if (time := audible_ttfa_s(sample)) is not None
    ]
    if not heard or median(heard) >= row.speaks_after_s:
        return []
    return [f"{FOOLED}: the speech comes after {row.speaks_after_s:g} s, TTFA is {median(heard):.3f} s"]


def measure(row: Row, voice: Voice, seed: int, folder: Path) -> Run:
    """A run of one arm over all load points; waves for the recogniser in `folder`/waves."""
    waves = folder / "waves"
    waves.mkdir()
    workload = Workload(seed)
    cells: list[Cell] = []
    with serve(row.cheat, voice, row.stats) as server:
        if row.asked_again:
            server.keeps_answers = kept(_twice_asked(server, seed))
        for order, point in enumerate(POINTS):
            cells.append(
                measure_cell(
                    server,
                    point,
                    duration_s=0.0,
                    workload=workload,
                    seed=seed,
                    warmup_most=2,
                    waves=waves,
                    order=order,
                )
            )
    return Run(
        id="cheats", started_at="", machine={}, commit=None, dirty=False, profile="", workload_seed=seed,
        warmup_rule="two", arms=[Arm(name="cheat", description=row.does)], cells=cells,
    )  # fmt: skip


def _twice_asked(server: Server, seed: int) -> list[Sample]:
    texts = again(warmup_texts("short", TEXTS, seed, "again"))
    plan = LoadPlan(
        url=server.url, endpoint="/tts/stream", texts=texts, warmup_texts=[], clients=1, duration_s=0.0,
        min_requests=len(texts),
    )  # fmt: skip
    return generate(plan).samples


def _said(run: Run) -> list[str]:
    every = [reason for cell in run.cells for reason in cell.reasons if not reason.startswith(MACHINE)]
    return list(dict.fromkeys(every))
