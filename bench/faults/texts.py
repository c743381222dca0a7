"""python -m bench texts: strange texts through a model's frontend, and through a server beside a neighbour.

First in this process: a text is made into segments, or refused by an InputError; anything else is a fault, and so is
one piece of work that holds a frontend's thread longer than HELD_S of its CPU time. Then through a server: strangers
send the texts, half to /spell, half to /tts/stream, and leave when the first sound has come; a neighbour asks for a
short sentence again and again, in turns alone and beside the strangers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.faults.server import serving
from bench.faults.strange import MAX_CHARS, strange_texts
from serving.models import load_frontend
from serving.profile import ModelProfile, Profile, TextProfile
from serving.protocol import InputError
from serving.request import dropped_scripts, parse, sentences

FORMATS = ("auto", "auto", "plain", "markdown", "html", "ssml-lite")
OPTIONS: dict[str, dict[str, Any]] = {"hibari": {}, "indextts2": {"weights": "random", "size": "tiny"}}
HELD_S = 0.5
"""CPU time between two segments of a text, at most."""
ALONE_S, BESIDE_S = 4.0, 8.0
"""Of each turn of the neighbour."""
WANTED_MS = 100.0
PAUSE_S = (0.02, 0.1)
NEIGHBOUR = "Good morning, number {}."


def _body(text: str, number: int) -> bytes:
    fields = {"text": text, "text_format": FORMATS[number // 10 % len(FORMATS)], "seed": 1}
    return json.dumps(fields | ({"normalize": False} if number % 17 == 0 else {})).encode()


@dataclass
class Read:
    """What became of texts in a frontend."""

    segments: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    held_s: list[float] = field(default_factory=list)
    """CPU time of the longest piece of work of each text."""


def read_texts(model: str, count: int, seed: int) -> Read:
    """Send texts through the frontend of a model, in this thread."""
    frontend = load_frontend(
        Profile(name="texts", model=ModelProfile(name=model, options=OPTIONS.get(model, {})))
    )
    profile, seen = TextProfile(), Read()
    for number, text in enumerate((NEIGHBOUR, *strange_texts(count, seed))):
        longest_s, since_s = 0.0, time.thread_time()
        try:
            order = parse(_body(text, number), frontend.spec, MAX_CHARS)
            dropped_scripts(order, frontend.spec)
            for _ in frontend.segments(sentences(order, frontend.spec, profile, None), order.params):
                now_s = time.thread_time()
                longest_s, since_s = max(longest_s, now_s - since_s), now_s
                seen.segments += 1
        except InputError:
            seen.refused += 1
        except Exception as error:
            seen.faults.append(f"text {number}: {type(error).__name__}: {error}")
        longest_s = max(longest_s, time.thread_time() - since_s)
        if number:  # the first one waits for the phonemizer
            seen.held_s.append(longest_s)
            if longest_s > HELD_S:
                seen.faults.append(f"text {number}: {longest_s:.2f} s of work at once: {text[:40]!r}")
    return seen


@dataclass
class Heard:
    """What the neighbour waited for the first sound, in seconds."""

    alone_s: list[float] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    """Statuses other than 200 that the neighbour got."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of the strangers' requests; 0: the connection broke."""


def _strangers(url: str, count: int, seed: int, go: Event, told: Any) -> None:
    """Send texts while `go` is set, each when the one before is answered; the body of a child process."""
    statuses: Counter[int] = Counter()
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=url, timeout=30) as http:
        for number, text in enumerate(strange_texts(count, seed)):
            go.wait()
            body = _body(text, number)
            try:
                if number % 2:
                    spelled = json.dumps({"text": text, "text_format": "auto"})
                    statuses[http.post("/spell", content=spelled, headers=headers).status_code] += 1
                    continue
                with http.stream("POST", "/tts/stream", content=body, headers=headers) as answer:
                    statuses[answer.status_code] += 1
                    next(answer.iter_raw(), b"")
            except httpx.HTTPError:
                statuses[0] += 1
    told.put(statuses)


def _first_sound_s(http: httpx.Client, number: int) -> float:
    begun_s = time.perf_counter()
    with http.stream(
        "POST", "/tts/stream", json={"text": NEIGHBOUR.format(number), "format": "pcm"}
    ) as answer:
        answer.raise_for_status()
        pieces = answer.iter_raw()
        next(pieces)
        took_s = time.perf_counter() - begun_s
        for _ in pieces:
            pass
    return took_s


