"""Each part of IndexTTS2 alone, timed on the device, beside what the device could do at best.

Decoding reads every weight and every live key and value once per code: its floor is those bytes over the
memory's rate. The flow and the vocoder are arithmetic: their floor is their operations over the rate of the
matrix units. Rates are the maker's where the device is known, and measured ones beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec
import torch
from torch import nn

from serving.engine.graphs import WARM_UP_RUNS, pick_bucket
from serving.models.base import Bucket
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.config import BigVganConfig, GptConfig
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.stages.mel import Integrate
from serving.models.indextts2.stages.wave import Vocode

RATES = {
    "H200": (4.8e12, 989e12),
    "H100": (3.35e12, 989e12),
    "A100": (2.04e12, 312e12),
    "4090": (1.01e12, 165e12),
}
"""Name in the device's name: bytes per second of its memory, and dense bfloat16 operations per second."""
LIVE_CELLS = 300
"""Live cells of each row while decoding is timed: a sentence of some five seconds."""


class Rates(msgspec.Struct, kw_only=True):
    """What a device can do."""

    measured_bytes_per_s: float
    """By copying: bytes read and written."""
    measured_flops: float
    """By one large matrix product in the dtype of the model."""
    stated_bytes_per_s: float | None
    stated_flops: float | None

    @property
    def bytes_per_s(self) -> float:
        return self.stated_bytes_per_s or self.measured_bytes_per_s

    @property
    def flops(self) -> float:
        return self.stated_flops or self.measured_flops


class Part(msgspec.Struct, kw_only=True):
    """One part at one batch."""

    name: str
    rows: int
    shape: str
    ms: float
    """Median of a step, or of the whole part."""
    floor_ms: float
    unit: str = "step"
    """What ms and floor_ms are for: a step of the engine, or a second of audio."""

    @property
    def ratio(self) -> float:
        return self.ms / self.floor_ms


class Clock:
    """Times calls on one device; on CUDA by events, and as a captured graph if wanted."""

    def __init__(self, device: torch.device, *, graphs: bool, repeats: int) -> None:
        self.device = device
        self.graphs = graphs and device.type == "cuda"
        self.repeats = repeats

    @torch.inference_mode()
    def ms(self, call: Callable[[], object], *, capture: bool = True) -> float:
        """Median milliseconds of a call after its warm-up."""
        if self.device.type != "cuda":
            call()
            return median(self._host_ms(call) for _ in range(self.repeats))
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                call()
        torch.cuda.current_stream(self.device).wait_stream(side)
        torch.cuda.synchronize(self.device)
        if self.graphs and capture:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                call()
            call = graph.replay
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(self.repeats + 1)]  # type: ignore[no-untyped-call]
        marks[0].record()
        for mark in marks[1:]:
            call()
            mark.record()
        torch.cuda.synchronize(self.device)
        elapsed_ms: float = median(a.elapsed_time(b) for a, b in pairwise(marks))
        return elapsed_ms

    @staticmethod
    def _host_ms(call: Callable[[], object]) -> float:
        began_s = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began_s)


