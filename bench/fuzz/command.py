"""python -m bench fuzz: schemathesis with all its checks, from the OpenAPI document of each of several servers.

A server of the tone model, one of the embedded voice, one with API keys, and one that clones voices, each started here.
Every operation gets --cases / (number of operations) drawn requests, right ones and wrong ones, beside those that
schemathesis makes of each bound of the document. --paths takes only the operations whose path a regular expression
finds, with as many requests to each of them: runs of several expressions make one whole.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from bench.faults.server import TONE, serving
from bench.fuzz.recordings import cloning

PROGRAM = "schemathesis"
HOOKS = "bench.fuzz.hooks"
METHODS = frozenset(("get", "head", "post", "delete", "put", "patch", "options"))
REQUEST_S = 60
SMALL = ("--set", "text.max_chars=200", "--set", "batch.max_items=4")
"""Bounds that the document tells: as many requests at and past them, and no minutes of speech for each."""
ROOT = Path(__file__).parents[2]


def _keys(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    file = folder / "keys.json"
    command = [sys.executable, "-m", "serving", "keys", "add", "fuzz", "--operator", "--file", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    key = re.search(r"tts_\S+", made.stdout + made.stderr)
    assert key is not None, "keys add prints the key"
    return (*TONE, "--set", f"access.keys_file={file}"), {"Authorization": f"Bearer {key[0]}"}


Prepare = Callable[[Path], tuple[tuple[str, ...], dict[str, str]]]
SERVERS: dict[str, Prepare] = {
    "tone": lambda _: (TONE, {}),
    "hibari": lambda _: ((), {}),
    "keys": _keys,
    "cloning": lambda folder: (cloning(folder), {}),
}
"""Name to the arguments of `serve`, and to the headers of every request."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, nargs="+", default=[1], help="one run of each server for each seed"
    )
    parser.add_argument("--cases", type=int, default=3000, help="drawn for each server, at least")
    parser.add_argument(
        "--paths",
        default="",
        metavar="REGEX",
        help="only paths in which it is found, and their share of --cases",
    )
    parser.add_argument("--servers", nargs="+", choices=tuple(SERVERS), default=list(SERVERS))


def main(arguments: argparse.Namespace) -> int:
    """Run them all. Returns 1 if a check failed anywhere, 2 if schemathesis is not installed."""
    beside = Path(sys.executable).with_name(PROGRAM)
    program = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if program is None:
        print("bench fuzz: needs schemathesis; nox -s fuzz installs it", file=sys.stderr)
        return 2
    failed = False
    more = ("--include-path-regex", arguments.paths) if arguments.paths else ()

    def tell(name: str, seed: int, cases: int, why: str) -> None:
        nonlocal failed
        failed |= bool(why)
        print(f"{name:8} seed {seed:<6} {cases:6} cases: {why or 'clean'}", flush=True)

    for name in arguments.servers:
        with tempfile.TemporaryDirectory(prefix="tts-fuzz-") as folder:
            options, headers = SERVERS[name](Path(folder))
            with serving(Path(folder), *SMALL, *options) as victim:
                for seed in arguments.seed:
                    tell(
                        name,
                        seed,
                        *fuzz(program, victim.url, headers, seed, arguments.cases, *more),
                    )
                tracebacks = victim.log.read_text(encoding="utf-8", errors="replace").count("Traceback")
            if tracebacks:
                tell(name, 0, 0, f"{tracebacks} tracebacks in the log")
    return int(failed)


def fuzz(
    program: str, url: str, headers: dict[str, str], seed: int, cases: int, *more: str
) -> tuple[int, str]:
    """Cases that were sent, and what failed; empty if nothing did. `more` arguments may make them fewer."""
    document = httpx.get(f"{url}/schema/openapi.json", headers=headers, timeout=30).json()
    operations = sum(len(METHODS & path.keys()) for path in document["paths"].values())
    each = math.ceil(cases / operations)
    command = [program, "run", f"{url}/schema/openapi.json", "--checks", "all", "--mode", "all"]
    command += ["--seed", str(seed), "--max-examples", str(each)]
    command += ["--continue-on-failure", "--no-shrink", "--request-timeout", str(REQUEST_S)]
    command += ["--max-response-time", str(REQUEST_S), *more]
    for name, value in headers.items():
        command += ["--header", f"{name}: {value}"]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environ)
    sent = re.search(r"(\d+) generated", ran.stdout)
    if ran.returncode:
        print(ran.stdout + ran.stderr)
    count = int(sent[1]) if sent else 0
    if ran.returncode or (count < cases and not more):
        last = ran.stdout.strip().splitlines()[-1:] or [ran.stderr.strip()[-200:]]
        return count, last[0].strip("= ") or f"ended with {ran.returncode}"
    return count, ""
