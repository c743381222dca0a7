"""The code model in the kernels of gpt.c, for a CPU.

Same weights, shapes and formulas as ../gpt.py; one call per step runs all layers. Weights have 12 bits, for reading
them is most of what a step costs, and inputs 16; their products are exactly summed in parts. A row gives the same bits
alone and in a batch, on one thread and on many.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from serving.models.indextts2.codes.gpt import Block, CodeCache, Gpt
from serving.models.indextts2.config import GptConfig
from serving.native import load_library
from serving.native.matrix import COLUMNS, INPUT_LEVELS, MatrixStruct
from serving.native.pages import Pages

_P, _I, _F = c_void_p, c_int32, c_float

Bits = Literal[8, 12]
WEIGHT_LEVELS = {12: 2047, 8: 127}
"""By bits: level of a part's largest weight."""
PART_INPUTS = {12: 160, 8: 128}
"""By bits: inputs of an exact sum at most. Each part of an output has a scale of its own, and short parts suffer less
from one large weight."""
STREAMS = 4
"""FEW_STREAMS of few_rows.h."""
MAX_HEAD_SIZE = 64
"""ATTEND_SIZE of attend.h."""
FEW = 6
"""GPT_FEW of gpt.c."""
LANES = 8
"""LANES of vector.h."""


class _Norm(ctypes.Structure):
    _fields_ = (("weight", _P), ("bias", _P))


class _Weights(ctypes.Structure):
    _fields_ = (("matrix", MatrixStruct), ("part_scale", _P), ("bits", _I))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("attention_norm", _Norm), ("mlp_norm", _Norm), ("qkv", _Weights), ("out", _Weights),
        ("up", _Weights), ("down", _Weights), ("keys", _P), ("values", _P),
    )  # fmt: skip


class _Stack(ctypes.Structure):
    _fields_ = (
        ("layers", _P), ("stack_norm", _Norm), ("final_norm", _Norm), ("count", _I), ("width", _I), ("heads", _I),
        ("epsilon", _F),
    )  # fmt: skip


class _Scratch(ctypes.Structure):
    _fields_ = (
        ("qkv", _P), ("context", _P), ("hidden", _P), ("scales", _P), ("levels", _P), ("weights", _P), ("row", _P),
        ("most", _I), ("parts", _I), ("cells", _I),
    )  # fmt: skip


class _Tokens(ctypes.Structure):
    _fields_ = (("x", _P), ("slots", _P), ("cells", _P), ("count", _I))


_SIGNATURES = {
    "run": (_P, _P, _P, _I),
    "project": (_P, _P, _I, _P, _P, _I),
}
"""The functions of gpt.c, all void."""


@functools.cache
def library() -> ctypes.CDLL:
    """gpt.c, compiled if need be. Raises NativeError."""
    loaded = load_library(Path(__file__).with_name("gpt.c"), openmp=True)
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded


