"""Capacity in virtual time.

    python -m bench simulate --check                                  # this CPU: predicted against measured
    python -m bench simulate --profile indextts2-low-latency --costs h100-today --rates 1,5,10,20 --streams 1,32,64

The first measures the costs of steps on this machine, predicts, then measures the real server at the same loads. The
second asks what a device would do that is not here, by a table of costs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import msgspec

from bench.load.generator import LoadPlan, generate
from bench.records import Sample, write_json
from bench.servers.start import start_server
from bench.simulate.costs import load_costs
from bench.simulate.measure import measure_costs
from bench.simulate.report import Checked, Report, Row, markdown
from bench.simulate.virtual import Simulation, open_simulation
from bench.workload import MIXES, arrivals, texts, warmup_texts
from serving.profile import ProfileError, load_profile

CLOSE = 0.15
"""Predicted and measured differ by no more than this where the costs are good."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for the server")
    parser.add_argument("--costs", metavar="TABLE", help="a table's name or path; default: measure this CPU")
    parser.add_argument(
        "--beside", type=float, metavar="0.3", help="CostTable.beside in place of the table's, 0 to 1"
    )
    parser.add_argument(
        "--new-voice-every",
        type=int,
        default=0,
        metavar="N",
        help="every Nth request of a toy has a voice that must be conditioned; the figures are the others'",
    )
    parser.add_argument("--save-costs", type=Path, metavar="FILE", help="write the table that was used")
    parser.add_argument("--streams", type=_numbers, default=[], metavar="1,32,64", help="closed loops")
    parser.add_argument("--rates", type=_numbers, default=[], metavar="1,5,10,20", help="requests per second")
    parser.add_argument("--texts", choices=MIXES, default="short", help="of a model that runs for real")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="speech of a request, of a model that is a toy"
    )
    parser.add_argument("--duration-s", type=float, default=20.0, help="of a load, in virtual time")
    parser.add_argument(
        "--check", action="store_true", help="then measure the real server at 1, 4 and 8 clients"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="also write simulate.json and .md there"
    )


def main(arguments: argparse.Namespace) -> int:
    """Predict; with --check measure too. Returns 0; 1 if a check is off by more than 15 %; 2 for bad arguments."""
    try:
        profile = load_profile(arguments.profile, arguments.set)
        if arguments.costs:
            table = load_costs(arguments.costs)
        else:
            say("measuring what steps cost here")
            table = measure_costs(profile)
        if arguments.beside is not None:
            table = msgspec.structs.replace(table, beside=arguments.beside)
        simulation = open_simulation(
            arguments.profile,
            arguments.set,
            table,
            seconds=arguments.seconds,
            new_voice_every=arguments.new_voice_every,
        )
    except (ProfileError, FileNotFoundError, msgspec.ValidationError) as error:
        print(f"bench simulate: {error}", file=sys.stderr)
        return 2
    if arguments.save_costs:
        write_json(table, arguments.save_costs)
    report = Report(profile=arguments.profile, overrides=arguments.set, costs=table)
    _predict(simulation, arguments, report)
    if arguments.check:
        report.checks = check(simulation, arguments.profile, arguments.set)
    if arguments.output:
        write_json(report, arguments.output / "simulate.json")
        (arguments.output / "simulate.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    worst = max((abs(off) for one in report.checks for off in one.off), default=0.0)
    return 1 if worst > CLOSE else 0


def _predict(simulation: Simulation, arguments: argparse.Namespace, report: Report) -> None:
    mix, duration_s = arguments.texts, arguments.duration_s
    for streams in map(int, arguments.streams):
        say(f"{streams} streams")
        samples = simulation.streams(streams, mix=mix, duration_s=duration_s)
        report.rows.append(Row.of(f"{streams} streams", mix, simulation.known(samples), simulation.busy()))
    for rate in arguments.rates:
        say(f"{rate:g} requests/s")
        samples = simulation.rate(arrivals("poisson", rate, duration_s, 1), mix=mix)
        report.rows.append(Row.of(f"{rate:g} requests/s", mix, simulation.known(samples), simulation.busy()))


def check(
    simulation: Simulation,
    profile: str,
    overrides: list[str],
    *,
    clients: tuple[int, ...] = (1, 4, 8),
    mixes: tuple[str, ...] = ("short", "long"),
    duration_s: float = 10.0,
    repeats: int = 3,
) -> list[Checked]:
    """Predict, and measure through HTTP, the same closed loops; of the measured, the median of the repeats."""
    found: list[Checked] = []
    for mix in mixes:
        for count in clients:
            load = f"{count} client{'s' if count > 1 else ''}"
            say(f"{load}, {mix} texts")
            predicted = Row.of(load, mix, simulation.streams(count, mix=mix, duration_s=duration_s, seed=5))
            rows = []
            with start_server("granian", profile, overrides=overrides) as server:
                for repeat in range(repeats):
                    samples = _measured(server.url, count, mix, duration_s, seed=repeat)
                    rows.append(Row.of(load, mix, samples))
            found.append(Checked(predicted=predicted, measured=_middle(rows)))
    return found


def _measured(url: str, clients: int, mix: str, duration_s: float, seed: int) -> list[Sample]:
    outcome = generate(
        LoadPlan(
            url=url,
            endpoint="/tts/stream",
            texts=texts(mix, round(200 * duration_s), seed),
            warmup_texts=warmup_texts(mix, max(4, clients), seed),
            clients=clients,
            duration_s=duration_s,
        )
    )
    return [sample for sample in outcome.samples if sample.error is None]


def _middle(rows: list[Row]) -> Row:
    """The median of each figure."""
    first = rows[0]
    figures = ("ttfa_p50_ms", "ttfa_p95_ms", "audio_s_per_s", "without_underrun", "worst_underrun_ms")
    middle = {name: median(getattr(row, name) for row in rows) for name in figures}
    return msgspec.structs.replace(first, requests=sum(row.requests for row in rows), **middle)


def say(text: str) -> None:
    """Progress, beside the result."""
    print(f"bench simulate: {text}", file=sys.stderr)


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]
