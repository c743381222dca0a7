"""`python -m bench load`: Locust users in stages against one server, headless or with Locust's own page.

Locust runs in a process of its own. Its CSV and its raw samples land side by side, and a run.json in the
bench's schema holds one cell per stage and endpoint, with exact percentiles derived from the samples.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.hearing.hear import hear_all
from bench.hearing.judge import name_doubts
from bench.load.locust.stages import Stage, default_stages, stage_at
from bench.load.validity import validate
from bench.machine import commit, machine
from bench.metrics import (
    audible_ttfa_s,
    audio_seconds_per_second,
    continuity,
    distribution,
    errors_by_kind,
    good,
)
from bench.records import Arm, Cell, Generator, Run, Sample, write_json
from bench.servers.start import ARMS, Server, StartFailed, start_server, target_server
from bench.targets.arguments import add_target_arguments, targets_of
from bench.workload import MIXES, fresh_seed

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
STOP_TIMEOUT_S = 60
"""Of Locust: how long requests that have begun may last when it ends."""
GRACE_S = 10
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench load`."""
    parser.add_argument("--quick", action="store_true", help="20 seconds, 4 users")
    parser.add_argument("--arm", choices=tuple(ARMS), default="granian")
    parser.add_argument("--users", type=int, help="at the plateau; the spike has twice as many (default: 8)")
    parser.add_argument("--duration-s", type=float, help="of all stages together (default: 300)")
    parser.add_argument("--texts", choices=tuple(MIXES), default="mixed")
    parser.add_argument("--profile", default="default", help="of our server")
    parser.add_argument("--seed", type=int, default=fresh_seed(), help="of the texts (default: drawn)")
    parser.add_argument(
        "--page", type=int, nargs="?", const=8089, metavar="PORT", help="Locust's page, until Ctrl-C"
    )
    parser.add_argument("--output", type=Path, default=Path("reports/latest/load"), metavar="FOLDER")
    add_target_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Load the server, derive the figures, print them. Returns 1 if a server or a cell failed."""
    console = Console()
    targets = targets_of(arguments)
    interrupted = False
    if len(targets) > 1 or any(target.socket for target in targets):
        raise SystemExit("--target: Locust users load one target, in place of --arm, and over HTTP")
    stages = default_stages(
        arguments.users or (4 if arguments.quick else 8),
        arguments.duration_s or (20.0 if arguments.quick else 300.0),
    )
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    head, dirty = commit()
    record = Run(
        id=f"load-{now:%Y%m%d-%H%M%S}",
        started_at=now.isoformat(timespec="seconds"),
        machine=machine(),
        commit=head,
        dirty=dirty,
        profile=arguments.profile,
        workload_seed=arguments.seed,
        warmup_rule="none: the ramp is a stage of its own",
    )
    try:
        with contextlib.ExitStack() as stack:
            started = target_server(targets[0]) if targets else start_server(arguments.arm, arguments.profile)
            server = stack.enter_context(started)
            description = ARMS[server.arm].description if not targets else "a target"
            info = server.info | ({"target": targets[0].described()} if targets else {})
            record.arms.append(Arm(name=server.arm, description=description, info=info))
            console.print(
                f"{server.arm} at {server.url}: {', '.join(f'{s.name} {s.users}' for s in stages)} users"
            )
            before = server.stats()
            interrupted = _locust(server, stages, arguments, folder)
            after = server.stats()
    except StartFailed as error:
        console.print(f"[red]failed:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    if interrupted:
        record.exclusions.append("ended by Ctrl-C: later stages are missing")
    path = folder / "samples.jsonl"
    if not path.with_suffix(".generator.json").exists():
        console.print("no user has begun, so there is nothing to tell")
        return INTERRUPTED if interrupted else 1
    samples = [msgspec.json.decode(line, type=Sample) for line in path.read_bytes().splitlines()]
    health = msgspec.json.decode(path.with_suffix(".generator.json").read_bytes(), type=Generator)
    hear_kept(samples, path.with_suffix(".audio"))
    record.cells = cells(server.arm, stages, samples, health)
    for cell in record.cells:
        cell.texts, cell.seed, cell.server_before, cell.server_after = (
            arguments.texts,
            arguments.seed,
            before,
            after,
        )
        validate(cell)
        name_doubts(cell)
    record.duration_s = time.monotonic() - began
    write_json(record, folder / "run.json")
    console.print(_table(record.cells))
    console.print("smooth: answers without a stall of more than 100 ms")
    for line in complaints(record.cells):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{folder / 'run.json'}, {path}, {folder / 'locust_stats.csv'}", highlight=False, soft_wrap=True
    )
    if interrupted and not arguments.page:
        return INTERRUPTED
    return 0 if record.cells and all(cell.verdict == "VALID" for cell in record.cells) else 1


def hear_kept(samples: Sequence[Sample], folder: Path) -> None:
    """Hear in full the waves that Locust's process has kept, and delete them. The others keep what it heard of them."""
    audio = {int(path.stem): path.read_bytes() for path in folder.glob("*.raw")}
    kept = [sample for sample in samples if sample.index in audio]
    early = {sample.index: sample.doubts for sample in kept}
    hear_all(kept, audio)
    for sample in kept:
        sample.doubts += [doubt for doubt in early[sample.index] if doubt not in sample.doubts]
    for path in folder.glob("*.raw"):
        path.unlink()
    if folder.exists():
        folder.rmdir()