class _Linear:
    """A linear layer in integer levels, as few_rows.h lays them out in `pages`."""

    def __init__(self, layer: nn.Linear, bits: int, pages: Pages) -> None:
        outputs, channels = layer.weight.shape
        columns, parts = -(-outputs // COLUMNS) * COLUMNS, -(-channels // PART_INPUTS[bits])
        together = 2 if bits == 12 else 1
        while channels % (2 * STREAMS * together * parts):
            parts += 1
        inputs = channels // parts
        weight, bias = torch.zeros(columns, parts, inputs), torch.zeros(columns)
        weight[:outputs] = layer.weight.detach().view(outputs, parts, inputs)
        bias[:outputs] = layer.bias.detach()
        scale = weight.abs().amax(2, keepdim=True).clamp_min(1e-30) / WEIGHT_LEVELS[bits]
        levels = weight.div_(scale).round_()
        # No part's sum exceeds limit * (sum of an output's levels in it), for any input.
        limit = min(INPUT_LEVELS, (2**31 - 1) // int(levels.abs().sum(2).max().item()))
        shape = (-1, COLUMNS, parts, inputs // (2 * STREAMS * together), together, STREAMS, 2)
        streams = levels.view(shape).permute(5, 0, 2, 3, 4, 1, 6).flatten(4)
        self._levels = pages.keep(_packed(streams, bits).contiguous())
        self._bias = bias
        self._part_scale = scale.view(-1, COLUMNS, parts).transpose(1, 2).contiguous()
        self.width, self.parts = outputs, parts
        matrix = MatrixStruct(self._levels.data_ptr(), None, bias.data_ptr(), inputs, columns, parts, limit)
        self.as_struct = _Weights(matrix, self._part_scale.data_ptr(), bits)


def _packed(levels: Tensor, bits: int) -> Tensor:
    """Bytes of whole levels [.., pairs * 2 COLUMNS], as few_rows.h reads them."""
    if bits == 8:
        return levels.to(torch.int8)
    high = (levels / 16).floor()
    first, second = (levels - 16 * high).to(torch.uint8).chunk(2, dim=-1)
    nibbles = first | second << 4
    return torch.cat((high.to(torch.int8), nibbles.view(torch.int8)), -1)


def check_sizes(config: GptConfig) -> None:
    """Raise ValueError if the size of the heads does not suit the kernels."""
    size = config.model_dim // config.heads
    if size % COLUMNS or size > MAX_HEAD_SIZE:
        raise ValueError(
            f"heads of {size} channels: the kernels take multiples of {COLUMNS} up to {MAX_HEAD_SIZE}"
        )


class CpuGpt:
    """The CodeModel of a CPU: stack and head in gpt.c, embeddings in torch; float32 activations, cache and results."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, gpt: Gpt, bits: Bits = 12) -> None:
        """Take over `gpt`, which is left without blocks and code_head: each is freed once it is packed.

        `bits` are those of a stored weight. Raises ValueError if the size of the heads does not suit the kernels,
        NativeError if those do not compile.
        """
        library()
        config = self.config = gpt.config
        check_sizes(config)
        assert (gpt.dtype, gpt.device) == (self.dtype, self.device)
        self.prefix, self.embed_codes = gpt.prefix, gpt.embed_codes
        pages = Pages()
        self._kept: list[Tensor | _Linear] = []
        self._layers = (_Layer * config.layers)()
        for layer in self._layers:
            block = gpt.blocks.pop(0)
            assert isinstance(block, Block)
            layer.attention_norm, layer.mlp_norm = (
                self._norm(block.attention_norm),
                self._norm(block.mlp_norm),
            )
            for name in ("qkv", "out", "up", "down"):
                setattr(layer, name, self._pack(getattr(block, name), bits, pages).as_struct)
        self._head = self._pack(gpt.code_head, bits, pages)
        del gpt.code_head
        self._stack = _Stack(
            ctypes.addressof(self._layers),
            self._norm(gpt.stack_norm),
            self._norm(gpt.final_norm),
            config.layers,
            config.model_dim,
            config.heads,
            gpt.stack_norm.eps,
        )
        self._most = 4 * config.model_dim
        self._parts = max(kept.parts for kept in self._kept if isinstance(kept, _Linear))

    def _norm(self, norm: nn.LayerNorm) -> _Norm:
        values = [value.detach().float().contiguous() for value in (norm.weight, norm.bias)]
        self._kept += values
        return _Norm(*(value.data_ptr() for value in values))

    def _pack(self, layer: nn.Linear, bits: Bits, pages: Pages) -> _Linear:
        packed = _Linear(layer, bits, pages)
        self._kept.append(packed)
        return packed

    def extend(
        self,
        vectors: Tensor,
        lengths: Tensor,
        slots: Tensor,
        cache: CodeCache,
        starts: Tensor | None = None,
        span: int = 0,
    ) -> Tensor:
        """As Gpt.extend; the states of padding are zero."""
        place = torch.arange(vectors.shape[1])
        live = place < lengths[:, None]
        cells = (place if starts is None else starts[:, None] + place).expand(live.shape)
        states = torch.zeros_like(vectors)
        states[live] = self._run(vectors[live], slots[:, None].expand(live.shape)[live], cells[live], cache)
        return states

    def decode(self, vectors: Tensor, slots: Tensor, lengths: Tensor, cache: CodeCache, span: int) -> Tensor:
        """As Gpt.decode."""
        return self._run(vectors.clone(memory_format=torch.contiguous_format), slots, lengths, cache)

    def logits(self, states: Tensor) -> Tensor:
        """float32 logits [.., V] of states [.., D]."""
        x = states.reshape(-1, self.config.model_dim).contiguous()
        assert x.dtype == torch.float32
        y = torch.empty(len(x), self._head.as_struct.matrix.outputs)
        scratch = _Buffers(self, len(x), 0)
        library().project(
            ctypes.addressof(self._head.as_struct),
            scratch.address,
            len(x),
            x.data_ptr(),
            y.data_ptr(),
            scratch.threads,
        )
        return y[:, : self._head.width].view(*states.shape[:-1], -1)

    def _run(self, x: Tensor, slots: Tensor, cells: Tensor, cache: CodeCache) -> Tensor:
        """Run x [T, D], one vector at cell cells[t] of row slots[t] each, to final states in place."""
        if not len(x):
            return x
        slots, cells = slots.contiguous(), cells.clamp(max=cache.max_cells)
        shape = (len(x), self.config.model_dim)
        assert (x.dtype, x.shape, cache.keys[0].dtype) == (torch.float32, shape, torch.float32)
        assert min(int(slots.min()), int(cells.min())) >= 0
        assert int(slots.max()) <= cache.spare_row
        for layer, keys, values in zip(self._layers, cache.keys, cache.values, strict=True):
            layer.keys, layer.values = keys.data_ptr(), values.data_ptr()
        scratch = _Buffers(self, len(x), cache.max_cells + 1)
        tokens = _Tokens(x.data_ptr(), slots.data_ptr(), cells.data_ptr(), len(x))
        library().run(
            ctypes.addressof(self._stack), scratch.address, ctypes.addressof(tokens), scratch.threads
        )
        return x


class _Buffers:
    """Where a call of some tokens works."""

    def __init__(self, gpt: CpuGpt, tokens: int, cells: int) -> None:
        self.threads = torch.get_num_threads()
        width, most, parts = gpt.config.model_dim, gpt._most, gpt._parts
        rows = max(tokens, FEW * self.threads)
        floats = (
            rows * 3 * width,
            rows * width,
            rows * most,
            rows * parts,
            rows * most // 2,
            self.threads * -(-cells // LANES) * LANES,
            self.threads * most,
        )
        self._memory = torch.empty(sum(floats))
        addresses, address = [], self._memory.data_ptr()
        for count in floats:
            addresses.append(address)
            address += 4 * count
        self._struct = _Scratch(*addresses, most, parts, cells)
        self.address = ctypes.addressof(self._struct)