def rates(clock: Clock, dtype: torch.dtype) -> Rates:
    """Measure a copy and a matrix product, small ones on a CPU."""
    device = clock.device
    cuda = device.type == "cuda"
    source = torch.zeros((2**31 if cuda else 2**24) // 4, device=device)
    target = torch.empty_like(source)
    copy_ms = clock.ms(lambda: target.copy_(source))
    side = 8192 if cuda else 256
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product_ms = clock.ms(lambda: a @ b)
    name = torch.cuda.get_device_name(device) if cuda else ""
    stated = next((known for key, known in RATES.items() if key in name), (None, None))
    return Rates(
        measured_bytes_per_s=2 * source.nbytes / copy_ms * 1e3,
        measured_flops=2 * side**3 / product_ms * 1e3,
        stated_bytes_per_s=stated[0],
        stated_flops=stated[1],
    )


def decode_part(model: IndexTts2Model, rows: int, rate: Rates, clock: Clock) -> Part:
    """A decode step of `rows` rows with LIVE_CELLS live cells each, or as many as fit."""
    decoding = model.decoding
    device = decoding.codes.device
    # Each call moves on by a cell: warm-up, capture and repeats must stay within the cache and the codes.
    calls = clock.repeats + WARM_UP_RUNS + 2
    live = min(LIVE_CELLS, decoding.cache.max_cells - calls - 1)
    if live < 1 or calls >= decoding.max_codes:
        raise ValueError(f"{decoding.max_codes} codes leave no room for {calls} calls: take more --codes")
    slots = torch.arange(rows, device=device)
    for buffer, value in (
        (decoding.lengths, live),
        (decoding.prefix_lengths, live),
        (decoding.counts, 1),
        (decoding.code_limit, decoding.max_codes),
        (decoding.min_codes, decoding.max_codes),
        (decoding.top_k, 30),
        (decoding.seen, False),
        (decoding.codes, 0),
    ):
        buffer[:rows] = value
    span = decoding.cache.max_cells
    assert isinstance(decoding.gpt, Gpt)
    ms = clock.ms(lambda: decoding.decode(slots, span))
    floor_bytes = weight_bytes(decoding.gpt) + rows * live * cell_bytes(
        decoding.gpt.config, decoding.cache.keys[0].element_size()
    )
    return Part(
        name="decode", rows=rows, shape=f"{live} cells", ms=ms, floor_ms=1e3 * floor_bytes / rate.bytes_per_s
    )


def weight_bytes(gpt: Gpt) -> int:
    """Bytes of the weights that the decoding of a code reads."""
    return sum(p.nbytes for part in (gpt.blocks, gpt.code_head) for p in part.parameters())


def cell_bytes(config: GptConfig, item_bytes: int) -> int:
    """Bytes of one cached token of one row."""
    return 2 * config.layers * config.model_dim * item_bytes


@torch.inference_mode()
def streams_gain(model: IndexTts2Model, rows: int, clock: Clock) -> float:
    """What steps of decode and of the flow gain on two streams at once, both graphs of `rows` inert rows, on CUDA.

    0: as if one followed the other; 1: as if each were alone. It is the `beside` of bench.simulate.costs.
    """
    replays: list[Callable[[int], None]] = []
    for name in ("decode", "flow"):
        stage = model.stages[name]
        bucket = next(bucket for bucket in stage.buckets if bucket.rows >= rows)
        inputs = tuple(value.to(clock.device) for value in stage.collate([], bucket))
        stream = torch.cuda.Stream(clock.device)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(clock.device)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                stage.forward(*inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            stage.forward(*inputs)

        def replay(times: int, graph: torch.cuda.CUDAGraph = graph, stream: Any = stream) -> None:
            with torch.cuda.stream(stream):
                for _ in range(times):
                    graph.replay()

        replays.append(replay)

    def seconds(*counts: int) -> float:
        torch.cuda.synchronize(clock.device)
        began_s = time.perf_counter()
        for replay, times in zip(replays, counts, strict=True):
            replay(times)
        torch.cuda.synchronize(clock.device)
        return time.perf_counter() - began_s

    repeats = 10 * clock.repeats
    decode_s = seconds(repeats, 0)
    flows = max(1, round(decode_s / max(seconds(0, repeats), 1e-9) * repeats))
    return (decode_s + seconds(0, flows)) / seconds(repeats, flows) - 1


def flow_part(model: IndexTts2Model, rows: int, prompt: int, target: int, rate: Rates, clock: Clock) -> Part:
    """All Euler iterations of `rows` windows of prompt and target frames, per second of audio."""
    flow, dim = model.flow, model.config.s2mel
    device, frames = flow.x.device, prompt + target
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    slots = torch.arange(rows, device=device)
    prompt_mel = normal(rows, frames, dim.dit.in_channels)
    prompt_mel[:, prompt:] = 0.0
    with torch.inference_mode():
        flow.begin(
            slots,
            prompt_mel,
            normal(rows, frames, dim.dit.content_dim),
            normal(rows, dim.style_dim),
            normal(rows, frames, dim.dit.in_channels),
            torch.full_like(slots, frames),
            torch.full_like(slots, prompt),
        )
    stage = model.stages["flow"]
    assert isinstance(stage, Integrate)
    shape: Bucket | None = Bucket(rows, frames)
    if stage.static_prompt:
        shape = pick_bucket(stage.buckets, rows, max(frames, target + stage.static_prompt))
    if shape is None:
        raise ValueError(f"no shape of the flow holds {rows} rows of {frames} frames")
    inputs = stage.inputs(slots, shape, prompt)
    ms = flow.iterations * clock.ms(lambda: stage.forward(*inputs))
    audio_s = rows * target * _frame_s(model)
    assert isinstance(flow.estimator, Estimator)
    passes = flow.iterations * (2 if flow.guidance else 1) * rows
    kept = target + min(prompt, flow.reach)
    floor_s = passes * estimator_flops(flow.estimator, frames, kept) / rate.flops
    return Part(
        name="flow",
        rows=rows,
        shape=f"{prompt} + {target} frames as {shape.rows} x {shape.length}",
        ms=ms / audio_s,
        floor_ms=1e3 * floor_s / audio_s,
        unit="second of audio",
    )


def estimator_flops(estimator: Estimator, frames: int, kept: int) -> float:
    """Operations of one row of one estimator call; of the last block and all that follows, at `kept` frames alone.

    What is computed once for a window, or tabulated by time, is left out.
    """
    config = estimator.config.dit
    once = ("time.", "merge_prompt", "merge_mu", "merge_style")
    last = f"transformer.blocks.{config.depth - 1}."
    everywhere = at_kept = 0.0
    for name, module in estimator.named_modules():
        if not isinstance(module, nn.Linear) or name.startswith(once):
            continue
        weights = float(module.weight.numel())
        if name == last + "qkv":
            everywhere, at_kept = everywhere + weights * 2 / 3, at_kept + weights / 3
        elif name == last + "skip" or (
            name.startswith(("merge_x", "transformer.")) and not name.startswith(last)
        ):
            everywhere += weights
        else:
            at_kept += weights
    scores = 4.0 * config.hidden_dim * frames * ((config.depth - 1) * frames + kept)
    return 2.0 * (everywhere * frames + at_kept * kept) + scores


def vocoder_part(model: IndexTts2Model, rows: int, frames: int, rate: Rates, clock: Clock) -> Part:
    """Samples of stretches of mel, as many in a step as serving takes of `rows`, per second of audio."""
    vocoder, stage = model.vocoder, model.stages["vocode"]
    assert isinstance(stage, Vocode)
    frames = min(frames, max(one.length for one in stage.buckets))
    shape = Bucket(max(1, min(rows, stage.max_units // frames)), frames)
    if stage.static:
        shape = max(
            (one for one in stage.buckets if one.rows <= rows and one.length >= frames),
            key=lambda one: (one.rows, -one.length),
        )
    mel = torch.randn(
        shape.rows, vocoder.config.num_mels, shape.length, generator=torch.Generator().manual_seed(0)
    ).to(model.flow.x.device)
    lengths = torch.full((shape.rows if stage.static else 0,), frames, device=mel.device)
    ms = clock.ms(lambda: stage.forward(mel, lengths))
    audio_s = shape.rows * frames * _frame_s(model)
    floor_s = shape.rows * frames * vocoder_flops_per_frame(vocoder.config) / rate.flops
    return Part(
        name="vocoder",
        rows=shape.rows,
        shape=f"{frames} frames as {shape.rows} x {shape.length}",
        ms=ms / audio_s,
        floor_ms=1e3 * floor_s / audio_s,
        unit="second of audio",
    )


def vocoder_flops_per_frame(config: BigVganConfig) -> float:
    """Operations of the convolutions for one frame of mel; the activations are memory, not arithmetic."""
    width, samples = config.upsample_initial_channel, 1
    weights = 7.0 * config.num_mels * width
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        weights += samples * kernel * width * width / 2
        width, samples = width // 2, samples * rate
        blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        weights += samples * sum(2 * len(dilations) * size * width**2 for size, dilations in blocks)
    return 2.0 * (weights + samples * 7 * width)


def _frame_s(model: IndexTts2Model) -> float:
    return model.config.s2mel.mel.hop_length / model.config.s2mel.mel.sample_rate_hz
