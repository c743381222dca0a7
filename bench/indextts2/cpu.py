"""IndexTTS2 on this machine's CPU: our core against the official package, in one run.

    python -m bench indextts2                    # an hour or so on two cores; --rounds, --codes and --loads shorten it
    python -m bench indextts2 --tiny --arms ours # a few seconds, to see that it runs

Both sides have random weights of the official shapes, the same count of codes per request, one cached voice,
the same sampler without beams and the same flow steps; both may use all cores of this process. The arms take
turns; figures are medians over the rounds. The package speaks requests one after another, for it knows no
other way; ours takes those of a load together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import torch

from bench.indextts2.offline import TEXT_TOKENS, Offline, usable_cores
from bench.indextts2.package import Package, PackageMissing
from bench.machine import commit, machine
from serving.profile import EngineProfile, ModelProfile, Profile

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "exact": (
        "ours in plain torch, float32 throughout, official positions with their second pass: the package's numbers up "
        "to rounding",
        {"kernels": "torch", "positions": "official"},
    ),
    "ours": (
        "ours as it serves on a CPU: our own kernels (products of the code model and the flow in 16-bit integers, the "
        "vocoder in float32), aligned positions",
        {"kernels": "native", "positions": "aligned"},
    ),
    "side-by-side": (
        "the same with as many steps at once as there are cores, a thread each, as the server's profiles have it",
        {"kernels": "native", "positions": "aligned", "workers": 0},
    ),
}
PACKAGE = "package"
DESCRIPTION = "indextts2-inference: float32, num_beams=1, one request after another"


class Turn(msgspec.Struct, kw_only=True):
    """One load on one arm, once."""

    arm: str
    requests: int
    round: int
    wall_s: float
    cpu_s: float
    """Of this process, all threads: what wall_s would be on one core that nobody else used."""
    audio_s: float


class Result(msgspec.Struct, kw_only=True):
    """A run of this command."""

    started_at: str
    machine: dict[str, Any]
    commit: str | None
    dirty: bool
    torch_threads: int
    codes: int
    prompt_s: float
    text_tokens: int
    tiny: bool
    arms: dict[str, str]
    stages: dict[str, dict[str, float]] = {}
    """Of each of our arms, seconds in each stage during its first turn."""
    turns: list[Turn] = []
    left_out: list[str] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    arms = [PACKAGE, *OURS]
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    parser.add_argument("--loads", nargs="+", type=int, default=[1, 4], help="requests at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codes", type=int, default=150, help="codes of each request; 50 are a second")
    parser.add_argument("--prompt-s", type=float, default=3.0, help="seconds of the voice's reference")
    parser.add_argument("--tiny", action="store_true", help="toy shapes, for a trial; the package has none")
    parser.add_argument(
        "--out", type=Path, default=Path("reports/indextts2-cpu"), help="folder of the result"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, write JSON and Markdown, print the table. Returns 0, or 1 if an arm could not run."""
    head, dirty = commit()
    result = Result(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        commit=head,
        dirty=dirty,
        torch_threads=usable_cores(),
        codes=arguments.codes,
        prompt_s=arguments.prompt_s,
        text_tokens=TEXT_TOKENS,
        tiny=arguments.tiny,
        arms={},
    )
    speakers = open_arms(arguments, result)
    for turn in range(arguments.rounds):
        for requests in arguments.loads:
            # Each round begins with another arm, so that none always follows the same one.
            names = list(speakers)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                torch.set_num_threads(result.torch_threads)
                began_s, began_cpu_s = time.perf_counter(), time.process_time()
                audio_s = speakers[name](requests)
                done = Turn(
                    arm=name,
                    requests=requests,
                    round=turn,
                    wall_s=time.perf_counter() - began_s,
                    cpu_s=time.process_time() - began_cpu_s,
                    audio_s=audio_s,
                )
                result.turns.append(done)
                print(
                    f"round {turn + 1}/{arguments.rounds} {name} x{requests}: {done.wall_s:.1f} s wall, "
                    f"{done.cpu_s:.1f} s CPU, {done.audio_s:.2f} s of audio",
                    file=sys.stderr,
                )
                save(result, arguments.out)
    print(markdown(result))
    return 1 if result.left_out else 0


