"""The vocoder in the kernels of vocoder.c, row by row, for a CPU.

Same weights and formulas as ../vocoder.py, float32. A row gives the same bits alone and in a batch, on any number
of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from serving.models.indextts2.config import BigVganConfig
from serving.models.indextts2.wave.cpu.convolution import Convolution, Scratch, stored_channels
from serving.models.indextts2.wave.snake import AntiAliasedSnake
from serving.models.indextts2.wave.vocoder import ResidualBlock, Vocoder

_BUFFERS = 4
"""Signals of a stage that live at once: its input, a block's own, between its convolutions, the blocks' sum."""


def check_sizes(config: BigVganConfig) -> None:
    """Raise ValueError unless each transposed convolution has an even rate and a kernel of twice that."""
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        if kernel != 2 * rate or rate % 2:
            raise ValueError(f"a kernel of {kernel} at a rate of {rate} is not supported")


class CpuVocoder:
    """The MelVocoder of a CPU, in float32. Of the vocoder that it is made of it keeps the packed weights alone."""

    dtype = torch.float32

    def __init__(self, vocoder: Vocoder) -> None:
        """Raises ValueError unless each transposed convolution has an even rate and a kernel of twice that."""
        config: BigVganConfig = vocoder.config
        check_sizes(config)
        self.config = config
        blocks = iter(vocoder.blocks)
        self._conv_in = _convolution(vocoder.conv_in)
        self._stages = [
            _Stage(up, list(itertools.islice(blocks, len(config.resblock_kernel_sizes))))
            for up in vocoder.ups
        ]
        self._conv_out = _convolution(vocoder.conv_out, vocoder.snake_out)

    def __call__(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As Vocoder.forward: mel float32 [B, n_mels, T] and lengths int64 [B] to samples [B, T * hop_length],
        zero past a row's end."""
        rows, _, width = mel.shape
        frames = [width] * rows if lengths is None else lengths.tolist()
        wave = torch.zeros(rows, width * self.config.hop_length)
        scratch = Scratch()
        for row, count in enumerate(frames):
            wave[row, : count * self.config.hop_length] = self._row(mel[row, :, :count].T, scratch)
        return wave

    def _row(self, mel: Tensor, scratch: Scratch) -> Tensor:
        """mel [T, n_mels] to samples [T * hop_length]."""
        frames, mels = mel.shape
        x = mel.new_zeros(frames, self._conv_in.inputs)
        x[:, :mels] = mel
        buffers = _Buffers(max(self._sizes(frames)))
        x = self._conv_in(x, buffers.take(frames, self._conv_in.outputs), scratch)
        for stage in self._stages:
            x = stage(x, buffers, scratch)
        wave = self._conv_out(x, buffers.take(len(x), self._conv_out.outputs), scratch)
        return wave[:, 0].clamp(-1.0, 1.0)

    def _sizes(self, frames: int) -> Iterator[int]:
        """Floats of each signal of a row."""
        yield frames * self._conv_in.outputs
        for stage in self._stages:
            frames *= stage.rate
            yield frames * stage.channels
        yield frames * self._conv_out.outputs


class _Buffers:
    """Signals in turn: the one taken is not among the _BUFFERS - 1 taken before it."""

    def __init__(self, floats: int) -> None:
        self._turn = itertools.cycle(torch.empty(_BUFFERS, floats))

    def take(self, frames: int, channels: int) -> Tensor:
        """float32 [frames, channels], undefined."""
        signal: Tensor = next(self._turn)
        return signal[: frames * channels].view(frames, channels)


class _Stage:
    """A transposed convolution, and the mean of residual blocks."""

    def __init__(self, up: nn.Module, blocks: list[nn.Module]) -> None:
        assert isinstance(up, nn.ConvTranspose1d)
        self.rate = up.stride[0]
        self.channels = stored_channels(up.out_channels)
        self._halves = _halves(up)
        self._blocks = [list(_pairs(block)) for block in blocks]

    def __call__(self, x: Tensor, buffers: _Buffers, scratch: Scratch) -> Tensor:
        """x [T, inputs] to [T * rate, channels]."""
        frames, share = len(x) * self.rate, 1.0 / len(self._blocks)
        risen = buffers.take(frames, self.channels)
        for half, part in zip(self._halves, risen.view(len(x), -1).chunk(2, dim=1), strict=True):
            half(x, part, scratch)
        own, inner, total = (buffers.take(frames, self.channels) for _ in range(3))
        for index, block in enumerate(self._blocks):
            old = risen
            for dilated, plain in block[:-1]:
                plain(dilated(old, inner, scratch), own, scratch, residual=old)
                old = own
            dilated, plain = block[-1]
            plain(dilated(old, inner, scratch), total, scratch, residual=old, share=share, more=index > 0)
        return total


def _halves(up: nn.ConvTranspose1d) -> tuple[Convolution, Convolution]:
    """The samples of the first and of the second half of each input frame's rate, as outputs of one frame.

    Either depends on two input frames: the first half in its own and the one before, the second in the one after.
    """
    assert up.bias is not None
    rate, half = up.stride[0], up.stride[0] // 2
    weight = up.weight.new_zeros(rate, stored_channels(up.out_channels), up.in_channels, 2)
    bias = up.weight.new_zeros(half, stored_channels(up.out_channels))
    bias[:, : up.out_channels] = up.bias
    taps = up.weight.detach().permute(2, 1, 0)  # [2 rate, outputs, inputs]
    for place in range(rate):
        later = place + half if place < half else place - half
        weight[place, : up.out_channels, :, 0] = taps[later + rate]
        weight[place, : up.out_channels, :, 1] = taps[later]
    first, second = (part.flatten(0, 1) for part in weight.chunk(2))
    return Convolution(first, bias.flatten(), first=-1), Convolution(second, bias.flatten(), first=0)


def _pairs(block: nn.Module) -> Iterator[tuple[Convolution, Convolution]]:
    """The dilated and the plain convolutions of a block."""
    assert isinstance(block, ResidualBlock)
    layers = [layer for pair in zip(block.dilated, block.plain, strict=True) for layer in pair]
    made = [_convolution(layer, snake) for layer, snake in zip(layers, block.snakes, strict=True)]
    return zip(made[::2], made[1::2], strict=True)


def _convolution(layer: nn.Module, snake: nn.Module | None = None) -> Convolution:
    assert isinstance(layer, nn.Conv1d)
    assert snake is None or isinstance(snake, AntiAliasedSnake)
    dilation = layer.dilation[0]
    reach = dilation * (layer.kernel_size[0] - 1) // 2
    return Convolution(layer.weight, layer.bias, first=-reach, dilation=dilation, snake=snake)