def cells(arm: str, stages: Sequence[Stage], samples: Sequence[Sample], health: Generator) -> list[Cell]:
    """One cell per stage and endpoint; a request belongs to the stage in which it was due."""
    last = stages[-1].name
    groups: dict[tuple[str, bool], list[Sample]] = {}
    for sample in samples:
        found = stage_at(stages, sample.due_s)
        groups.setdefault((found[0].name if found else last, sample.streaming), []).append(sample)
    return [
        Cell(
            arm=arm,
            mode="closed",
            endpoint="/tts/stream" if streaming else "/tts",
            texts="",
            stage=stage.name,
            clients=stage.users,
            order=order,
            seed=0,
            duration_s=stage.duration_s,
            warmup_requests=0,
            samples=groups[stage.name, streaming],
            generator=health,
        )
        for order, stage in enumerate(stages)
        for streaming in (True, False)
        if (stage.name, streaming) in groups
    ]


def _locust(server: Server, stages: Sequence[Stage], arguments: argparse.Namespace, folder: Path) -> bool:
    """Run Locust to its end. True if it was ended by Ctrl-C, after which it has written what it saw until then."""
    kept = (folder / "samples.audio").glob("*.raw")
    for old in (folder / "samples.jsonl", folder / "samples.generator.json", *kept):
        old.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", server.url),
        *(
            "--csv",
            str(folder / "locust"),
            "--stop-timeout",
            str(STOP_TIMEOUT_S),
            "--exit-code-on-error",
            "0",
        ),
        *(
            "--samples",
            str(folder / "samples.jsonl"),
            "--texts",
            arguments.texts,
            "--seed",
            str(arguments.seed),
        ),
        *("--stages", msgspec.json.encode(list(stages)).decode(), "--loglevel", "WARNING"),
    ]
    if arguments.page:
        command += ["--web-host", "127.0.0.1", "--web-port", str(arguments.page), "--autostart"]
    else:
        command += ["--headless", "--only-summary"]
    # By the environment: a header may be a secret, and anybody may read a command line.
    target = msgspec.json.encode(server.target).decode()
    # In a session of its own, for Ctrl-C on a terminal goes to a whole group and its second one would cut it short.
    process = subprocess.Popen(command, env={**os.environ, "BENCH_TARGET": target}, start_new_session=True)
    interrupted = False
    try:
        process.wait()
    except KeyboardInterrupt:
        interrupted = True
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S + GRACE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        raise StartFailed(f"locust ended with code {process.returncode}")
    return interrupted


def _table(found: Sequence[Cell]) -> Table:
    """A row per cell, 80 columns wide at most; what went wrong stands in complaints()."""
    table = Table(
        "stage", "endpoint", "users", "sent", "TTFA p50 / p95", "audio s/s", "smooth", "verdict",
        box=None, pad_edge=False, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for cell in found:
        first = distribution(
            time for sample in good(cell.samples) if (time := audible_ttfa_s(sample)) is not None
        )
        smooth = continuity(cell.samples)
        times = " / ".join("-" if value is None else f"{value * 1e3:.0f}" for value in (first.p50, first.p95))
        table.add_row(
            cell.stage,
            cell.endpoint,
            str(cell.clients),
            str(len(cell.samples)),
            f"{times} ms",
            f"{audio_seconds_per_second(cell.samples):.1f}",
            "-" if smooth is None else f"{smooth[0.1]:.1%}",
            cell.verdict,
        )
    return table


def complaints(found: Sequence[Cell]) -> list[str]:
    """A line for every cell with errors or a reason against it: which cell, and what."""
    lines = []
    for cell in found:
        errors = [f"{count} {kind}" for kind, count in errors_by_kind(cell.samples).items()]
        counted = [f"{', '.join(errors)} of {len(cell.samples)} requests"] if errors else []
        if counted or cell.reasons:
            lines.append(
                f"{cell.stage} {cell.endpoint} {cell.verdict}: {'; '.join([*counted, *cell.reasons])}"
            )
    return lines
