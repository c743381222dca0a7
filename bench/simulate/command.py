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

import msgspec

from bench.records import write_json
from bench.simulate.check import Load, check
from bench.simulate.costs import CostTable, load_costs
from bench.simulate.measure import measure_costs
from bench.simulate.report import Report, Row, markdown
from bench.simulate.virtual import Simulation, open_simulation
from bench.workload import MIXES, arrivals
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
    parser.add_argument(
        "--texts",
        type=_mixes,
        default=[],
        metavar="NAMES",
        help=f"of {','.join(MIXES)}, for a model that runs for real (default: short; of --check: short,long)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of texts and arrivals")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="speech of a request, of a model that is a toy"
    )
    parser.add_argument("--duration-s", type=float, default=20.0, help="of a load, in virtual time")
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure the real server too, at --streams and --rates (default: 1, 4 and 8 clients)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="also write simulate.json and .md there"
    )


def main(arguments: argparse.Namespace) -> int:
    """Predict; with --check measure too. Returns 0; 1 if a check is off by more than 15 %; 2 for bad arguments."""

    def opened(table: CostTable) -> Simulation:
        return open_simulation(
            arguments.profile,
            arguments.set,
            table,
            seconds=arguments.seconds,
            new_voice_every=arguments.new_voice_every,
        )

    report = Report(profile=arguments.profile, overrides=arguments.set)
    try:
        if arguments.check:
            checked = check(
                arguments.profile,
                arguments.set,
                _loads(arguments),
                open_simulation=opened,
                say=say,
                seed=arguments.seed,
            )
            report.costs, report.checks = checked.table, checked.found
        else:
            if arguments.costs:
                report.costs = load_costs(arguments.costs)
            else:
                say("measuring what steps cost here")
                report.costs = measure_costs(load_profile(arguments.profile, arguments.set))
            if arguments.beside is not None:
                report.costs = msgspec.structs.replace(report.costs, beside=arguments.beside)
            _predict(opened(report.costs), arguments, report)
    except (ProfileError, FileNotFoundError, msgspec.ValidationError) as error:
        print(f"bench simulate: {error}", file=sys.stderr)
        return 2
    if arguments.save_costs:
        write_json(report.costs, arguments.save_costs)
    if arguments.output:
        write_json(report, arguments.output / "simulate.json")
        (arguments.output / "simulate.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    worst = max((abs(off) for one in report.checks for off in one.off), default=0.0)
    return 1 if worst > CLOSE else 0


def _loads(arguments: argparse.Namespace) -> list[Load]:
    """What is checked: the loads that were asked for, or 1, 4 and 8 clients."""
    counts = [int(count) for count in arguments.streams]
    if not counts and not arguments.rates:
        counts = [1, 4, 8]
    mixes = arguments.texts or ["short", "long"]
    closed = [Load(mix=mix, clients=count) for mix in mixes for count in counts]
    return closed + [Load(mix=mix, rate_rps=rate) for mix in mixes for rate in arguments.rates]


def _predict(simulation: Simulation, arguments: argparse.Namespace, report: Report) -> None:
    duration_s, seed = arguments.duration_s, arguments.seed
    for mix in arguments.texts or ["short"]:
        for streams in map(int, arguments.streams):
            say(f"{streams} streams")
            samples = simulation.streams(streams, mix=mix, duration_s=duration_s, seed=seed - 1)
            report.rows.append(
                Row.of(f"{streams} streams", mix, simulation.known(samples), simulation.busy())
            )
        for rate in arguments.rates:
            say(f"{rate:g} requests/s")
            samples = simulation.rate(arrivals("poisson", rate, duration_s, seed), mix=mix, seed=seed - 1)
            report.rows.append(
                Row.of(f"{rate:g} requests/s", mix, simulation.known(samples), simulation.busy())
            )


def say(text: str) -> None:
    """Progress, beside the result."""
    print(f"bench simulate: {text}", file=sys.stderr)


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def _mixes(text: str) -> list[str]:
    mixes = [part for part in text.split(",") if part]
    if unknown := set(mixes) - set(MIXES):
        raise argparse.ArgumentTypeError(f"no mix {min(unknown)!r}; there are {', '.join(MIXES)}")
    return mixes
