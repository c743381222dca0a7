"""Each fused kernel against its plain expression, once, on small inputs, before anything is spoken with it.

The kernels are compiled for the GPU that is there, which may be one that nobody has tried. A kernel that raises or
differs is left out, and plain torch runs in its place. A tolerance is a few roundings of the dtype: a mask or an index
that is wrong is off by far more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from serving.models.base import ModelError
from serving.models.indextts2.codes import fused as of_codes
from serving.models.indextts2.codes.attention import extend_attention
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.gpt import Block as CodeBlock
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.codes.sampling import Sampling, setting_rows
from serving.models.indextts2.mel import fused as of_mel
from serving.models.indextts2.mel.dit import Block as FlowBlock
from serving.models.indextts2.mel.dit import rope_tables
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.mel.wavenet import reflect_index
from serving.models.indextts2.wave import fused as of_wave
from serving.models.indextts2.wave.vocoder import Vocoder

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-3, torch.float16: 4e-3, torch.bfloat16: 2e-2}
"""Largest difference over the largest magnitude."""


class Subjects(NamedTuple):
    """Networks whose sizes and dtypes the inputs have."""

    gpt: Gpt
    estimator: Estimator
    vocoder: Vocoder
    vocoder_dtype: torch.dtype


class Inputs:
    """Normal numbers, the same at each start, on one device in one dtype."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._random = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        drawn = torch.randn(shape, generator=self._random)
        return drawn.to(self.device, self.dtype if dtype is None else dtype)

    def whole(self, *values: int) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


Pairs = Iterable[tuple[Tensor, Tensor]]
"""What a kernel gave, and what it should have given."""


def _of_flow(subjects: Subjects) -> Inputs:
    return Inputs(subjects.estimator.device, subjects.estimator.dtype)


def _of_codes(subjects: Subjects) -> Inputs:
    return Inputs(subjects.gpt.device, subjects.gpt.dtype)


def _norm(subjects: Subjects) -> Pairs:
    draw, width = _of_flow(subjects), subjects.estimator.config.dit.hidden_dim
    x, y, tables = draw(2, 9, width), draw(2, 9, width), draw(2, 3, width)
    modulation = (tables[:, 1], tables[:, 2])
    exact = (tables[:, 1].float(), tables[:, 2].float())
    for centred in (False, True):
        yield from zip(
            of_mel.norm(x, y, modulation, 1e-5, centred=centred, fused=True),
            of_mel.norm(x.float(), y.float(), exact, 1e-5, centred=centred),
            strict=True,
        )
    yield (
        of_mel.norm(x, None, modulation, 1e-5, fused=True)[1],
        of_mel.norm(x.float(), None, exact, 1e-5)[1],
    )


def _attention(subjects: Subjects) -> Pairs:
    draw, sizes = _of_flow(subjects), subjects.estimator.config.dit
    frames, heads, width = 150, sizes.num_heads, sizes.hidden_dim
    qkv, lengths = draw(2, frames, 3 * width), draw.whole(frames, 77)
    rope = rope_tables(width // heads, frames, draw.device)
    mask = (torch.arange(frames, device=draw.device) < lengths[:, None])[:, None, None]
    kept = draw.whole(138, 65)[:, None] + torch.arange(12, device=draw.device)
    for wanted in (None, kept):
        ours = of_mel.attention(qkv, rope, lengths, None, wanted, heads, fused=True)
        plain = of_mel.attention(qkv.float(), rope, lengths, mask, wanted, heads)
        for row, length in enumerate((frames, 77)):
            live = length if wanted is None else kept.shape[1]
            yield ours[row, :live], plain[row, :live]


def _swiglu(subjects: Subjects) -> Pairs:
    draw, block = _of_flow(subjects), subjects.estimator.transformer.blocks[0]
    assert isinstance(block, FlowBlock)
    weight: Tensor = block.gate_up.weight
    x = draw(2, 99, weight.shape[1])
    yield of_mel.swiglu(x, weight, fused=True), of_mel.swiglu(x.float(), weight.float())


def _wavenet(subjects: Subjects) -> Pairs:
    draw, sizes = _of_flow(subjects), subjects.estimator.config.wavenet
    width, pad, frames = sizes.hidden_dim, sizes.kernel_size // 2, 23
    signals, condition, bias = draw(2, frames, 2 * width), draw(2, 2 * width), draw(2 * width)
    plain = of_mel.gate(signals.float(), condition.float(), bias.float())
    yield of_mel.gate(signals, condition, bias, fused=True), plain
    x, total, lengths = draw(2, frames, width), draw(2, frames, width), draw.whole(frames, 17)
    borders = reflect_index(lengths, frames, pad)
    padded, _ = of_mel.wavenet_step(x, None, None, lengths, None, pad)
    yield padded, of_mel.wavenet_step(x, None, None, lengths, borders, pad)[0]
    yield from _present(
        of_mel.wavenet_step(padded, signals, total, lengths, None, pad),
        of_mel.wavenet_step(padded.float(), signals.float(), total.float(), lengths, borders, pad),
    )


def _present(
    ours: tuple[Tensor, Tensor | None], plain: tuple[Tensor, Tensor | None]
) -> Iterable[tuple[Tensor, Tensor]]:
    return [(a, b) for a, b in zip(ours, plain, strict=True) if a is not None and b is not None]


def _layer(subjects: Subjects) -> Pairs:
    draw, gpt = _of_codes(subjects), subjects.gpt
    block = gpt.blocks[0]
    assert isinstance(block, CodeBlock)
    up, down, normal = block.up, block.down, block.mlp_norm
    for rows in (1, 5, 33):
        x = draw(rows, gpt.config.model_dim)
        before = F.layer_norm(
            x.float(), (x.shape[1],), normal.weight.float(), normal.bias.float(), normal.eps
        )
        hidden = F.gelu(F.linear(before, up.weight.float(), up.bias.float()), approximate="tanh")
        ours = of_codes.linear(x, up.weight, up.bias, normal.weight, normal.bias, normal.eps, None, True)
        yield ours, hidden
        residual = draw(rows, gpt.config.model_dim)
        given = hidden.to(x.dtype)
        plain = residual.float() + F.linear(given.float(), down.weight.float(), down.bias.float())
        yield of_codes.linear(given, down.weight, down.bias, None, None, 0.0, residual, False), plain
    heads = gpt.config.heads
    width, span = gpt.config.model_dim // heads, 300
    qkv, lengths, slots = draw(3, 3, heads, width), draw.whole(span, 1, 131), draw.whole(3, 0, 2)
    keys, values = draw(4, heads, span + 1, width), draw(4, heads, span + 1, width)
    plain_keys, plain_values = keys.float(), values.float()
    for row, (slot, length) in enumerate(((3, span), (0, 1), (2, 131))):
        plain_keys[slot, :, length - 1], plain_values[slot, :, length - 1] = qkv[row, 1], qkv[row, 2]
    query = qkv[:, 0, :, None].float()
    attended = extend_attention(query, plain_keys, plain_values, slots, lengths - 1, span)
    yield of_codes.attend_and_write(qkv, keys, values, slots, lengths, span), attended[:, :, 0]
    yield keys, plain_keys
    yield values, plain_values


def _embedding(subjects: Subjects) -> Pairs:
    draw, gpt = _of_codes(subjects), subjects.gpt
    slots, counts = draw.whole(2, 0, 1), draw.whole(3, 1, 0)
    codes = draw.whole(*range(5, 17)).view(3, 4)
    tables = (gpt.code_embedding.weight, gpt.code_positions.weight)
    last = codes[slots, (counts[slots] - 1).clamp(min=0)]
    for ahead in (0, 1):
        ours = of_codes.embed(slots, counts, codes, *tables, ahead)
        yield ours, gpt.embed_codes(last, counts[slots] + ahead)


def _sampler(subjects: Subjects) -> Pairs:
    draw, gpt = _of_codes(subjects), subjects.gpt
    settings = [
        Sampling(seed=2**62 + 5),
        Sampling(seed=3, top_k=1, top_p=1.0, temperature=1.3),
        Sampling(seed=11, top_k=60, top_p=1.0, repetition_penalty=1.0, max_codes=3),
    ]
    whole, real = setting_rows(settings)
    slots, states = draw.whole(1, 0, 2), [draw(3, gpt.config.model_dim) for _ in range(5)]
    decodings = [
        Decoding(gpt, len(settings), max_codes=8, max_text=1, fused=parts)
        for parts in (frozenset({"sampler"}), frozenset[str]())
    ]
    for decoding in decodings:
        decoding.configure(slots, whole.to(draw.device), real.to(draw.device))
        for given in states:
            decoding._draw(slots, given)
    ours, plain = decodings
    for name in ("codes", "counts", "seen"):
        live = slice(0, len(settings))
        yield getattr(ours, name)[live], getattr(plain, name)[live]


def _vocoder(subjects: Subjects) -> Pairs:
    of_wave.check_sizes(subjects.vocoder)
    dtype = subjects.vocoder_dtype
    draw = Inputs(subjects.gpt.device, dtype)
    count = min(len(subjects.vocoder.config.resblock_kernel_sizes), of_wave.BRANCHES)
    width = subjects.vocoder.config.upsample_initial_channel
    for channels in {width // 2, subjects.vocoder.snake_out.frequency.shape[0]}:
        bases, added = [draw(2, 61, channels) for _ in range(count)], [draw(2, 61, channels)] * count
        biases, heights = (draw(count, channels, dtype=torch.float32) for _ in range(2))
        rates = 1.0 + draw(count, channels, dtype=torch.float32).abs()
        for lengths, more in ((None, added), (draw.whole(30, 13), added), (None, [])):
            inputs = (bases, more, biases, rates, heights, lengths, 2, dtype)
            yield from zip(of_wave.activate(*inputs), of_wave.activate_plain(*inputs), strict=True)
            if more or count == 1:
                mean = (bases, more, biases[0], lengths, 2, dtype)
                yield of_wave.join(*mean), of_wave.join_plain(*mean)


CHECKS: Mapping[str, Callable[[Subjects], Pairs]] = {
    "norm": _norm,
    "attention": _attention,
    "swiglu": _swiglu,
    "wavenet": _wavenet,
    "layer": _layer,
    "embedding": _embedding,
    "sampler": _sampler,
    "vocoder": _vocoder,
}
"""Of each part in options.FUSED."""


@torch.inference_mode()
def sound_parts(parts: frozenset[str], subjects: Subjects) -> frozenset[str]:
    """Those of `parts` whose kernels equal their plain expressions; each of the others is warned of.

    Raises ModelError, which names the part, if its kernel has left the device unusable for this process.
    """
    failed: set[str] = set()
    for part in sorted(parts):
        if reason := _fault(part, subjects):
            failed.add(part)
            logger.warning("the fused kernel of %r is not used, plain torch is: %s", part, reason)
    return parts - failed


def _fault(part: str, subjects: Subjects) -> str:
    try:
        for ours, plain in CHECKS[part](subjects):
            if difference := _difference(ours, plain):
                return difference
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if subjects.gpt.device.type == "cuda":
            try:
                torch.cuda.synchronize(subjects.gpt.device)
            except Exception:
                raise ModelError(
                    f"model.options.fused: the kernel of {part!r} broke the device ({reason}); leave it out of the list"
                ) from error
        return reason
    return ""


def _difference(ours: Tensor, plain: Tensor) -> str:
    """What is wrong with `ours`, or nothing."""
    if ours.shape != plain.shape:
        return f"it gives {list(ours.shape)}, not {list(plain.shape)}"
    if not ours.is_floating_point():
        return "" if torch.equal(ours, plain) else "it gives other whole numbers"
    off = float((ours.float() - plain.float()).abs().max() / plain.float().abs().max())
    # Not a number is not below the tolerance either.
    if off <= TOLERANCE[ours.dtype]:
        return ""
    return f"it is off by {off:.2g} of the largest number"
