"""`python -m bench run`: arms side by side, closed and open loop, cold start, speech check, report.

All arms are started and stay up; at every load point they take turns, and the order turns round from point to
point and from repeat to repeat, so that a machine which drifts favours none.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench.headline.standing import noise_floor, reference_of
from bench.hearing.judge import judge
from bench.load.again import TEXTS, again, kept
from bench.load.bystanders import accuse_bystanders
from bench.load.cell import measure_cell
from bench.load.generator import LoadPlan, generate
from bench.machine import commit, machine
from bench.metrics import audible_ttfa_s, total_s, ttfa_s
from bench.progress import line_of, progress_bar
from bench.records import UNHEARD, Arm, ColdStart, Endpoint, LoadPoint, Run, write_json
from bench.servers.start import ARMS, Server, StartFailed, start_server, target_server
from bench.targets.arguments import add_target_arguments, targets_of
from bench.targets.spec import Limits, Target
from bench.workload import MIXES, Workload, fresh_seed, texts, warmup_texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    arms: tuple[str, ...] = ("granian", "twin", "reference")
    targets: tuple[Target, ...] = ()
    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    texts: tuple[str, ...] = ("short", "long")
    long_clients: tuple[int, ...] | None = None
    """In place of `clients` for texts that are long; None: the same."""
    whole_clients: tuple[int, ...] = (1, 8)
    """In place of `clients` for /tts, where only the last byte counts."""
    endpoints: tuple[Endpoint, ...] = ("/tts/stream", "/tts")
    rates: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0)
    open_texts: str = "mixed"
    duration_s: float = 8.0
    open_duration_s: float = 30.0
    repeats: int = 2
    warmup_most: int = 32
    """Warm-up requests per cell: as many as clients, at least 2, at most this."""
    cold_starts: int = 3
    cores: int | None = None
    threads: int | None = None
    """Limits of every server that is started, the arms and the targets alike."""
    profile: str = "default"
    seed: int = dataclasses.field(default_factory=fresh_seed)
    output: Path = Path("reports/latest")


QUICK = Options(
    clients=(1, 4, 16),
    long_clients=(4,),
    endpoints=("/tts/stream",),
    rates=(8.0,),
    duration_s=2.2,
    open_duration_s=8.0,
    repeats=1,
    warmup_most=4,
    cold_starts=1,
)
"""Under three minutes on 2 cores, the twin included."""

START_S, OVERHEAD_S, HEARING_S = 10.0, 1.6, 2.4
"""For the estimate alone: start of a server, what each cell takes besides its load, and its waves' recognition."""


def scheduled_s(options: Options) -> float:
    """About how long the run takes, without the requests that make a load point longer."""
    servers = len(options.arms) + len(options.targets)
    points = load_points(options)
    load_s = sum(
        options.duration_s if point.rate_rps is None else options.open_duration_s for point in points
    )
    cells_s = load_s + len(points) * (OVERHEAD_S + HEARING_S)
    return servers * (START_S * options.cold_starts + options.repeats * cells_s)


def load_points(options: Options) -> list[LoadPoint]:
    """The load points in the order in which they are measured."""

    def clients_of(endpoint: Endpoint, mix: str) -> tuple[int, ...]:
        if endpoint == "/tts" and len(options.endpoints) > 1:
            return options.whole_clients
        if mix == "long" and options.long_clients is not None:
            return options.long_clients
        return options.clients

    closed = [
        LoadPoint(endpoint=endpoint, texts=mix, clients=clients)
        for endpoint in options.endpoints
        for mix in options.texts
        for clients in clients_of(endpoint, mix)
    ]
    opened = [
        LoadPoint(endpoint=options.endpoints[0], texts=options.open_texts, rate_rps=rate)
        for rate in options.rates
    ]
    return closed + opened