def _neighbour(
    http: httpx.Client, for_s: float, delays_s: list[float], refused: Counter[int], chance: random.Random
) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        try:
            delays_s.append(_first_sound_s(http, len(delays_s)))
        except httpx.HTTPStatusError as error:
            refused[error.response.status_code] += 1
        time.sleep(chance.uniform(*PAUSE_S))


def hear(url: str, count: int, seed: int, clients: int) -> Heard:
    """A neighbour of strangers, until each of them has sent its share of the texts."""
    heard, chance = Heard(), random.Random(seed)
    context = multiprocessing.get_context("spawn")
    go, told = context.Event(), context.Queue()
    shares = [count // clients + (number < count % clients) for number in range(clients)]
    children = [
        context.Process(
            target=_strangers, args=(url, share, seed + 1000 * (number + 1), go, told), daemon=True
        )
        for number, share in enumerate(shares)
    ]
    for child in children:
        child.start()
    with httpx.Client(base_url=url, timeout=30) as http:
        _neighbour(http, 2.0, [], heard.refused, chance)
        while any(child.is_alive() for child in children):
            go.clear()
            time.sleep(0.3)  # what is under way ends
            _neighbour(http, ALONE_S, heard.alone_s, heard.refused, chance)
            go.set()
            _neighbour(http, BESIDE_S, heard.beside_s, heard.refused, chance)
            while True:
                try:
                    heard.statuses += told.get_nowait()
                except queue.Empty:
                    break
    return heard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=20_000, help="texts for each model's frontend")
    parser.add_argument("--through", type=int, help="texts through each server; as many without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=2, help="strangers who send at once")
    parser.add_argument("--models", nargs="+", choices=tuple(OPTIONS), default=list(OPTIONS))


def main(arguments: argparse.Namespace) -> int:
    """Print what was found. Returns 1 for a fault, an answer of 500 and above, or a neighbour who waits too long."""
    failed = False
    for model in arguments.models:
        read = read_texts(model, arguments.count, arguments.seed)
        p99, most = np.percentile(read.held_s, 99) * 1e3, max(read.held_s) * 1e3
        print(
            f"{model}: {arguments.count} texts, {read.segments} segments, {read.refused} refused, "
            f"{len(read.faults)} faults; held for p99 {p99:.0f} ms, most {most:.0f} ms of CPU time",
            flush=True,
        )
        for fault in read.faults[:10]:
            print(f"  {fault}")
        failed |= bool(read.faults) | _beside(model, arguments)
    return int(failed)


def _beside(model: str, arguments: argparse.Namespace) -> bool:
    count = arguments.count if arguments.through is None else arguments.through
    if not count:
        return False
    options = [
        word for key, value in OPTIONS[model].items() for word in ("--set", f"model.options.{key}={value}")
    ]
    with tempfile.TemporaryDirectory(prefix="tts-texts-") as folder:
        with serving(Path(folder), "--set", f"model.name={model}", *options) as victim:
            heard = hear(victim.url, count, arguments.seed, arguments.clients)
        log = next(Path(folder).glob("*.log")).read_text(encoding="utf-8", errors="replace")
    bad = sum(
        number for status, number in heard.statuses.items() if not status or (status >= 500 and status != 503)
    )
    for name, delays_s in (("alone", heard.alone_s), ("beside them", heard.beside_s)):
        p50, p99 = np.percentile(delays_s, (50, 99)) * 1e3
        print(
            f"  neighbour {name:11} {len(delays_s):5} first sounds, p50 {p50:.0f} ms, p99 {p99:.0f} ms",
            flush=True,
        )
    answers, tracebacks = dict(sorted(heard.statuses.items())), log.count("Traceback")
    print(f"  strangers' answers    {answers}; tracebacks in the log: {tracebacks}")
    late = float(np.percentile(heard.beside_s, 99)) * 1e3 > WANTED_MS
    if late:
        print(f"  the neighbour's p99 is above {WANTED_MS:g} ms")
    if heard.refused:
        print(f"  the neighbour was refused: {dict(heard.refused)}")
    return bool(bad or tracebacks or heard.refused) or late
