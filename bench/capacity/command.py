"""`python -m bench capacity`: how many listeners, and how many requests per second, a server holds at a stated SLO.

The searches of all servers take turns, probe by probe, each probe on a fresh server, so that a machine that drifts
favours none. The time that all of it may take is printed before it begins.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import time
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.capacity import verdict
from bench.capacity.hearing import hear_probes
from bench.capacity.probe import KINDS, Fresh, Kind, Load, measure
from bench.capacity.record import CapacityRun, Found, Probe, estimated
from bench.capacity.search import Limits, Search
from bench.costs import PriceError, load_prices
from bench.load.trace import CHARACTERS_PER_S, TraceError, read_trace
from bench.machine import commit, machine
from bench.records import Arm, write_json
from bench.servers.start import ARMS, StartFailed, start_server, target_server
from bench.targets.arguments import add_target_arguments, targets_of
from bench.targets.spec import Limits as ServerLimits
from bench.workload import MIXES, fresh_seed, mean_characters

MOST_VOIDS = 4
"""A search ends after so many void probes if they are more than the valid ones."""
CURVE = (0.5, 0.75, 1.25, 1.5)
"""Of the capacity: loads that are also measured if there is time, for the curve."""
NEAR = 0.1
"""A load of the curve that was probed this near is not measured again."""
TURNS, QUICK_TURNS = 3.0, 1.6
"""How often a listener asks in a probe: what it hears takes its time, and thinking takes some."""
OVERHEAD_S, PROBES_OF_TIME = 7.0, 8
"""To start a server, hear its waves and end it; and how many probes a quick search has time for, a full one twice."""
AFTERWARDS_S = 30.0
"""Per search: what the recogniser, the last probe and the report may take beyond its time."""
LOWEST_RATE, HIGHEST = 0.1, 1024


@dataclasses.dataclass(slots=True)
class Hunt:
    """One search on one server."""

    found: Found
    fresh: Fresh
    search: Search
    voids: list[str] = dataclasses.field(default_factory=list)
    """Why each void probe is void."""
    over: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench capacity`."""
    parser.add_argument("--quick", action="store_true", help="short probes: at most 5 minutes per server")
    parser.add_argument(
        "--arms", type=_names, metavar="NAMES", help=f"of {','.join(ARMS)}; default: granian,reference"
    )
    parser.add_argument("--kinds", type=_names, default=tuple(KINDS), metavar="NAMES", help="of rate,streams")
    group = parser.add_argument_group("SLO")
    group.add_argument(
        "--ttfa-p95-s", type=_positive, default=0.25, metavar="S", help="audible (default: 0.25)"
    )
    group.add_argument(
        "--underrun-s", type=float, default=0.1, metavar="S", help="longest, of any (default: 0.1)"
    )
    group.add_argument("--wer", type=float, default=0.1, metavar="SHARE", help="at most 0.1, the default")
    group = parser.add_argument_group("load")
    group.add_argument("--texts", choices=tuple(MIXES), default="short")
    group.add_argument(
        "--think-s", type=float, default=1.0, metavar="S", help="mean, of listeners (default: 1)"
    )
    group.add_argument(
        "--barge-in", type=float, default=0.0, metavar="SHARE", help="of listeners who go early"
    )
    group.add_argument("--burst", type=int, default=1, metavar="N", help="requests at one moment")
    group.add_argument(
        "--as-written",
        type=float,
        metavar="S",
        help="text arrives word by word, S seconds apart, by WebSocket",
    )
    group.add_argument("--trace", type=Path, metavar="FILE", help="rate: replay this trace (see bench trace)")
    group = parser.add_argument_group("search")
    group.add_argument(
        "--probe-s", type=_positive, metavar="S", help="of a probe (short texts: 15; quick: 8)"
    )
    group.add_argument(
        "--probes", type=int, metavar="N", help="of a search, at most (default: 24; quick: 12)"
    )
    group.add_argument("--precision", type=float, default=0.08, metavar="SHARE", help="half of the interval")
    group.add_argument("--minutes", type=_positive, metavar="M", help="per search (short texts: 6; quick: 2)")
    group.add_argument("--first", type=_positive, metavar="LOAD", help="where a search begins")
    parser.add_argument(
        "--prices", type=Path, metavar="FILE.toml", help="machine_per_hour: see docs/benchmarks.md"
    )
    parser.add_argument("--cores", type=int, metavar="N", help="of every server that is started")
    parser.add_argument("--threads", type=int, metavar="N", help="of their pools")
    parser.add_argument("--profile", default="default", help="of our server")
    parser.add_argument(
        "--seed", type=int, default=fresh_seed(), help="of texts and arrivals (default: drawn)"
    )
    parser.add_argument("--output", type=Path, default=Path("reports/latest/capacity"), metavar="FOLDER")
    add_target_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Search and report. Returns 0; 1 if a server failed or an answer is INVALID; 2 if a file cannot be read."""
    _check(arguments)
    try:
        trace = read_trace(arguments.trace) if arguments.trace else None
        prices = load_prices(arguments.prices) if arguments.prices else None
    except (TraceError, PriceError, OSError) as error:
        print(f"bench capacity: {error}")
        return 2
    quick = arguments.quick
    turn_s = mean_characters(arguments.texts) / CHARACTERS_PER_S + arguments.think_s
    load = Load(
        texts=arguments.texts,
        duration_s=arguments.probe_s or (QUICK_TURNS if quick else TURNS) * turn_s,
        think_mean_s=arguments.think_s,
        barge_in_share=arguments.barge_in,
        burst=arguments.burst,
        word_interval_s=arguments.as_written,
        trace=trace,
    )
    now = datetime.datetime.now(datetime.UTC)
    head, dirty = commit()
    record = CapacityRun(
        id=f"capacity-{now:%Y%m%d-%H%M%S}",
        started_at=now.isoformat(timespec="seconds"),
        machine=machine(),
        commit=head,
        dirty=dirty,
        profile=arguments.profile,
        seed=arguments.seed,
        load=load,
        slo=verdict.Limits(
            ttfa_p95_s=arguments.ttfa_p95_s, underrun_s=arguments.underrun_s, wer=arguments.wer
        ),
        prices=prices,
    )
    hunts = _hunts(arguments, record)
    each_s = 60 * arguments.minutes if arguments.minutes else PROBES_OF_TIME * (load.duration_s + OVERHEAD_S)
    if not quick and not arguments.minutes:
        each_s *= 2
    console = Console()
    longest_s = len(hunts) * (each_s + AFTERWARDS_S)
    console.print(
        f"{len(hunts)} searches with probes of {load.duration_s:g} s: at most {longest_s / 60:.0f} minutes",
        highlight=False,
    )
    began = time.monotonic()
    waves = arguments.output / "waves"
    waves.mkdir(parents=True, exist_ok=True)
    for old in waves.glob("*.wav"):
        old.unlink()
    try:
        _search(record, hunts, began + len(hunts) * each_s, arguments, console)
        _judge_voids(hunts)
        hear_probes(record, arguments.output)
    except KeyboardInterrupt:
        record.notes.append("interrupted: the recogniser has heard nothing, and the intervals are wide")
        raise
    finally:
        for hunt in hunts:
            hunt.found.estimate = estimated(hunt.found, record.of(hunt.found))
        record.duration_s = time.monotonic() - began
        write_json(record, arguments.output / "capacity.json")
    # Imported only now: drawing takes a while to load.
    from bench.capacity.report import headline, write_report

    for line in headline(record):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for path in write_report(record, arguments.output):
        console.print(str(path), highlight=False, soft_wrap=True)
    return 1 if any(arm.failure for arm in record.arms) or any(found.invalid for found in record.found) else 0


def _hunts(arguments: argparse.Namespace, record: CapacityRun) -> list[Hunt]:
    targets = targets_of(arguments)
    names = arguments.arms if arguments.arms is not None else () if targets else ("granian", "reference")
    if unknown := set(names) - set(ARMS):
        raise SystemExit(f"--arms: no arm {min(unknown)!r}; there are {', '.join(ARMS)}")
    every = [*names, *(target.name for target in targets)]
    if len(set(every)) < len(every) or len(set(arguments.kinds)) < len(arguments.kinds):
        raise SystemExit("--arms, --target, --kinds: each name once")
    if not every or not arguments.kinds:
        raise SystemExit("--arms, --target, --kinds: there is nothing to measure")
    limits = ServerLimits(cores=arguments.cores, threads=arguments.threads)
    servers: list[tuple[Arm, Fresh]] = [
        (
            Arm(name=name, description=ARMS[name].description),
            partial(start_server, name, arguments.profile, limits=limits),
        )
        for name in names
    ]
    for target in targets:
        words = "a server that the bench starts" if target.local else "a server that someone else started"
        info = {"target": target.described()}
        servers.append(
            (Arm(name=target.name, description=words, info=info), partial(target_server, target, limits))
        )
        if not target.local:
            record.notes.append(f"{target.name} runs on between the probes: it is not fresh for each")
    hunts = []
    for arm, fresh in servers:
        record.arms.append(arm)
        for kind in arguments.kinds:
            space = _limits(kind, arguments)
            found = Found(arm=arm.name, kind=kind, limits=space)
            record.found.append(found)
            hunts.append(Hunt(found, fresh, Search(space)))
    return hunts


def _limits(kind: Kind, arguments: argparse.Namespace) -> Limits:
    streams = kind == "streams"
    return Limits(
        first=arguments.first or (16.0 if streams else 4.0),
        lowest=1.0 if streams else LOWEST_RATE,
        highest=HIGHEST,
        whole=streams,
        precision=arguments.precision,
        probes=arguments.probes or (12 if arguments.quick else 24),
    )


def _search(
    record: CapacityRun, hunts: list[Hunt], deadline: float, arguments: argparse.Namespace, console: Console
) -> None:
    """All searches in turns, then the loads of the curve, until the time is over."""
    while alive := [hunt for hunt in hunts if not hunt.over]:
        for hunt in alive:
            if time.monotonic() >= deadline:
                for one in hunts:
                    if not one.over:
                        one.over, one.found.ended = True, "its time was over"
                return
            amount = hunt.search.next()
            if amount is None:
                amount = None if arguments.quick else _of_curve(hunt)
            if amount is None:
                hunt.over = True
                continue
            _probe(record, hunt, amount, arguments, console)


def _of_curve(hunt: Hunt) -> float | None:
    """A load about the capacity that was not tried yet."""
    found = hunt.search.estimate()
    tried = [answer.load for answer in hunt.search.answers]
    for share in CURVE if found.capacity is not None else ():
        wanted = hunt.found.limits.rounded(share * (found.capacity or 0.0))
        if all(abs(load / wanted - 1) > NEAR for load in tried):
            return wanted
    return None


def _probe(
    record: CapacityRun, hunt: Hunt, amount: float, arguments: argparse.Namespace, console: Console
) -> None:
    found, load, order = hunt.found, record.load, len(record.probes)
    try:
        cell = measure(
            hunt.fresh, found.kind, amount, load, seed=arguments.seed * 10_000 + order, order=order,
            waves=arguments.output / "waves",
        )  # fmt: skip
    except StartFailed as error:
        arm = next(arm for arm in record.arms if arm.name == found.arm)
        arm.failure = found.invalid = str(error)
        hunt.over = True
        console.print(f"[red]failed:[/red] {error}", highlight=False, soft_wrap=True)
        return
    standing, reasons = verdict.verdict(cell, record.slo, load.ramp_s(found.kind))
    record.probes.append(
        Probe(arm=found.arm, kind=found.kind, amount=amount, standing=standing, reasons=reasons, cell=cell)
    )
    console.print(
        f"{found.arm:10} {found.shown(amount):>5} {KINDS[found.kind]:10} {standing:6} {'; '.join(reasons)}",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip
    if standing == "void":
        hunt.voids.append(reasons[0])
        hunt.over = len(hunt.voids) >= max(MOST_VOIDS, len(hunt.search.answers) + 1)
    else:
        hunt.search.add(amount, standing == "held")


def _judge_voids(hunts: list[Hunt]) -> None:
    """More void probes than valid ones are no answer."""
    for hunt in hunts:
        count = len(hunt.voids)
        if count > len(hunt.search.answers):
            hunt.found.invalid = f"{count} probes say nothing, the last: {hunt.voids[-1]}"


def _check(arguments: argparse.Namespace) -> None:
    """Raises SystemExit for what cannot be."""
    if unknown := set(arguments.kinds) - set(KINDS):
        raise SystemExit(f"--kinds: no kind {min(unknown)!r}; there are {', '.join(KINDS)}")
    if not 0 < arguments.wer <= 0.1:
        raise SystemExit("--wer: above 0, and at most 0.1, above which the bench believes no speech")
    if not 0 <= arguments.barge_in < 1:
        raise SystemExit("--barge-in: a share from 0 to below 1, for somebody must hear his answer out")
    if arguments.burst < 1:
        raise SystemExit("--burst: 1 or more")
    if arguments.trace and arguments.kinds != ("rate",):
        raise SystemExit("--trace: is replayed at a rate; add --kinds rate")
    if min(arguments.think_s, arguments.underrun_s, arguments.as_written or 0.0) < 0:
        raise SystemExit("--think-s, --underrun-s, --as-written: 0 or more")


def _names(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: above 0")
    return value
