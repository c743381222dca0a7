"""The embedded voice's network as torch modules: [rows, frames, channels] throughout, weights folded at load.

A ConvNeXt block is x + gamma * pw2(gelu(pw1(norm(depthwise(x))))). The norm's affine part is folded into pw1
and gamma into pw2. Everything is float32 but the decoder's matrix products, which run in the dtype of its
matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from serving.models.hibari.constants import CHANNELS, NORM_EPS
from serving.models.hibari.weights import Weights
from serving.models.hibari.windows import HISTORY, LAYERS, REACH

PROSODY_DILATIONS = (1, 2, 4, 8, 1, 2)


class ConvNeXt(nn.Module):
    """One block, read from `prefix`.depthwise.weight and so on."""

    def __init__(self, weights: Weights, prefix: str, dilation: int = 1) -> None:
        super().__init__()
        kernel = weights[f"{prefix}.dw.weight"]  # [channels, 1, taps]
        self.dilation = dilation
        self.reach = dilation * (kernel.shape[-1] // 2)
        self.channels = kernel.shape[0]
        taps = torch.from_numpy(kernel).unsqueeze(2).to(memory_format=torch.channels_last)
        self.taps = nn.Parameter(taps, requires_grad=False)
        self.taps_bias = _parameter(weights[f"{prefix}.dw.bias"])
        self.pw1 = folded(weights, f"{prefix}.pw1.", norm=f"{prefix}.norm")
        self.pw2 = folded(weights, f"{prefix}.pw2.", gain=weights[f"{prefix}.gamma"])

    def forward(self, x: Tensor) -> Tensor:
        """[rows, frames, channels] to the same shape; frames beyond either end count as zero."""
        return self._mix(self._depthwise(x, self.reach), x)

    def valid(self, x: Tensor) -> Tensor:
        """[rows, frames, channels] to [rows, frames - 2 * reach, channels]: only frames whose neighbours are
        known.
        """
        return self._mix(self._depthwise(x, 0), x[:, self.reach : x.shape[1] - self.reach])

    def _depthwise(self, x: Tensor, padding: int) -> Tensor:
        # As an image of height 1 in channels-last order, for which the layout above needs no copy.
        image = x.unsqueeze(1).permute(0, 3, 1, 2)
        y = functional.conv2d(
            image,
            self.taps,
            self.taps_bias,
            padding=(0, padding),
            dilation=(1, self.dilation),
            groups=self.channels,
        )
        return y.permute(0, 2, 3, 1).squeeze(1)

    def _mix(self, y: Tensor, residual: Tensor) -> Tensor:
        y = functional.layer_norm(y, (self.channels,), eps=NORM_EPS).to(self.pw1.weight.dtype)
        change: Tensor = self.pw2(functional.gelu(self.pw1(y)))
        return residual + change


class TextEncoder(nn.Module):
    """Token ids to features: embedding, two ConvNeXt blocks, one transformer layer applied `repeats` times.

    There are no position encodings: the convolutions alone tell the order.
    """

    HEADS = 2

    def __init__(self, weights: Weights, prefix: str, repeats: int) -> None:
        super().__init__()
        self.repeats = repeats
        self.embedding = _parameter(weights[f"{prefix}.emb.weight"])
        self.channels = self.embedding.shape[1]
        self.convs = nn.ModuleList(ConvNeXt(weights, f"{prefix}.convs.{i}") for i in range(2))
        layer = f"{prefix}.attn"
        attention = f"{layer}.self_attn"
        self.qkv = folded(weights, f"{attention}.in_proj_", norm=f"{layer}.norm1")
        self.out = folded(weights, f"{attention}.out_proj.")
        self.linear1 = folded(weights, f"{layer}.linear1.", norm=f"{layer}.norm2")
        self.linear2 = folded(weights, f"{layer}.linear2.")
        self.norm_weight = _parameter(weights[f"{prefix}.norm.weight"])
        self.norm_bias = _parameter(weights[f"{prefix}.norm.bias"])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [rows, tokens] int64, mask [rows, tokens] bool to features [rows, tokens, channels]."""
        inside = mask.unsqueeze(2)
        x = functional.embedding(ids, self.embedding) * inside
        for conv in self.convs:
            x = conv(x) * inside
        keys = mask[:, None, None, :]
        for _ in range(self.repeats):
            x = x + self._attend(self._norm(x), keys)
            x = x + self.linear2(functional.gelu(self.linear1(self._norm(x))))
        return functional.layer_norm(x, (self.channels,), self.norm_weight, self.norm_bias, NORM_EPS)

    def _norm(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (self.channels,), eps=NORM_EPS)

    def _attend(self, x: Tensor, keys: Tensor) -> Tensor:
        rows, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(rows, tokens, 3, self.HEADS, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        mixed: Tensor = self.out(y.transpose(1, 2).reshape(rows, tokens, self.channels))
        return mixed


class Encoder(nn.Module):
    """Both text encoders and the durations."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.speech_text = TextEncoder(weights, "m.text", repeats=4)
        self.prosody_text = TextEncoder(weights, "pn.text", repeats=6)
        self.hidden = _linear(_by_frame(weights["pn.dur.0.weight"]), weights["pn.dur.0.bias"])
        self.log_duration = _linear(weights["pn.dur.2.weight"][:, :, 0], weights["pn.dur.2.bias"])

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ids [rows, tokens] int64, lengths [rows] int64 (at least 1).

        Returns the features for the decoder [rows, tokens, 128] and for the prosody [rows, tokens, 192], and
        the durations [rows, tokens] int64 in frames of 25 ms, at least 1. Tokens past a row's length are
        undefined.
        """
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        speech = self.speech_text(ids, mask)
        prosody = self.prosody_text(ids, mask)
        padded = functional.pad(prosody * mask.unsqueeze(2), (0, 0, 1, 1))
        hidden = functional.gelu(self.hidden(neighbours(padded, 3)))
        frames = torch.expm1(self.log_duration(hidden).squeeze(2))
        return speech, prosody, frames.round().clamp_min(1).to(torch.int64)


class ProsodyNet(nn.Module):
    """Pitch and energy over the frames of a segment."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.pro_in = _linear(weights["pn.pro_in.weight"][:, :, 0], weights["pn.pro_in.bias"])
        self.blocks = nn.ModuleList(
            ConvNeXt(weights, f"pn.pro.{i}", dilation) for i, dilation in enumerate(PROSODY_DILATIONS)
        )
        self.pro_out = _linear(weights["pn.pro_out.weight"][:, :, 0], weights["pn.pro_out.bias"])

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x [rows, frames, 192] of 25 ms, lengths [rows] int64: f0 in Hz and energy, [rows, 2 * frames] of 12.5 ms.

        Energy comes as the decoder wants it: the network's own value (times 5, then divided by 5). Frames past a
        row's length are undefined.
        """
        mask = (torch.arange(x.shape[1], device=x.device) < lengths[:, None]).unsqueeze(2)
        x = self.pro_in(x) * mask
        for block in self.blocks:
            x = block(x) * mask
        f0, energy = self.pro_out(x).split(2, dim=2)
        return f0.flatten(1) * 100, energy.flatten(1)


class Decoder(nn.Module):
    """Frames of 12.5 ms to spectral parameters, one window at a time.

    A layer computes each frame of a segment exactly once, whatever the windows: it runs ahead of the layer
    after it by REACH frames, and keeps its last HISTORY input frames for the next window. The rows of a batch
    lie one behind the other in one long sequence, each led by its history; `takes` says where a layer finds
    its input frames.
    """

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = _linear(_by_frame(weights["m.dec_in.weight"]), weights["m.dec_in.bias"])
        self.blocks = nn.ModuleList(ConvNeXt(weights, f"m.dec.{i}") for i in range(LAYERS - 1))
        # One product of 3005 columns is 3 times slower on a CPU than five of 601: lh, theta, ln, lr, phi.
        self.heads = nn.ModuleList(
            folded(weights, "m.head.", norm="m.dec_norm", part=part)
            for part in np.split(np.arange(weights["m.head.bias"].size), 5)
        )
        for layer in (self.first, *self.heads):
            layer.to(dtype)
        for block in self.blocks:
            block.pw1.to(dtype)
            block.pw2.to(dtype)

    def forward(
        self,
        inputs: Tensor,
        histories: Sequence[Tensor],
        takes: Sequence[Tensor],
        ends: Tensor,
        heads: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the frames of a window.

        inputs [frames, 130]: each row's new frames with REACH more on both sides (zeros beyond the segment's
        ends).
        histories: 8 x [rows, 6, 256], the last input frames of each block from the window before.
        takes: 8 x [frames], where a block's input frames lie in the concatenation of the rows' histories, one
        zero frame and the layer before's output. ends [8, rows]: where each row's frames end therein.
        heads [frames]: which of the last block's frames to emit.

        Returns the normalised features [frames, 256] float32, for parameters_of, and the new histories.
        """
        x = self.first(neighbours(inputs.unsqueeze(0), 2 * REACH + 1).to(self.first.weight.dtype)).float()
        zero = x.new_zeros(1, CHANNELS)
        last = torch.arange(-HISTORY, 0, device=x.device)
        kept: list[Tensor] = []
        for block, history, take, end in zip(self.blocks, histories, takes, ends, strict=True):
            assert isinstance(block, ConvNeXt)
            x = torch.cat((history.flatten(0, 1), zero, x[0])).index_select(0, take)
            kept.append(x.index_select(0, (end[:, None] + last).flatten()).view(-1, HISTORY, CHANNELS))
            x = block.valid(x.unsqueeze(0))
        return functional.layer_norm(x[0].index_select(0, heads), (CHANNELS,), eps=NORM_EPS), kept

    def parameters_of(self, features: Tensor) -> list[Tensor]:
        """features [frames, 256] float32 to lh, theta, ln, lr, phi: [frames, 601] float32 each."""
        features = features.to(self.first.weight.dtype)
        return [head(features).float() for head in self.heads]


def neighbours(x: Tensor, taps: int) -> Tensor:
    """[rows, frames, channels] to [rows, frames - taps + 1, taps * channels]: a convolution becomes a matrix
    product.
    """
    frames = x.shape[1] - taps + 1
    return torch.cat([x[:, tap : tap + frames] for tap in range(taps)], dim=2)


def _by_frame(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A convolution's [out, in, taps] as the matrix [out, taps * in] for neighbours."""
    return kernel.transpose(0, 2, 1).reshape(kernel.shape[0], -1)


def _parameter(array: NDArray[np.float32]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(array)), requires_grad=False)


