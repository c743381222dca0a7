"""A layer's matrix in 16-bit levels, laid out as the tier multiplies it: strassen.h, or wide_tiles.h."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_float, c_int32, c_void_p

import torch
from torch import Tensor
from torch.nn.functional import pad

from serving.native.matrix import COLUMNS, INPUT_MULTIPLE, TILE_BYTES, has_tiles, in_tiles
from serving.native.pages import Pages

WEIGHT_LEVELS = 8191
"""Level of an output's largest weight: the sum of four is within 16 bits."""
MOST_PARTS = 3
"""WIDE_PARTS of levels.h."""


class WideStruct(ctypes.Structure):
    """Wide of levels.h."""

    _fields_ = (
        ("levels", c_void_p), ("scale", c_void_p), ("bias", c_void_p),
        ("inputs", c_int32), ("outputs", c_int32), ("parts", c_int32), ("norm", c_float),
    )  # fmt: skip


class WideMatrix:
    """A linear layer's weight, packed; its inputs come in parts, each summed exactly and the parts in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, pages: Pages, *, parts: int) -> None:
        """weight [N, K] and bias [N], of any floating dtype; levels are put into `pages`.

        Raises ValueError unless N is a multiple of 2 * COLUMNS, K of 2 * INPUT_MULTIPLE * parts, and there are at most
        MOST_PARTS.
        """
        outputs, channels = weight.shape
        if outputs % (2 * COLUMNS) or channels % (2 * INPUT_MULTIPLE * parts) or parts > MOST_PARTS:
            raise ValueError(f"the kernels take no matrix of {outputs} by {channels} in {parts} parts")
        inputs, half = channels // parts, outputs // 2
        halves = weight.detach().float().view(2, half, channels)  # levels and their sums are exact in float32
        scale = halves.abs().amax(2, keepdim=True).clamp_min(1e-30) / WEIGHT_LEVELS
        levels = (halves / scale).round().view(2, half, parts, 2, inputs // 2)
        # A row in levels is rounded: half a level of each input makes it longer.
        longest = math.sqrt(float(levels.square().sum((3, 4)).amax()))
        norm = (2**31 - 1) / longest - math.sqrt(inputs)
        laid_out = tiles(levels) if has_tiles() else quarters(levels)
        self.levels = pages.keep(laid_out)
        self.scale = scale.flatten()
        self.bias = torch.zeros(outputs) if bias is None else bias.detach().float().contiguous()
        self.as_struct = WideStruct(
            self.levels.data_ptr(),
            self.scale.data_ptr(),
            self.bias.data_ptr(),
            inputs,
            outputs,
            parts,
            norm,
        )


def quarters(levels: Tensor) -> Tensor:
    """int16 [half / COLUMNS, parts, 7, inputs / 4, COLUMNS, 2]: what the seven products of strassen.h read.

    With the quarters of a weight's transpose B11 (inputs' first half, outputs' first half), B12 (outputs' second half),
    B21 and B22; the sums of the rows' quarters are made where the rows are (S. Winograd's form of V. Strassen's method,
    Gaussian Elimination is not Optimal, 1969). levels [2, half, parts, 2, inputs / 2], whole numbers.
    """
    half, parts, inputs = levels.shape[1], levels.shape[2], 2 * levels.shape[4]
    b11, b21, b12, b22 = levels[0, :, :, 0], levels[0, :, :, 1], levels[1, :, :, 0], levels[1, :, :, 1]
    t1, t3 = b12 - b11, b22 - b12
    t2 = b22 - t1
    products = torch.stack((b11, b21, t2, t3, b21 - t2, t1, b22), dim=2)  # [half, parts, 7, inputs / 2]
    panels = products.view(half // COLUMNS, COLUMNS, parts, 7, inputs // 4, 2)
    return panels.permute(0, 2, 3, 4, 1, 5).to(torch.int16)


def tiles(levels: Tensor) -> Tensor:
    """uint8 [half / COLUMNS, parts, 2, tiles, 2, 16, COLUMNS, 4]: high and low bytes in the tiles of wide_tiles.h.

    levels as of quarters; the inputs of a part are filled up to a multiple of TILE_BYTES.
    """
    half, parts = levels.shape[1], levels.shape[2]
    rows = levels.flatten(3)
    rows = pad(rows, (0, -rows.shape[3] % TILE_BYTES))
    return (
        in_tiles(rows.transpose(1, 2).flatten(0, 2))
        .view(2, parts, half // COLUMNS, -1, 2, 16, COLUMNS, 4)
        .permute(2, 1, 0, 3, 4, 5, 6, 7)
    )