def open_arms(arguments: argparse.Namespace, result: Result) -> dict[str, Callable[[int], float]]:
    """Of each arm, a function that speaks so many requests and returns the seconds of audio; all are warm."""
    speakers: dict[str, Callable[[int], float]] = {}
    for name in arguments.arms:
        if name == PACKAGE:
            try:
                package = Package(
                    codes=arguments.codes,
                    prompt_s=arguments.prompt_s,
                    text_tokens=TEXT_TOKENS,
                    device=torch.device("cpu"),
                )
            except PackageMissing as error:
                result.left_out.append(f"{PACKAGE}: {error}")
                print(f"left out: {error}", file=sys.stderr)
                continue
            result.arms[name] = DESCRIPTION

            def one_after_another(requests: int, package: Package = package) -> float:
                return sum(package.speak(seed) for seed in range(requests)) / 22050

            speakers[name] = one_after_another
            continue
        description, settings = OURS[name]
        result.arms[name] = description
        offline = Offline(profile(arguments, settings), prompt_s=arguments.prompt_s)

        def together(requests: int, offline: Offline = offline, name: str = name) -> float:
            offline.stage_s.clear()
            samples = offline.speak(streams=requests, requests=1, streaming=False)
            result.stages.setdefault(f"{name} x{requests}", dict(offline.stage_s))
            return sum(size for sample in samples for _, size in sample.events) / 2 / 22050

        # Kernels compile at the first call.
        offline.speak(streams=1, requests=1, streaming=False, codes=8)
        speakers[name] = together
    return speakers


def profile(arguments: argparse.Namespace, settings: dict[str, Any]) -> Profile:
    """The profile of one of our arms: all cores in every step, as the package has them, unless it says otherwise."""
    settings = dict(settings)
    workers = settings.pop("workers", 1)
    options = {
        "weights": "random",
        "size": "tiny" if arguments.tiny else "official",
        **settings,
        "min_codes": arguments.codes,
        "max_codes": arguments.codes,
        "max_segment_tokens": TEXT_TOKENS,
        "flow_rows": max(arguments.loads),
    }
    engine = EngineProfile(
        device="cpu",
        dtype="float32",
        workers=workers,
        max_slots=max(arguments.loads),
        max_step_units=16384,
    )
    return Profile(name="bench", model=ModelProfile(name="indextts2", options=options), engine=engine)


def save(result: Result, folder: Path) -> None:
    """Write result.json and result.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    (folder / "result.md").write_text(markdown(result), encoding="utf-8")


def markdown(result: Result) -> str:
    """The run in words and two tables."""
    made = result.machine
    sizes = "toy shapes" if result.tiny else "official shapes"
    lines = [
        "# IndexTTS2 on a CPU: ours against the package",
        "",
        f"{made['cpu']}, {result.torch_threads} cores, torch {made['versions'].get('torch')}, {result.started_at}, "
        f"commit {(result.commit or 'unknown')[:10]}{' with changes' if result.dirty else ''}. Random weights of "
        f"{sizes}, {result.codes} codes a request, a cached voice of {result.prompt_s:g} s, 25 flow steps, no beams.",
        "",
        *(f"- **{name}**: {text}" for name, text in result.arms.items()),
        *(f"- left out: {text}" for text in result.left_out),
        "",
        "| requests at once | arm | wall s (median, range) | CPU s (median) | real-time factor | audio s/s "
        "| times the package, wall | CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for requests in sorted({turn.requests for turn in result.turns}):
        rows = {name: _of(result.turns, name, requests) for name in result.arms}
        base = rows.get(PACKAGE)
        for name, turns in rows.items():
            if not turns:
                continue
            wall, cpu = _median(turns, "wall_s"), _median(turns, "cpu_s")
            spread = f"{min(t.wall_s for t in turns):.1f} to {max(t.wall_s for t in turns):.1f}"
            audio_s = turns[0].audio_s
            times = "-", "-"
            if base:
                times = f"{_median(base, 'wall_s') / wall:.2f}", f"{_median(base, 'cpu_s') / cpu:.2f}"
            lines.append(
                f"| {requests} | {name} | {wall:.1f} ({spread}) | {cpu:.1f} | {wall / (audio_s / requests):.2f} "
                f"| {audio_s / wall:.3f} | {times[0]} | {times[1]} |"
            )
    if result.stages:
        names = list(next(iter(result.stages.values())))
        lines += ["", "Seconds in each stage of ours, first round:", ""]
        lines += ["| | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
        for arm, spent in result.stages.items():
            lines.append(f"| {arm} | " + " | ".join(f"{spent.get(name, 0.0):.2f}" for name in names) + " |")
    return "\n".join(lines) + "\n"


def _of(turns: Sequence[Turn], arm: str, requests: int) -> list[Turn]:
    return [turn for turn in turns if turn.arm == arm and turn.requests == requests]


def _median(turns: Sequence[Turn], field: str) -> float:
    value: float = median(getattr(turn, field) for turn in turns)
    return value
