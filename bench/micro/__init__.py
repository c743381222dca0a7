"""The parts alone, timed by pytest-benchmark.

    python -m bench micro [--quick] [-k EXPRESSION]

The device is synchronised inside every timed function. JSON goes to reports/latest/micro.json, from which the
report draws the stage breakdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench micro`."""
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only the benchmarks that match")
    parser.add_argument("--output", type=Path, default=Path("reports/latest"), metavar="FOLDER")


def main(arguments: argparse.Namespace) -> int:
    """Run the suites. Returns pytest's exit code."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    # A process of its own: pytest-benchmark switches the garbage collector off while it times.
    command = [
        sys.executable, "-m", "pytest", str(FOLDER), "-c", str(FOLDER / "pytest.ini"),
        "--rootdir", str(FOLDER), "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-k", arguments.k,
        f"--benchmark-json={arguments.output.absolute() / 'micro.json'}",
        "--benchmark-min-rounds=5", f"--benchmark-max-time={0.5 if arguments.quick else 3.0}",
        "--benchmark-warmup=on", "--benchmark-warmup-iterations=3", "--benchmark-disable-gc",
        "--benchmark-columns=median,iqr,min,rounds", "--benchmark-sort=name",
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode
