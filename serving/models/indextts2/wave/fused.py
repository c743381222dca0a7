"""The vocoder in few kernels, on CUDA: Vocoder's filters, channels last, and two kernels of ours between them.

What lies between two convolutions is one kernel (snake_triton.py): the biases, the residual sums, the anti-aliased
snake and the silence past each row's end; the three residual blocks of a stage share its launches. A transposed
convolution is a plain one whose outputs, channels last, interleave as they lie in memory. The kernels are operators,
so that a compiler and a trace without values take them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.wave.snake import AntiAliasedSnake, snake_by_convolution
from serving.models.indextts2.wave.vocoder import ResidualBlock, Vocoder

BRANCHES = 3
"""Residual blocks of a stage, at most."""


@torch.library.custom_op("indextts2::activate", mutates_args=())
def activate(
    bases: list[Tensor],
    added: list[Tensor],
    biases: Tensor,
    frequency: Tensor,
    amplitude: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """See activate_plain, which it equals but for rounding once. On CUDA, or under Triton's interpreter."""
    from serving.models.indextts2.wave.snake_triton import activate_triton

    return activate_triton(bases, added, biases, frequency, amplitude, lengths, scale, dtype)


@activate.register_fake
def _(
    bases: list[Tensor],
    added: list[Tensor],
    biases: Tensor,
    frequency: Tensor,
    amplitude: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    sums = [torch.empty_like(base) for base in bases] if added else []
    return [*sums, *(base.new_empty(base.shape, dtype=dtype) for base in bases)]


def activate_plain(
    bases: list[Tensor],
    added: list[Tensor],
    biases: Tensor,
    frequency: Tensor,
    amplitude: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """The anti-aliased snake of base + added + bias of each branch, [B, T, C], contiguous.

    biases, frequency and amplitude [N, C] float32; lengths int64 [B], in samples / scale: each row is held at its own
    last sample, and is zero past it. Returns the sums of all branches, of the bases' dtype, if there are `added`, and
    then the activated, of `dtype`.
    """
    live = None if lengths is None else lengths * scale
    sums, made = [], []
    for index, base in enumerate(bases):
        x = base.float() + biases[index]
        if added:
            x = x + added[index].float()
        x = x.to(base.dtype)
        sums.append(_silence(x, live))
        y = snake_by_convolution(x.float().mT, frequency[index], amplitude[index], live)
        made.append(y.mT.to(dtype).contiguous())
    return [*(sums if added else []), *made]


@torch.library.custom_op("indextts2::join", mutates_args=())
def join(
    bases: list[Tensor],
    added: list[Tensor],
    bias: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> Tensor:
    """See join_plain, which it equals but for rounding once. On CUDA, or under Triton's interpreter."""
    from serving.models.indextts2.wave.snake_triton import join_triton

    return join_triton(bases, added, bias, lengths, scale, dtype)


@join.register_fake
def _(
    bases: list[Tensor],
    added: list[Tensor],
    bias: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> Tensor:
    return bases[0].new_empty(bases[0].shape, dtype=dtype)


def join_plain(
    bases: list[Tensor],
    added: list[Tensor],
    bias: Tensor,
    lengths: Tensor | None,
    scale: int,
    dtype: torch.dtype,
) -> Tensor:
    """The mean of base + added over the branches, plus bias [C] / branches: [B, T, C] of `dtype`.

    Zero past lengths int64 [B], in samples / scale. Without `added` there is one base.
    """
    total = torch.stack([base.float() for base in (*bases, *added)]).sum(0) + bias
    return _silence(total / len(bases), None if lengths is None else lengths * scale).to(dtype)


def _silence(x: Tensor, live: Tensor | None) -> Tensor:
    if live is None:
        return x
    return torch.where((torch.arange(x.shape[1], device=x.device) < live[:, None])[:, :, None], x, 0.0)


class Between(NamedTuple):
    """What computes what lies between the convolutions."""

    activate: Callable[..., list[Tensor]]
    join: Callable[..., Tensor]


TRITON = Between(activate, join)
PLAIN = Between(activate_plain, join_plain)


@dataclass(frozen=True, slots=True)
class Filter:
    """A convolution over [B, T, C] without its bias, which the next kernel adds."""

    weight: Tensor
    """[O, C, 1, K], channels last."""
    dilation: int = 1

    @classmethod
    def of(cls, conv: nn.Module, dtype: torch.dtype) -> Filter:
        assert isinstance(conv, nn.Conv1d)
        return cls(_channels_last(conv.weight[:, :, None], dtype), conv.dilation[0])

    @classmethod
    def of_transposed(cls, conv: nn.ConvTranspose1d, dtype: torch.dtype) -> Filter:
        """A plain filter of 3 taps that gives `stride` times the channels: sample t R + j of channel o is its output
        j O + o at t. Sample t of the input meets sample t + d in tap j + padding - d R of the transposed one."""
        rate, pad = conv.stride[0], int(conv.padding[0])
        kernel, (inputs, outputs) = conv.kernel_size[0], conv.weight.shape[:2]
        taps = torch.zeros(rate, outputs, inputs, 3, device=conv.weight.device)
        for place in range(rate):
            for tap in range(3):
                theirs = place + pad - (tap - 1) * rate
                if 0 <= theirs < kernel:
                    taps[place, :, :, tap] = conv.weight[:, :, theirs].T
        return cls(_channels_last(taps.view(rate * outputs, inputs, 1, 3), dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """[B, T, C] to [B, T, O]."""
        pad = (self.weight.shape[3] - 1) // 2 * self.dilation
        y = F.conv2d(x.mT[:, :, None], self.weight, padding=(0, pad), dilation=(1, self.dilation))
        return y[:, :, 0].mT.contiguous()


def _channels_last(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Snakes:
    """The snakes at one place of the residual blocks of a stage, and the biases of what they activate: all [N, C]."""

    biases: Tensor
    frequency: Tensor
    amplitude: Tensor

    @classmethod
    def of(cls, biases: list[Tensor], snakes: list[nn.Module]) -> Snakes:
        tables: list[list[Tensor]] = [biases, [], []]
        for snake in snakes:
            assert isinstance(snake, AntiAliasedSnake)
            tables[1].append(snake.frequency)
            tables[2].append(snake.amplitude)
        return cls(*(torch.stack(rows).float() for rows in tables))

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """As activate takes them."""
        return self.biases, self.frequency, self.amplitude


class Stage:
    """An upsampling and the residual blocks after it, which run side by side."""

    def __init__(
        self, up: nn.ConvTranspose1d, blocks: list[ResidualBlock], dtype: torch.dtype, between: Between
    ) -> None:
        assert up.bias is not None
        self._between = between
        self.rate = up.stride[0]
        self.up = Filter.of_transposed(up, dtype)
        self.dilated = [[Filter.of(block.dilated[i], dtype) for block in blocks] for i in _pairs(blocks)]
        self.plain = [[Filter.of(block.plain[i], dtype) for block in blocks] for i in _pairs(blocks)]
        nothing = torch.zeros_like(up.bias)
        before: list[Tensor] = [up.bias for _ in blocks]
        """Biases of what a pair of convolutions takes in: those of the upsampling, then of the pair before."""
        self.outer, self.inner = [], []
        for index in _pairs(blocks):
            self.outer.append(Snakes.of(before, [block.snakes[2 * index] for block in blocks]))
            inner = [_bias(block.dilated[index]) for block in blocks]
            self.inner.append(Snakes.of(inner, [block.snakes[2 * index + 1] for block in blocks]))
            plain = [_bias(block.plain[index]) for block in blocks]
            before = [bias + (up.bias if index == 0 else nothing) for bias in plain]
        self.bias = torch.stack(before).float().sum(0)

    def __call__(self, x: Tensor, lengths: Tensor | None, scale: int) -> tuple[list[Tensor], list[Tensor]]:
        """What the blocks carry, and what their last convolutions add to it; x [B, T, C], `scale` of its outputs."""
        dtype, count = x.dtype, len(self.dilated[0])
        raised = self.up(x).view(x.shape[0], x.shape[1] * self.rate, -1)
        carried, added = [raised] * count, list[Tensor]()
        for index, (dilated, plain) in enumerate(zip(self.dilated, self.plain, strict=True)):
            made = self._between.activate(carried, added, *self.outer[index].tables, lengths, scale, dtype)
            if added:
                carried, made = made[:count], made[count:]
            inner = [one(y) for one, y in zip(dilated, made, strict=True)]
            made = self._between.activate(inner, [], *self.inner[index].tables, lengths, scale, dtype)
            added = [one(y) for one, y in zip(plain, made, strict=True)]
        return carried, added


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv1d)
    assert conv.bias is not None
    return conv.bias


def _pairs(blocks: list[ResidualBlock]) -> range:
    return range(len(blocks[0].dilated))


class FusedVocoder:
    """serving.models.indextts2.networks.MelVocoder of a Vocoder in float32.

    Convolutions run in `dtype`; the last one, of one channel, in float32, so that samples are not rounded. With PLAIN
    it is the same computation in torch, anywhere: for tests, and to measure what a dtype changes.
    """

    def __init__(self, plain: Vocoder, dtype: torch.dtype, between: Between = TRITON) -> None:
        check_sizes(plain)
        self._between = between
        self.config = plain.config
        self.dtype = dtype
        kernels = len(self.config.resblock_kernel_sizes)
        self._first = Filter.of(plain.conv_in, dtype)
        self._first_bias = _bias(plain.conv_in).float()
        self._no_bias = torch.zeros(self.config.num_mels, device=self._first_bias.device)
        blocks = [block for block in plain.blocks if isinstance(block, ResidualBlock)]
        ups = [up for up in plain.ups if isinstance(up, nn.ConvTranspose1d)]
        self._stages = [
            Stage(up, blocks[index * kernels : (index + 1) * kernels], dtype, between)
            for index, up in enumerate(ups)
        ]
        width = plain.conv_out.in_channels
        self._last_snake = Snakes.of([self._no_bias.new_zeros(width)], [plain.snake_out])
        self._last = Filter.of(plain.conv_out, torch.float32)
        self._last_bias = plain.conv_out.bias

    def __call__(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As Vocoder.forward: mel [B, M, T] to float32 samples [B, T * hop] in [-1, 1]."""
        activate, join = self._between
        x = join([mel.mT.contiguous()], [], self._no_bias, lengths, 1, self.dtype)
        x = join([self._first(x)], [], self._first_bias, lengths, 1, self.dtype)
        scale = 1
        for stage in self._stages:
            scale *= stage.rate
            carried, added = stage(x, lengths, scale)
            x = join(carried, added, stage.bias, lengths, scale, self.dtype)
        (x,) = activate([x], [], *self._last_snake.tables, lengths, scale, torch.float32)
        wave = self._last(x)[:, :, 0]
        if self._last_bias is not None:
            wave = wave + self._last_bias
        return wave.clamp(-1.0, 1.0)


def check_sizes(plain: Vocoder) -> None:
    """Raise ValueError unless FusedVocoder takes these."""
    config = plain.config
    if len(config.resblock_kernel_sizes) > BRANCHES or len(set(config.resblock_dilation_sizes)) > 1:
        raise ValueError(f"more than {BRANCHES} residual blocks a stage, or blocks that are not alike")
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        if kernel > 3 * rate or (kernel - rate) % 2:
            raise ValueError(f"an upsampling by {rate} with a kernel of {kernel}")