def run(options: Options, console: Console | None = None) -> Run:
    """Measure everything and write run.json (and the waves that were transcribed) into options.output.

    A server that does not start, or dies, ends the run: its arm holds the failure. What was measured until
    then, or until Ctrl-C, is saved with a note that the speech check did not run.
    """
    console = console or Console()
    began = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    head, dirty = commit()
    record = Run(
        id=f"{now:%Y%m%d-%H%M%S}-{(head or 'no-commit')[:8]}",
        started_at=now.isoformat(timespec="seconds"),
        machine=machine(),
        commit=head,
        dirty=dirty,
        profile=options.profile,
        workload_seed=options.seed,
        warmup_rule=(
            f"per cell: one request per client, at least 2, at most {options.warmup_most}, on other texts"
        ),
        exclusions=["warm-up requests", "process start and first request: reported apart as cold start"],
    )
    waves = options.output / "waves"
    waves.mkdir(parents=True, exist_ok=True)
    for old in waves.glob("*.wav"):
        old.unlink()
    try:
        with contextlib.ExitStack() as stack:
            servers = _start(options, record, stack, console)
            _measure(options, record, servers, waves, console)
        accuse_bystanders(record, servers)
        judge(record)
        _check_speech(record, options.output, console)
        record.noise_floor = noise_floor(record)
    except KeyboardInterrupt:
        record.exclusions.append(f"interrupted: later load points are missing, {UNHEARD}")
        raise
    except StartFailed as error:
        record.exclusions.append(f"a server failed: later load points are missing, {UNHEARD}")
        console.print(f"[red]failed:[/red] {error}", highlight=False, soft_wrap=True)
    finally:
        record.duration_s = time.monotonic() - began
        write_json(record, options.output / "run.json")
    return record


def _start(options: Options, record: Run, stack: contextlib.ExitStack, console: Console) -> list[Server]:
    servers = []
    limits = Limits(cores=options.cores, threads=options.threads)
    for name in options.arms:
        arm = Arm(name=name, description=ARMS[name].description)
        record.arms.append(arm)
        with _note_failure(arm):
            for number in range(options.cold_starts - 1):
                with start_server(name, options.profile, limits=limits) as server:
                    arm.cold_starts.append(_cold_start(server, options, number))
            server = stack.enter_context(start_server(name, options.profile, limits=limits))
            arm.cold_starts.append(_cold_start(server, options, options.cold_starts))
        arm.info = server.info
        servers.append(server)
        cold = arm.cold_starts[-1]
        console.print(
            f"{name}: ready after {cold.ready_s:.1f} s, first audio {cold.first_ttfa_s:.3f} s later"
        )
    for target in options.targets:
        started = "that the bench started" if target.local else "that someone else started"
        arm = Arm(name=target.name, description=f"a server {started}, by the adapter {target.adapter}")
        record.arms.append(arm)
        with _note_failure(arm):
            for number in range(options.cold_starts - 1 if target.local else 0):
                with target_server(target, limits) as server:
                    arm.cold_starts.append(_cold_start(server, options, number))
            server = stack.enter_context(target_server(target, limits))
            first = _cold_start(server, options, options.cold_starts)
        if target.local:
            arm.cold_starts.append(first)
        arm.info = {**server.info, "target": target.described()}
        servers.append(server)
        console.print(f"{target.name}: first audio after {first.first_ttfa_s * 1e3:.0f} ms", highlight=False)
    return servers


@contextlib.contextmanager
def _note_failure(arm: Arm) -> Iterator[None]:
    try:
        yield
    except StartFailed as error:
        arm.failure = str(error)
        raise


def _cold_start(server: Server, options: Options, number: int) -> ColdStart:
    (first_text,) = warmup_texts("short", 1, options.seed, f"cold start {number}")
    # Like those that count, and not even --seed repeats them: nobody can tell them from the others and keep no answer.
    more = texts("short", TEXTS, fresh_seed(), "again")
    plan = LoadPlan(
        url=server.url,
        target=server.target,
        endpoint="/tts/stream",
        texts=[first_text, *again(more)],
        warmup_texts=[],
        clients=1,
        duration_s=0.0,
        min_requests=1 + 3 * len(more),
    )
    sample, *others = generate(plan).samples
    server.keeps_answers = kept(others)
    first = audible_ttfa_s(sample) or ttfa_s(sample)  # who is silent is accused at the load points
    if sample.error is not None or first is None:
        raise StartFailed(f"{server.arm}: the first request failed: {sample.error}: {sample.detail}")
    return ColdStart(ready_s=server.ready_s or 0.0, first_request_s=total_s(sample), first_ttfa_s=first)


def _measure(options: Options, record: Run, servers: Sequence[Server], waves: Path, console: Console) -> None:
    workload = Workload(options.seed)
    todo = [(point, repeat) for repeat in range(options.repeats) for point in load_points(options)]
    with progress_bar(console) as progress:
        task = progress.add_task("load points", total=len(todo) * len(servers))
        for number, (point, repeat) in enumerate(todo):
            for server in servers if (number + repeat) % 2 == 0 else reversed(servers):
                cell = measure_cell(
                    server,
                    point,
                    duration_s=options.duration_s if point.rate_rps is None else options.open_duration_s,
                    workload=workload,
                    seed=1 + 1000 * repeat,
                    warmup_most=options.warmup_most,
                    waves=waves,
                    repeat=repeat,
                    order=len(record.cells),
                    unasked=[other for other in servers if other is not server],
                )
                record.cells.append(cell)
                progress.console.print(line_of(cell), highlight=False, soft_wrap=True)
                progress.advance(task)
                if not server.alive():
                    arm = next(arm for arm in record.arms if arm.name == server.arm)
                    arm.failure = f"died at {cell.point.load} with {cell.texts} texts"
                    raise StartFailed(f"{server.arm} {arm.failure}")


