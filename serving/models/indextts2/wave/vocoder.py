"""BigVGAN v2: a log-mel spectrogram to a waveform.

Weight norm is folded, the snake activations run inside their own resampling filters (snake.py), and a long
mel may be spoken in windows: REACH_FRAMES of mel on each side make a window equal the whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from serving.models.indextts2.config import BigVganConfig
from serving.models.indextts2.wave.snake import AntiAliasedSnake, stored_parameters
from serving.models.indextts2.weights.state_dict import fold_weight_norm


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each after an anti-aliased snake, added to their input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
            for dilation in dilations
        )
        self.plain = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )
        self.snakes = nn.ModuleList(AntiAliasedSnake(channels) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor, live: Tensor | None) -> Tensor:
        """x [B, C, T]; live int64 [B] samples of each row, or None if all are."""
        for index, (dilated, plain) in enumerate(zip(self.dilated, self.plain, strict=True)):
            y = dilated(self.snakes[2 * index](x, live))
            y = plain(self.snakes[2 * index + 1](y, live))
            x = x + y
        return x


class Vocoder(nn.Module):
    """Mel [B, n_mels, T] to samples [B, T * hop_length]."""

    def __init__(self, config: BigVganConfig) -> None:
        super().__init__()
        if config.use_tanh_at_final:
            raise ValueError("use_tanh_at_final is not supported: the released vocoder clamps instead")
        self.config = config
        width = config.upsample_initial_channel
        self.conv_in = nn.Conv1d(config.num_mels, width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.blocks = nn.ModuleList()
        """The residual blocks of stage i are the i-th len(kernels) of these."""
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            self.ups.append(
                nn.ConvTranspose1d(width, width // 2, kernel, stride=rate, padding=(kernel - rate) // 2)
            )
            width //= 2
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            ):
                self.blocks.append(ResidualBlock(width, size, dilations))
        self.snake_out = AntiAliasedSnake(width)
        self.conv_out = nn.Conv1d(width, 1, 7, padding=3, bias=config.use_bias_at_final)

    @property
    def dtype(self) -> torch.dtype:
        """Of the mel that it takes and the samples that it makes."""
        return self.conv_in.weight.dtype

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Samples in [-1, 1], [B, T * hop_length].

        `lengths` int64 [B] gives the live frames of ragged rows; each row then equals that row alone, and its
        samples past its end mean nothing. None says that every row is T long.
        """
        live = lengths
        kernels = len(self.config.resblock_kernel_sizes)
        x = self.conv_in(_silence(mel, live))
        for stage, (up, rate) in enumerate(zip(self.ups, self.config.upsample_rates, strict=True)):
            x = up(_silence(x, live))
            live = None if live is None else live * rate
            x = _silence(x, live)
            blocks = [self.blocks[stage * kernels + index](x, live) for index in range(kernels)]
            x = sum(blocks[1:], start=blocks[0]) / kernels
        wave: Tensor = self.conv_out(self.snake_out(x, live))[:, 0]
        return wave.clamp(-1.0, 1.0)


def reach_frames(config: BigVganConfig) -> int:
    """Mel frames to each side that an output sample may depend on: the receptive field, rounded up.

    Summed from the output back, in samples of each stage's rate: a convolution reaches dilation (kernel - 1)
    / 2, a transposed one (kernel - 1 - padding) / rate, and a snake's resampling filters 6 (see snake.REACH).
    """
    reach = float((7 - 1) // 2 + AntiAliasedSnake.REACH)
    for rate, kernel in reversed(list(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True))):
        reach += max(
            sum(2 * AntiAliasedSnake.REACH + (size - 1) // 2 * (dilation + 1) for dilation in dilations)
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
        reach = (reach + kernel - 1 - (kernel - rate) // 2) / rate
    return -int(-(reach + 3) // 1)


def _silence(x: Tensor, live: Tensor | None) -> Tensor:
    """Zero what lies past each row's end, where a convolution must find zeros."""
    if live is None:
        return x
    return x * (torch.arange(x.shape[2], device=x.device) < live[:, None, None])


def convert(official: Mapping[str, Tensor], config: BigVganConfig) -> dict[str, Tensor]:
    """State of Vocoder from bigvgan_generator.pt's generator; the resampling filters are made here
    (snake.py).

    Raises KeyError naming a key that is missing from the checkpoint.
    """
    if not config.snake_logscale:
        raise ValueError("snake_logscale must be true: the parameters are read as logarithms")
    theirs = fold_weight_norm(official)
    state: dict[str, Tensor] = {}

    def take(theirs_name: str, ours_name: str, *, bias: bool = True) -> None:
        for part in ("weight", "bias") if bias else ("weight",):
            state[f"{ours_name}.{part}"] = theirs[f"{theirs_name}.{part}"]

    def take_snake(theirs_name: str, ours_name: str) -> None:
        frequency, amplitude = stored_parameters(
            theirs[f"{theirs_name}.act.alpha"].float(), theirs[f"{theirs_name}.act.beta"].float()
        )
        state[f"{ours_name}.frequency"], state[f"{ours_name}.amplitude"] = frequency, amplitude

    take("conv_pre", "conv_in")
    for stage in range(len(config.upsample_rates)):
        take(f"ups.{stage}.0", f"ups.{stage}")
    for block in range(len(config.upsample_rates) * len(config.resblock_kernel_sizes)):
        pairs = len(config.resblock_dilation_sizes[block % len(config.resblock_kernel_sizes)])
        for index in range(pairs):
            take(f"resblocks.{block}.convs1.{index}", f"blocks.{block}.dilated.{index}")
            take(f"resblocks.{block}.convs2.{index}", f"blocks.{block}.plain.{index}")
        for index in range(2 * pairs):
            take_snake(f"resblocks.{block}.activations.{index}", f"blocks.{block}.snakes.{index}")
    take_snake("activation_post", "snake_out")
    take("conv_post", "conv_out", bias=config.use_bias_at_final)
    return state
