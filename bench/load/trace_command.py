"""`python -m bench trace`: an access log to a trace; and a trace replayed against one server."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

from bench.load.generator import Outcome, generate
from bench.load.trace import Asked, TraceError, from_log, plan_of, read_trace, write_trace
from bench.metrics import audible_ttfa_s, distribution, errors_by_kind, good, stall_s
from bench.servers.start import ARMS, StartFailed, start_server, target_server
from bench.targets.arguments import add_target_arguments, targets_of
from bench.workload import warmup_texts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench trace`."""
    parser.add_argument(
        "file", type=Path, help="an access log (JSON lines, or Common Log Format), or a trace"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="make a trace of the log and write it here"
    )
    parser.add_argument(
        "--audio-bytes-per-s", type=float, default=48_000.0, metavar="N",
        help="of the logged answers, where the log tells no length of texts (default: 48000, 16 bits at 24 kHz)",
    )  # fmt: skip
    parser.add_argument("--arm", choices=tuple(ARMS), help="replay the trace against this server")
    parser.add_argument("--speed", type=float, default=1.0, help="of the replay: 2 is twice as fast")
    parser.add_argument("--profile", default="default", help="of our server")
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    add_target_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Make a trace, or replay one. Returns 1 if the file or the server cannot be used, or no request succeeded."""
    targets = targets_of(arguments)
    if len(targets) + bool(arguments.arm) + bool(arguments.output) != 1:
        raise SystemExit("bench trace: give one of --output, --arm and --target")
    if arguments.speed <= 0:
        raise SystemExit("--speed: above 0")
    try:
        if arguments.output:
            return _make(arguments)
        trace = read_trace(arguments.file)
        with contextlib.ExitStack() as stack:
            starting = (
                target_server(targets[0]) if targets else start_server(arguments.arm, arguments.profile)
            )
            server = stack.enter_context(starting)
            plan = plan_of(
                trace,
                url=server.url,
                target=server.target,
                seed=arguments.seed,
                speed=arguments.speed,
                endpoint="/tts/stream",
                warmup_texts=warmup_texts("short", 2, arguments.seed),
            )
            outcome = generate(plan)
    except (TraceError, StartFailed, OSError) as error:
        print(f"bench: {error}")
        return 1
    print(json.dumps(figures(trace, outcome), indent=1))
    return 0 if good(outcome.samples) else 1


def figures(trace: list[Asked], outcome: Outcome) -> dict[str, Any]:
    """What a replay says in short."""
    heard = good(outcome.samples)
    first = distribution(value for sample in heard if (value := audible_ttfa_s(sample)) is not None)
    stalls = [value for sample in heard if (value := stall_s(sample)) is not None]
    detail = {sample.error: sample.detail for sample in outcome.samples if sample.error}
    return {
        "requests": len(trace),
        "errors": errors_by_kind(outcome.samples),
        "of each error, one": detail,
        "left early": sum(sample.left_s is not None for sample in outcome.samples),
        "ttfa_p50_s": first.p50,
        "ttfa_p95_s": first.p95,
        "stalled over 0.1 s": sum(stall > 0.1 for stall in stalls),
        "lateness_p99_s": outcome.generator.lateness_p99_s,
    }


def _make(arguments: argparse.Namespace) -> int:
    lines = arguments.file.read_text(encoding="utf-8", errors="replace").splitlines()
    trace, other = from_log(lines, audio_bytes_per_s=arguments.audio_bytes_per_s)
    if not trace:
        raise TraceError(f"{arguments.file.name}: no line of {len(lines)} tells of speech")
    write_trace(trace, arguments.output)
    print(f"{len(trace)} requests in {trace[-1].time_s:.0f} s, {other} other lines left out")
    return 0
