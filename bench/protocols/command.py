"""`python -m bench protocols [overhead] [formats] [live]`: what each way to the same speech costs, in one run.

The figures of a way are taken beside those of the plain way, in adjacent pairs, so that drift of the machine hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.progress import status_line
from bench.protocols.formats import measure_formats
from bench.protocols.live import measure_live
from bench.protocols.overhead import measure_overhead
from bench.servers.start import start_server

PARTS = {"overhead": measure_overhead, "formats": measure_formats, "live": measure_live}
"""Part to what measures it on a server that is ready, and gives its figures by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; without any, all of them"
    )
    parser.add_argument("--profile", default="default")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the profile"
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the requests: only to see it run")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        print(f"bench: no part {unknown[0]!r}; there are {', '.join(PARTS)}")
        return 2
    figures: dict[str, Any] = {}
    with status_line() as progress:
        for part in arguments.parts or PARTS:
            progress(f"{part}: starting the server")
            with start_server("granian", arguments.profile, overrides=arguments.set) as server:
                figures |= asyncio.run(PARTS[part](server, progress, 0.2 if arguments.quick else 1.0))
    for name, value in figures.items():
        print(f"{name:60} {value:.4g}" if isinstance(value, float) else f"{name:60} {value}")
    if arguments.output is not None:
        content = json.dumps({"machine": machine(), **figures}, indent=1)
        arguments.output.write_text(content + "\n", encoding="utf-8")
    return 0
