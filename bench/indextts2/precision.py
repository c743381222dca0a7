"""What a narrower number or a shorter flow changes in IndexTTS2's output: codes, mel and waveform, on any CPU.

    python -m bench precision                 # minutes on two cores, 3 GB; --parts, --codes and --frames shorten it
    python -m bench precision --tiny          # a few seconds, to see that it runs

The networks have the official shapes and random weights (torch's initial ones, from a seed), in plain torch, each part
against itself in float32. Random weights know no speech: nothing here says how it sounds. What is told is how far
rounding travels through networks of this depth and width. Codes are asked for after the same past, one by one: in free
running a code that differs changes all that follow it.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.machine import commit, machine, machine_name
from bench.records import write_json
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.codes.sampling import draw
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.noise import gaussian
from serving.models.indextts2.wave.fused import PLAIN, FusedVocoder
from serving.models.indextts2.wave.vocoder import Vocoder
from serving.models.indextts2.weights.checkpoint import RandomWeights

CPU = torch.device("cpu")
SEED = 7
BATCH = 4
"""Rows of the step that a row is spoken in together with others."""
ITERATIONS = 25


class Figure(msgspec.Struct, kw_only=True):
    """One change and what came of it."""

    part: str
    change: str
    figures: dict[str, float]


class Result(msgspec.Struct, kw_only=True):
    """A run of this command."""

    started_at: str
    machine: dict[str, Any]
    commit: str | None
    dirty: bool
    tiny: bool
    layers: int
    codes: int
    frames: int
    found: list[Figure] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--codes", type=int, default=1000)
    parser.add_argument(
        "--frames", type=int, default=96, help="of mel that are drawn, after as many of a prompt"
    )
    parser.add_argument(
        "--layers", type=int, help="of the code model; all that the official one has, if not given"
    )
    parser.add_argument("--tiny", action="store_true", help="toy shapes, for a trial")
    parser.add_argument(
        "--out", type=Path, default=Path("reports/indextts2-precision"), help="folder of the result"
    )


@torch.inference_mode()
def main(arguments: argparse.Namespace) -> int:
    """Measure, write JSON and Markdown, print the table. Returns 0."""
    config = IndexTts2Config.tiny() if arguments.tiny else IndexTts2Config.official()
    gpt = msgspec.structs.replace(config.gpt, layers=arguments.layers or config.gpt.layers)
    config = msgspec.structs.replace(config, gpt=gpt)
    head, dirty = commit()
    result = Result(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        commit=head,
        dirty=dirty,
        tiny=arguments.tiny,
        layers=config.gpt.layers,
        codes=arguments.codes,
        frames=arguments.frames,
    )
    for part in arguments.parts:
        for change, figures in PARTS[part](RandomWeights(config, 0), arguments):
            print(f"{part}: {change}: {figures}", file=sys.stderr)
            result.found.append(Figure(part=part, change=change, figures=figures))
            write_json(result, arguments.out / "result.json")
    (arguments.out / "result.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result), end="")
    return 0


Changes = Iterable[tuple[str, dict[str, float]]]


def codes_part(weights: RandomWeights, arguments: argparse.Namespace) -> Changes:
    """Logits of codes after the same past: which code is the likeliest, and which is drawn with the same seed."""
    count = min(arguments.codes, weights.config.gpt.mel_positions - 2)
    gpt: Gpt = weights.load("gpt", CPU)
    exact = logits_of(gpt, count, rows=1)
    yield "float32, among others", against(exact, logits_of(gpt, count // BATCH, rows=BATCH, of=count))
    gpt.apply(levels_of_weights)
    yield "weights of 8 bits", against(exact, logits_of(gpt, count, rows=1))
    hooks = [module.register_forward_pre_hook(_levels_of_inputs) for module in _linears(gpt)]
    yield "weights and activations of 8 bits", against(exact, logits_of(gpt, count, rows=1))
    for hook in hooks:
        hook.remove()
    del gpt
    narrow = weights.load("gpt", CPU).to(torch.bfloat16)
    alone = logits_of(narrow, count, rows=1)
    yield "bfloat16", against(exact, alone)
    together = logits_of(narrow, count // BATCH, rows=BATCH, of=count)
    yield "bfloat16, among others", against(alone, together)


def logits_of(gpt: Gpt, count: int, *, rows: int, of: int = 0) -> Tensor:
    """float32 logits [count, V] of the first row, after a made-up prefix and `count` drawn codes; of `of`, if more."""
    config = gpt.config
    condition = config.condition
    random = torch.Generator().manual_seed(SEED)
    latents = torch.randn(1, condition.latents, config.model_dim, generator=random)
    emovec = torch.randn(1, config.model_dim, generator=random)
    text = torch.randint(2, min(2000, config.number_text_tokens), (1, 30), generator=random)
    codes = torch.randint(0, config.stop_mel_token, (1, of or count), generator=random)[:, :count]
    others = torch.randint(0, config.stop_mel_token, (rows - 1, count), generator=random)
    prefix, _ = gpt.prefix(latents, emovec, text, torch.tensor([text.shape[1]]))
    codes = torch.cat([codes, others])
    vectors = gpt.embed_codes(codes, 1 + torch.arange(count).expand(rows, -1))
    x = torch.cat([prefix.to(gpt.dtype).expand(rows, -1, -1), vectors], dim=1)

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.view(*qkv.shape[:2], 3, config.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)

    for block in gpt.blocks:
        x = block(x, attend)
    return gpt.logits(gpt.normalise(x[0, -count:]))


def against(exact: Tensor, other: Tensor) -> dict[str, float]:
    """Percent of codes that are the same, and how far off the logits are."""
    exact = exact[: len(other)]
    rows = torch.arange(len(other))

    def sampled(logits: Tensor) -> Tensor:
        whole, real = torch.ones_like(rows), torch.ones(len(rows))
        return draw(
            logits, temperature=0.8 * real, top_k=30 * whole, top_p=0.8 * real, seed=SEED * whole, index=rows
        )

    return {
        "likeliest code the same, %": _percent(exact.argmax(1) == other.argmax(1)),
        "drawn code the same, %": _percent(sampled(exact) == sampled(other)),
        "logits off, % of their rms": float(100 * (exact - other).norm() / exact.norm()),
    }


def flow_part(weights: RandomWeights, arguments: argparse.Namespace) -> Changes:
    """The drawn mel, in percent of what the flow has added to its noise."""
    frames = arguments.frames
    estimator: Estimator = weights.load("flow", CPU)
    exact = mel_of(estimator, frames)
    added = (exact - mel_of(estimator, frames, iterations=0)).abs().mean()

    def off(mel: Tensor, than: Tensor = exact) -> dict[str, float]:
        return {"mel off, % of what the flow adds": float(100 * (mel - than).abs().mean() / added)}

    yield "float32, among others", off(mel_of(estimator, frames, rows=BATCH))
    for fewer in (16, 10):
        yield f"{fewer} iterations instead of {ITERATIONS}", off(mel_of(estimator, frames, iterations=fewer))
    narrow = copy.deepcopy(estimator).cast(torch.bfloat16)
    alone = mel_of(narrow, frames)
    yield "bfloat16", off(alone)
    yield "bfloat16, among others", off(mel_of(narrow, frames, rows=BATCH), alone)
    estimator.apply(levels_of_weights)
    yield "weights of 8 bits", off(mel_of(estimator, frames))


def mel_of(estimator: Estimator, frames: int, *, iterations: int = ITERATIONS, rows: int = 1) -> Tensor:
    """Mel [frames, M] of the first of `rows` windows, each after a prompt as long; the others are longer. Without
    iterations: its noise."""
    config, whole = estimator.config, 2 * frames
    random = torch.Generator().manual_seed(SEED)
    flow = Flow(estimator, rows, whole + rows, iterations=max(iterations, 1))
    mels = config.dit.in_channels
    for slot in range(rows):
        length = whole + slot
        prompt = torch.randn(1, length, mels, generator=random)
        prompt[:, frames:] = 0.0
        bins = torch.arange(mels)
        noise = gaussian(torch.full((1, 1), SEED + slot), torch.arange(length)[:, None], bins)[None]
        mu = torch.randn(1, length, config.dit.content_dim, generator=random)
        style = torch.randn(1, config.style_dim, generator=random)
        places = (torch.tensor([value]) for value in (length, frames))
        flow.begin(torch.tensor([slot]), prompt, mu, style, noise, *places)
    longest = whole + rows - 1
    for _ in range(iterations):
        flow.iterate(torch.arange(rows), longest, min(longest, longest - frames + flow.reach))
    return flow.x[0, frames:whole].clone()


def vocoder_part(weights: RandomWeights, arguments: argparse.Namespace) -> Changes:
    """The waveform: how far below it what is wrong with it lies."""
    vocoder: Vocoder = weights.load("vocoder", CPU)
    random = torch.Generator().manual_seed(SEED)
    mel = torch.randn(1, vocoder.config.num_mels, max(1, arguments.frames // 3), generator=random)
    exact = vocoder(mel)
    of = "16-bit convolutions, float32 between them and at the end, as on CUDA"
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        made = FusedVocoder(vocoder, dtype, PLAIN)
        yield f"{name}: {of}", below(exact, alone := made(mel))
        others = torch.randn(BATCH - 1, *mel.shape[1:], generator=random)
        yield f"{name}, among others", below(alone, made(torch.cat([mel, others]))[:1])
    yield "bfloat16 throughout", below(exact, copy.deepcopy(vocoder).bfloat16()(mel.bfloat16()).float())
    vocoder.apply(levels_of_weights)
    yield "weights of 8 bits", below(exact, vocoder(mel))


def below(exact: Tensor, other: Tensor) -> dict[str, float]:
    """The level of the difference, against the waveform's; and its largest sample. None where both are the same."""
    off = (exact - other).double()
    exact = exact.double() - exact.double().mean()
    ratio = float(off.norm() / exact.norm())
    return {
        "difference, dB": 20 * float(torch.tensor(max(ratio, 1e-15)).log10()),
        "largest, % of the peak": float(100 * off.abs().max() / exact.abs().max()),
    }