def _check_speech(record: Run, folder: Path, console: Console) -> None:
    # Imported only now: it takes seconds of CPU, which the start of the servers shall not share.
    from bench.hearing.speech_check import check_speech, kept_samples

    with progress_bar(console) as progress:
        task = progress.add_task("speech check", total=sum(len(kept_samples(cell)) for cell in record.cells))
        check_speech(record, folder, on_wave=lambda: progress.advance(task))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench run`. Every one overrides --quick."""
    parser.add_argument("--quick", action="store_true", help="fewer and shorter load points: under 3 minutes")
    parser.add_argument("--arms", type=_list(str), metavar="NAMES", help=f"of {','.join(ARMS)}")
    parser.add_argument("--clients", type=_list(int), metavar="1,2,4", help="closed loop")
    parser.add_argument("--whole-clients", type=_list(int), metavar="1,8", help="of /tts beside /tts/stream")
    parser.add_argument("--long-clients", type=_list(int), metavar="1,4", help="of long texts")
    parser.add_argument("--rates", type=_list(float), metavar="2,4", help="open loop, requests per second")
    parser.add_argument("--texts", type=_list(str), metavar="NAMES", help=f"of {','.join(MIXES)}")
    parser.add_argument("--endpoints", type=_list(str), metavar="PATHS", help="of /tts/stream,/tts")
    parser.add_argument("--duration-s", type=float, metavar="S", help="of a closed-loop load point")
    parser.add_argument("--open-duration-s", type=float, metavar="S", help="of an open-loop load point")
    parser.add_argument("--repeats", type=int, metavar="N")
    parser.add_argument("--cold-starts", type=int, metavar="N")
    parser.add_argument("--profile", help="of our server")
    parser.add_argument("--seed", type=int, help="of the texts (default: one that no server can know)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: reports/latest")
    parser.add_argument(
        "--cores", type=int, metavar="N", help="of every server that is started, arm or target"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of their pools (OpenMP and its kin)")
    add_target_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Measure and report. Returns 0, or 1 if a server failed or any arm was INVALID anywhere; it says which."""
    targets = targets_of(arguments)
    given = {
        field.name: value
        for field in dataclasses.fields(Options)
        if field.name != "targets" and (value := getattr(arguments, field.name, None)) is not None
    }
    options = dataclasses.replace(QUICK if arguments.quick else Options(), targets=targets, **given)
    if taken := {target.name for target in targets} & set(options.arms):
        raise SystemExit(f"--target: {min(taken)!r} is the name of an arm")
    if unknown := set(options.arms) - set(ARMS):
        raise SystemExit(f"--arms: no arm {sorted(unknown)[0]!r}; there are {', '.join(ARMS)}")
    if unknown := {*options.texts, options.open_texts} - set(MIXES):
        raise SystemExit(f"--texts: no mix {sorted(unknown)[0]!r}; there are {', '.join(MIXES)}")
    if arguments.clients is not None and arguments.long_clients is None:
        options = dataclasses.replace(options, long_clients=None)
    console = Console()
    minutes = scheduled_s(options) / 60
    console.print(f"about {minutes:.0f} minutes on 2 cores; load points with long requests last longer")
    record = run(options, console)
    path = options.output / "run.json"
    console.print(f"{path}: {len(record.cells)} cells in {record.duration_s:.0f} s", highlight=False)
    if any(arm.failure for arm in record.arms):
        return 1
    from bench.headline.report import build, write_report

    names = [arm.name for arm in record.arms]
    reference = reference_of(names)
    for report in write_report(path, server=names[0], reference=reference):
        console.print(str(report), highlight=False)
    said = build(record, server=names[0], reference=reference).verdict
    console.print(f"\n[bold]{escape(said.title)}[/bold]", highlight=False)
    for line in said.lines:
        console.print(f"- {line.text}", highlight=False, markup=False)
    return 1 if not record.cells or any(cell.verdict == "INVALID" for cell in record.cells) else 0


def _list(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(kind(word) for word in text.split(",") if word)

    return parse
