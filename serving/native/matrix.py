"""Matrices of 16-bit integers, or of bytes, as matrix.h multiplies them."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_void_p

import torch
from torch import Tensor

from serving.native.pages import Pages
from serving.native.tiers import chosen_tier

ATTENTION_KEYS = 16
"""Keys of a panel (attention.h); a head's channels are a multiple of it."""
COLUMNS = 16
"""Outputs of a panel; a matrix is filled up to a multiple of it."""
INPUT_MULTIPLE = 8
"""Inputs of a part are filled up to a multiple of it."""
WEIGHT_LEVELS = 2047
"""Level of an output's largest weight."""
BYTE_LEVELS = 127
"""The same of a matrix in bytes."""
INPUT_LEVELS = 32767
"""Level of a row's largest input; lower where the sums could overflow 32 bits."""


TILE_BYTES = 64
"""Inputs of a tile (tiles.h)."""
MOST_TILED = 1024
"""MATRIX_TILED of matrix.h."""


def has_tiles() -> bool:
    """Whether the chosen tier multiplies in tile registers."""
    return chosen_tier() == "amx"


def in_tiles(levels: Tensor) -> Tensor:
    """uint8 [N / COLUMNS, K / TILE_BYTES, 2, TILE_BYTES / 4, COLUMNS, 4]: high and low bytes of levels [N, K]."""
    whole = levels.to(torch.int32)
    both = torch.stack((whole >> 8, whole), dim=1) & 255
    split = both.view(len(levels) // COLUMNS, COLUMNS, 2, -1, TILE_BYTES // 4, 4)
    return split.permute(0, 3, 2, 4, 1, 5).to(torch.uint8)


class MatrixStruct(ctypes.Structure):
    """Matrix of matrix.h."""

    _fields_ = (
        ("levels", c_void_p), ("scale", c_void_p), ("bias", c_void_p),
        ("inputs", c_int32), ("outputs", c_int32), ("parts", c_int32), ("limit", c_float),
        ("level_sums", c_void_p), ("tiled", c_int32),
    )  # fmt: skip


class Matrix:
    """A linear layer's weight in integer levels, with a scale for each output.

    The inputs may come in parts, each summed exactly and the parts in float32: shorter sums leave the inputs more
    levels, and the taps of a convolution are such parts.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        parts: int = 1,
        weight_levels: int = WEIGHT_LEVELS,
        in_bytes: bool = False,
        step: Tensor | None = None,
        tiles: bool = False,
        pages: Pages | None = None,
    ) -> None:
        """weight [N, K] and bias [N], of any floating dtype; K a multiple of INPUT_MULTIPLE * parts, unless parts is 1.

        in_bytes: the weight and its inputs have 8 bits: four products an instruction where VNNI is, and slow elsewhere
        (tiers.py). The weight has BYTE_LEVELS levels on either side of zero, an input's row 256 between its least and
        its largest; one part.
        step [N]: the size of an output's levels, for a weight that is made of BYTE_LEVELS of them at most and then
        loses nothing; else an output's largest weight decides it.

        tiles: it may be laid out in tiles (`multiply` of matrix.h alone knows them), and is where the tier has them and
        the inputs fill them; one part.

        pages: where the levels are put, or in a tensor of their own.

        Raises ValueError if it is not.
        """
        assert not (in_bytes or tiles) or parts == 1
        weight = weight.detach().double()
        self.width, self.channels = weight.shape
        if parts > 1 and self.channels % (INPUT_MULTIPLE * parts):
            raise ValueError(
                f"{self.channels} inputs do not make {parts} parts of a multiple of {INPUT_MULTIPLE}"
            )
        outputs, inputs = -(-self.width // COLUMNS) * COLUMNS, self.channels // parts
        inputs = -(-inputs // INPUT_MULTIPLE) * INPUT_MULTIPLE
        if step is None:
            step = weight.abs().amax(1) / (BYTE_LEVELS if in_bytes else weight_levels)
        scale = step.double().clamp_min(1e-30)
        levels = torch.zeros(outputs, parts * inputs, dtype=torch.float64)
        levels[: self.width, : self.channels] = (weight / scale[:, None]).round()
        # No part's sum exceeds limit * (sum of an output's levels in it), whatever the input.
        most = int(levels.view(outputs, parts, inputs).abs().sum(2).max().item())
        tiled = tiles and has_tiles() and inputs % TILE_BYTES == 0 and inputs <= MOST_TILED
        together, dtype = (4, torch.int8) if in_bytes else (2, torch.int16)
        panels = levels.view(-1, COLUMNS, parts * inputs // together, together).transpose(1, 2)
        packed = in_tiles(levels) if tiled and not in_bytes else panels.to(dtype)
        self._levels = packed.contiguous() if pages is None else pages.keep(packed)
        self._level_sums = levels.sum(1).to(torch.int32) if in_bytes else None
        self._scale, self._bias = torch.zeros(outputs), torch.zeros(outputs)
        self._scale[: self.width] = scale
        if bias is not None:
            self._bias[: self.width] = bias.detach()
        self.as_struct = MatrixStruct(
            self._levels.data_ptr(),
            self._scale.data_ptr(),
            self._bias.data_ptr(),
            inputs,
            outputs,
            parts,
            min(INPUT_LEVELS, (2**31 - 1) // most),
            None if self._level_sums is None else self._level_sums.data_ptr(),
            tiled,
        )
        self.address = ctypes.addressof(self.as_struct)