def _linear(matrix: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], device="meta")
    layer.weight, layer.bias = _parameter(matrix), _parameter(bias)
    return layer


class Folded(nn.Linear):
    """A linear layer behind a norm's scale and shift, or before a gain, with all of them in its weight and bias.

    What they are made of stays beside them, in float32 on the CPU: weight = gain * plain * scale, where plain is a
    whole number of steps, if `step` is known, and bias = gain * (plain_bias + plain @ shift).
    """

    plain: Tensor
    plain_bias: Tensor
    step: float | None
    scale: Tensor | None
    shift: Tensor | None
    gain: Tensor | None


def folded(
    weights: Weights,
    prefix: str,
    *,
    norm: str | None = None,
    gain: NDArray[np.float32] | None = None,
    part: NDArray[np.int64] | None = None,
) -> Folded:
    """The layer of `prefix`, or some of its outputs, behind a norm or before a gain [outputs]."""
    matrix, bias, step = weights[f"{prefix}weight"], weights[f"{prefix}bias"], weights.get(f"{prefix}step")
    if part is not None:
        matrix, bias = matrix[part], bias[part]
    weight, offset, scale, shift = matrix, bias, None, None
    if norm is not None:
        scale, shift = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
        weight, offset = matrix * scale, bias + matrix @ shift
    if gain is not None:
        weight, offset = gain[:, None] * weight, gain * offset
    layer = Folded(matrix.shape[1], matrix.shape[0], device="meta")
    layer.weight, layer.bias = _parameter(weight), _parameter(offset)
    layer.plain, layer.plain_bias = torch.from_numpy(matrix), torch.from_numpy(bias)
    layer.step = None if step is None else float(step)
    layer.scale, layer.shift, layer.gain = (
        None if array is None else torch.from_numpy(array) for array in (scale, shift, gain)
    )
    return layer
