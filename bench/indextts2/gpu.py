"""IndexTTS2 on a GPU, offline: each part against its floor, one request, and streams; the package beside it.

    python -m bench gpu                        # a CUDA device; a quarter of an hour
    python -m bench gpu --tiny --device cpu    # seconds, to see that it runs

Random weights of the official shapes, a cached voice, the same count of codes in every request, and the engine
as each profile sets it up, without a server. Needs torch, numpy, safetensors, sentencepiece and msgspec, no
network, and nothing of the web; the package is timed where it is installed.

What is done is written at once: a part that fails is named in the result and the rest goes on, and an
interruption leaves what came before it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.indextts2.gpu_parts import (
    Clock,
    Part,
    decode_part,
    flow_part,
    rates,
    streams_gain,
    vocoder_part,
)
from bench.indextts2.gpu_report import GpuRun, StreamLoad, markdown, save
from bench.indextts2.offline import TEXT_TOKENS, Offline
from bench.indextts2.package import Package, PackageMissing
from bench.machine import commit, machine
from bench.metrics import audio_s, real_time_factor
from serving.engine.runner import DeviceError, pick_device
from serving.models.indextts2.mel.regulator import target_frames
from serving.profile import Profile, load_profile

CODES_PER_S = 50.0
"""Of speech."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--profile",
        nargs="+",
        default=["indextts2-throughput", "indextts2-low-latency"],
        help="one after another",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for the server")
    parser.add_argument("--codes", type=int, default=250, help="codes of each request; 50 are a second")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8, 32, 64], help="batches of the parts")
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 8, 32, 64])
    parser.add_argument("--requests", type=int, default=3, help="of each stream, one after another")
    parser.add_argument("--repeats", type=int, default=20, help="of each timing of a part")
    parser.add_argument("--no-graphs", action="store_true", help="time and serve without CUDA graphs")
    parser.add_argument("--no-package", action="store_true", help="leave the official package out")
    parser.add_argument("--tiny", action="store_true", help="toy shapes, for a trial")
    parser.add_argument(
        "--out", type=Path, default=Path("reports/gpu"), help="folder of a folder for each profile"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, write JSON and Markdown, print the tables.

    Returns 0; 1 if a part failed, which the result names; 2 if the device is not here.
    """
    cuda = arguments.device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        print(
            f"bench gpu: torch {torch.__version__} finds no CUDA device "
            f"({'built without CUDA' if torch.version.cuda is None else f'built for CUDA {torch.version.cuda}'}); "
            "--tiny --device cpu tries the command out",
            file=sys.stderr,
        )
        return 2
    failed = False
    for number, name in enumerate(arguments.profile):
        profile = offline_profile(name, arguments)
        try:
            pick_device(profile.engine)
        except DeviceError as error:
            print(f"bench gpu: {error}", file=sys.stderr)
            return 2
        run = Recorded(begin(profile, name, arguments), arguments.out / name)
        try:
            measure(profile, arguments, run, with_package=number == 0)
        finally:
            run.save()
            print(markdown(run.result))
        failed = failed or bool(run.result.failed)
    return 1 if failed else 0


@dataclass(slots=True)
class Recorded:
    """A result and its folder: what is done is on disk."""

    result: GpuRun
    folder: Path

    def save(self) -> None:
        """Write it as it is now."""
        save(self.result, self.folder)

    def attempt(self, what: str, part: Callable[[], object]) -> None:
        """Do a part and write the result; if it raises, note what and go on with the next."""
        say(what)
        try:
            part()
        except Exception as error:
            self.result.failed.append(f"{what}: {type(error).__name__}: {error}")
            traceback.print_exc()
        finally:
            self.save()


def begin(profile: Profile, name: str, arguments: argparse.Namespace) -> GpuRun:
    """An empty result."""
    head, dirty = commit()
    cuda = profile.engine.device.startswith("cuda")
    options: dict[str, Any] = profile.model.options
    return GpuRun(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        device=torch.cuda.get_device_name(torch.device(arguments.device)) if cuda else arguments.device,
        commit=head,
        dirty=dirty,
        profile=name,
        dtype=profile.engine.dtype,
        graphs=profile.engine.cuda_graphs,
        codes=arguments.codes,
        prompt_s=float(options["prompt_s"]),
        tiny=arguments.tiny,
    )


def measure(profile: Profile, arguments: argparse.Namespace, run: Recorded, *, with_package: bool) -> None:
    """Everything of one profile; the package beside the first."""
    result = run.result
    made: list[Offline] = []
    run.attempt("load and warm up", lambda: made.append(Offline(profile, prompt_s=result.prompt_s)))
    device = torch.device(arguments.device)
    if made:
        offline = made.pop()
        device = offline.device
        result.warm_s = offline.warm_s
        measure_parts(offline, arguments, run)
        measure_requests(offline, arguments, run)
        if device.type == "cuda":
            result.memory_gib = torch.cuda.max_memory_allocated(device) / 2**30
        # The package gets the whole memory.
        del offline
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if not with_package or arguments.no_package or arguments.tiny:
        result.left_out.append(
            "package: left out by --no-package or --tiny, or measured beside another profile"
        )
        return
    for name, half in [("float32", False), *([("float16", True)] if device.type == "cuda" else [])]:
        run.attempt(
            f"package, {name}",
            lambda name=name, half=half: measure_package(name, half, device, arguments, result),  # type: ignore[misc]
        )


def offline_profile(name: str, arguments: argparse.Namespace) -> Profile:
    """A profile with random weights, forced code counts and slots for every stream, on the device asked for."""
    slots = max(*arguments.rows, *arguments.streams)
    cuda = arguments.device.startswith("cuda")
    settings = [
        "model.options.weights=random",
        f"model.options.size={'tiny' if arguments.tiny else 'official'}",
        f"model.options.min_codes={arguments.codes}",
        f"model.options.max_codes={arguments.codes}",
        f"model.options.max_segment_tokens={2 * TEXT_TOKENS}",
        # The cached voice is a made-up one; conditioning on a real one would need audio packages.
        "model.options.preload=none",
        "model.options.kernels=torch",
        f"engine.device={arguments.device}",
        f"engine.max_slots={slots}",
    ]
    if not cuda:
        settings += ["engine.dtype=float32", "engine.workers=1"]
    if not cuda or arguments.no_graphs:
        settings.append("engine.cuda_graphs=false")
    return load_profile(name, [*settings, *arguments.set])


def measure_parts(offline: Offline, arguments: argparse.Namespace, run: Recorded) -> None:
    """Decode, flow and vocoder alone."""
    model, result = offline.model, run.result
    clock = Clock(offline.device, graphs=result.graphs, repeats=arguments.repeats)
    rate = rates(clock, getattr(torch, result.dtype))
    result.rates = rate
    target = target_frames(arguments.codes)
    mel = model.config.s2mel.mel
    prompt = round(result.prompt_s * mel.sample_rate_hz / mel.hop_length)
    for rows in arguments.rows:
        parts: dict[str, Callable[[int], Part]] = {
            "decode": lambda rows: decode_part(model, rows, rate, clock)
        }
        if rows <= model.options.flow_rows:
            parts["flow"] = lambda rows: flow_part(model, rows, prompt, target, rate, clock)
            parts["vocoder"] = lambda rows: vocoder_part(model, rows, target, rate, clock)
        for name, part in parts.items():
            run.attempt(f"{name}, {rows} rows", lambda part=part, rows=rows: result.parts.append(part(rows)))  # type: ignore[misc]
    if clock.graphs:

        def beside() -> None:
            result.beside = streams_gain(model, min(4, *arguments.rows), clock)

        run.attempt("two streams", beside)


def measure_requests(offline: Offline, arguments: argparse.Namespace, run: Recorded) -> None:
    """One request offline, then streams."""
    result = run.result

    def one() -> None:
        offline.speak(streams=1, requests=1, streaming=False)
        samples = offline.speak(streams=1, requests=arguments.requests, streaming=False)
        result.offline_wall_s = [sample.end_s - sample.due_s for sample in samples]
        result.offline_rtf = median(
            rtf for sample in samples if (rtf := real_time_factor(sample)) is not None
        )

    run.attempt("one request", one)
    run.attempt("first stream", lambda: offline.speak(streams=1, requests=1, streaming=True))
    for streams in arguments.streams:
        run.attempt(
            f"{streams} streams",
            lambda streams=streams: result.loads.append(load(offline, streams, arguments)),  # type: ignore[misc]
        )


def load(offline: Offline, streams: int, arguments: argparse.Namespace) -> StreamLoad:
    """That many streams, of so many requests each. They begin over the time that one answer is heard."""
    stagger_s = 0.0 if streams == 1 else arguments.codes / CODES_PER_S
    samples = offline.speak(streams=streams, requests=arguments.requests, streaming=True, stagger_s=stagger_s)
    made = StreamLoad.of(streams, samples, stagger_s)
    say(f"  {sum(map(audio_s, samples)):.1f} s of audio, {made.audio_s_per_s:.2f} s/s")
    return made


def measure_package(
    name: str, half: bool, device: torch.device, arguments: argparse.Namespace, result: GpuRun
) -> None:
    """The official package in one precision, one request at a time."""
    try:
        package = Package(
            codes=arguments.codes, prompt_s=result.prompt_s, text_tokens=TEXT_TOKENS, device=device, half=half
        )
    except PackageMissing as error:
        result.left_out.append(f"package, {name}: {error}")
        return
    package.speak(0)
    factors = []
    for seed in range(arguments.requests):
        began_s = time.perf_counter()
        spoken = package.speak(seed)
        # The wave is on the host when it returns, so nothing is left to wait for.
        factors.append((time.perf_counter() - began_s) / (spoken / package.sample_rate_hz))
    result.package[name] = median(factors)
    del package
    if device.type == "cuda":
        torch.cuda.empty_cache()


def say(text: str) -> None:
    """Progress, beside the result."""
    print(f"bench gpu: {text}", file=sys.stderr)
