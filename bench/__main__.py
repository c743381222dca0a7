"""The command line of the bench: python -m bench COMMAND."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType

INTERRUPTED = 130
MISSING = 2
"""A package that a command needs is not installed."""

COMMANDS = {
    "run": ("bench.headline.run", "the headline: this server against the reference, with a report"),
    "report": (
        "bench.headline.report",
        "a run's JSON to Markdown, to a page with plots, or to the README's table",
    ),
    "history": ("bench.headline.history", "all published runs: the trend of each figure, machine by machine"),
    "capacity": (
        "bench.capacity.command",
        "how many listeners, and requests per second, a server holds at a stated SLO",
    ),
    "sweep": ("bench.gate.sweep", "the profile's switches one at a time: what each brought"),
    "micro": ("bench.micro", "the parts alone, by pytest-benchmark"),
    "compare": ("bench.gate.compare", "the regression gate: base commit against head, side by side"),
    "proof": ("bench.gate.proof.command", "can the gate be believed? A/A and planted slow-downs"),
    "indextts2": (
        "bench.indextts2.cpu",
        "IndexTTS2 on a CPU: our core against the official package, in one run",
    ),
    "gpu": ("bench.indextts2.gpu", "IndexTTS2 on a GPU, offline: each stage against its floor, and streams"),
    "precision": (
        "bench.indextts2.precision",
        "what bfloat16, 8 bits and fewer iterations change in IndexTTS2's codes, mel and waveform",
    ),
    "simulate": ("bench.simulate.command", "capacity in virtual time: what a device or a policy would hold"),
    "listen": ("bench.listen.command", "what a listener hears: onset, pauses, pace, words and their times"),
    "targets": ("bench.targets.command", "the servers that --target can measure: what each adapter needs"),
    "trace": ("bench.load.trace_command", "an access log to a trace of requests, and a trace replayed"),
    "protocols": (
        "bench.protocols.command",
        "what OpenAI's path, the coded formats and text over a WebSocket cost beside the plain way",
    ),
    "faults": ("bench.faults.command", "faults done to a server: what was lost, and how soon all was well"),
    "cluster": (
        "bench.cluster.command",
        "engines on Ray: the way there, a second one, a core for it, who leaves, one killed, one node killed",
    ),
    "pressure": ("bench.faults.pressure", "ten times more clients than fill the server, or a soak"),
    "texts": (
        "bench.faults.texts",
        "strange texts through the frontends, and through a server beside a neighbour",
    ),
    "keys": ("bench.faults.keys", "whether the time of a refusal tells how near a wrong key is"),
    "fuzz": ("bench.fuzz.command", "requests drawn from the OpenAPI document, right and wrong ones"),
    "cheats": (
        "bench.cheats.command",
        "servers that cheat, and honest ones, through the checks of the bench",
    ),
    "load": ("bench.load.locust.command", "Locust users: ramp, hold, spike and soak"),
}
"""Command to its module, with add_arguments(parser) and main(arguments) -> exit code, and to its help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code; 130 if interrupted, and nothing that it started lives on; 2
    if a package is missing, which is named."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    chosen = (sys.argv[1:] if argv is None else argv)[:1]
    for name, (module, help_text) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        if [name] == list(chosen):
            try:
                importlib.import_module(module).add_arguments(command)
            except ModuleNotFoundError as error:
                missing = (error.name or "").partition(".")[0]
                if missing in ("", "bench", "serving"):
                    raise
                print(
                    f"bench {name}: needs the package {missing}, which is not installed here", file=sys.stderr
                )
                return MISSING
    arguments = parser.parse_args(argv)
    # SIGINT too: a shell starts what it puts in the background with SIGINT ignored, and a child of that would run on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code: int = importlib.import_module(COMMANDS[arguments.command][0]).main(arguments)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
