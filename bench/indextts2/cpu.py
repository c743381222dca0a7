"""IndexTTS2 on this machine's CPU: our core against the official package, in one run.

    python -m bench indextts2                    # an hour or so on two cores; --rounds, --codes and --loads shorten it
    python -m bench indextts2 --tiny --arms ours # a few seconds, to see that it runs

Both sides have random weights of the official shapes, the same count of codes per request, one cached voice,
the same sampler without beams and the same Euler iterations; both may use all cores of this process. The arms take
turns; figures are medians over the rounds. The package can only speak requests one after another; ours
takes those of a load together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench.indextts2.cpu_report import PACKAGE, CpuRun, Turn, markdown, save
from bench.indextts2.offline import TEXT_TOKENS, Offline
from bench.indextts2.package import Package, PackageMissing
from bench.machine import commit, machine
from bench.metrics import audio_s
from serving.native.cores import usable_cores
from serving.profile import EngineProfile, ModelProfile, Profile

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "exact": (
        "ours in plain torch, float32 throughout, official positions with their second pass: the package's numbers up "
        "to rounding",
        {"kernels": "torch", "positions": "official"},
    ),
    "ours": (
        "ours as it serves on a CPU: our own kernels (products of the code model and the flow in integers, the "
        "vocoder in float32), aligned positions",
        {"kernels": "native", "positions": "aligned"},
    ),
    "side-by-side": (
        "the same with as many steps at once as there are cores, a thread each, as the server's profiles have it",
        {"kernels": "native", "positions": "aligned", "workers": 0},
    ),
    "2.5": (
        "IndexTTS-2.5 as **ours**: half as many codes for as much audio, and no latents",
        {"kernels": "native", "positions": "aligned", "model": "indextts25"},
    ),
}
DESCRIPTION = "indextts2-inference: float32, num_beams=1, one request after another"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    arms = [PACKAGE, *OURS]
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    parser.add_argument("--loads", nargs="+", type=int, default=[1, 4], help="requests at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--codes",
        type=int,
        default=150,
        help="codes of each request; 50 are a second (2.5 speaks half of them)",
    )
    parser.add_argument("--prompt-s", type=float, default=3.0, help="seconds of the voice's reference")
    parser.add_argument("--tiny", action="store_true", help="toy shapes, for a trial; the package has none")
    parser.add_argument(
        "--out", type=Path, default=Path("reports/indextts2-cpu"), help="folder of the result"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, write JSON and Markdown, print the table. Returns 0, or 1 if an arm could not run."""
    head, dirty = commit()
    result = CpuRun(
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
                spoken_s = speakers[name](requests)
                done = Turn(
                    arm=name,
                    requests=requests,
                    round=turn,
                    wall_s=time.perf_counter() - began_s,
                    cpu_s=time.process_time() - began_cpu_s,
                    audio_s=spoken_s,
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


def open_arms(arguments: argparse.Namespace, result: CpuRun) -> dict[str, Callable[[int], float]]:
    """Of each arm, a function that speaks a number of requests and returns the seconds of audio; all are warm."""
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
                return sum(package.speak(seed) for seed in range(requests)) / package.sample_rate_hz

            speakers[name] = one_after_another
            continue
        description, settings = OURS[name]
        result.arms[name] = description
        offline = Offline(profile(arguments, settings), prompt_s=arguments.prompt_s)

        def together(requests: int, offline: Offline = offline, name: str = name) -> float:
            offline.stage_s.clear()
            samples = offline.speak(streams=requests, requests=1, streaming=False)
            result.stages.setdefault(f"{name} x{requests}", dict(offline.stage_s))
            return sum(map(audio_s, samples))

        # Kernels compile at the first call.
        offline.speak(streams=1, requests=1, streaming=False, codes=8)
        speakers[name] = together
    return speakers


def profile(arguments: argparse.Namespace, settings: dict[str, Any]) -> Profile:
    """The profile of one of our arms: all cores in every step, as the package has them, unless it says otherwise."""
    settings = dict(settings)
    workers, model = settings.pop("workers", 1), settings.pop("model", "indextts2")
    codes = arguments.codes // 2 if model == "indextts25" else arguments.codes
    options = {
        "weights": "random",
        "size": "tiny" if arguments.tiny else "official",
        **settings,
        "min_codes": codes,
        "max_codes": codes,
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
    return Profile(name="bench", model=ModelProfile(name=model, options=options), engine=engine)