def levels_of_weights(module: nn.Module) -> None:
    """Round weights to 8 bits, each output with a scale of its own."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        module.weight.copy_(_levels(module.weight.flatten(1)).view_as(module.weight))


def _levels(rows: Tensor) -> Tensor:
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127.0
    return (rows / scale).round() * scale


def _levels_of_inputs(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (_levels(inputs[0]),)


def _linears(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def _percent(same: Tensor) -> float:
    return float(100 * same.float().mean())


PARTS: dict[str, Callable[[RandomWeights, argparse.Namespace], Changes]] = {
    "codes": codes_part,
    "flow": flow_part,
    "vocoder": vocoder_part,
}


def markdown(result: Result) -> str:
    """A table of each part."""
    sizes = "toy shapes" if result.tiny else "the official shapes"
    lines = [
        f"Random weights of {sizes}, {result.layers} layers of the code model; {result.codes} codes, "
        f"{result.frames} frames of mel after a prompt as long, a third as many to samples; "
        f"{machine_name(result.machine)}.",
    ]
    for part in dict.fromkeys(figure.part for figure in result.found):
        found = [figure for figure in result.found if figure.part == part]
        names = list(found[0].figures)
        lines += ["", f"| {part} | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
        lines += [
            f"| {one.change} | {' | '.join(f'{one.figures[name]:.3g}' for name in names)} |" for one in found
        ]
    return "\n".join(lines) + "\n"
