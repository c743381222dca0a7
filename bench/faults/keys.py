"""python -m bench keys: whether the time of a refusal tells how near a wrong key is to a right one.

Keys of several kinds are looked up in turns, in an order drawn anew in each round. Told is, for each kind against keys
that share nothing with a right one, the median of the rounds' ratios of time, with a 95 % interval by bootstrap.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from serving.access.keys import Keys, add_key

KEYS = 50
LOOKUPS = 20
"""Of each kind in a round; the quickest counts, for what is slower was disturbed."""
BOUND = 0.02
"""A kind whose interval lies beyond this share of the time, on one side, tells something."""


def _kinds(known: list[str], chance: random.Random) -> dict[str, bytes]:
    """A wrong key of each kind, all but the last as long as a right one."""
    right = chance.choice(known)
    strange = "tts_" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=len(right) - 4))
    other = "A" if right[-1] != "A" else "B"
    return {
        "nothing in common": strange.encode(),
        "half in common": (right[: len(right) // 2] + strange[len(right) // 2 :]).encode(),
        "all but the last": (right[:-1] + other).encode(),
        "first of the file": (known[0][:-1] + ("A" if known[0][-1] != "A" else "B")).encode(),
        "last of the file": (known[-1][:-1] + ("A" if known[-1][-1] != "A" else "B")).encode(),
        "a right one": right.encode(),
    }


def ratios(rounds: int, seed: int) -> dict[str, list[float]]:
    """Of each kind, its time over that of keys with nothing in common, for each round."""
    chance = random.Random(seed)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tts-keys-") as folder:
        file = Path(folder) / "keys.json"
        known = [add_key(file, f"user{number}") for number in range(KEYS)]
        keys = Keys(file)
        for _ in range(rounds):
            kinds = list(_kinds(known, chance).items())
            took_ns = dict.fromkeys((name for name, _ in kinds), 10**12)
            for _ in range(LOOKUPS):
                chance.shuffle(kinds)
                for name, key in kinds:
                    begun_ns = time.perf_counter_ns()
                    keys.find(key)
                    took_ns[name] = min(took_ns[name], time.perf_counter_ns() - begun_ns)
            base_ns = took_ns.pop("nothing in common")
            for name, took in took_ns.items():
                found.setdefault(name, []).append(took / base_ns)
    return found


def interval(values: list[float], seed: int) -> tuple[float, float, float]:
    """Median, and the ends of its 95 % interval by bootstrap."""
    drawn = np.random.default_rng(seed).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(np.median(values)), float(low), float(high)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)


def main(arguments: argparse.Namespace) -> int:
    """Print the ratios. Returns 1 if one kind of wrong key is told apart."""
    tells = False
    for name, values in ratios(arguments.rounds, arguments.seed).items():
        middle, low, high = interval(values, arguments.seed)
        apart = low > 1 + BOUND or high < 1 - BOUND
        tells |= apart
        print(f"{name:20} {middle:.4f} ({low:.4f} to {high:.4f}) {'TOLD APART' if apart else 'even'}")
    return int(tells)
