"""The velocity estimator in the kernels of flow.c, for a CPU.

Same weights, shapes and formulas as ../estimator.py. Products of matrices and of attention are of 16-bit integers,
exactly summed; everything else is float32. The segments of a step run one after the other, so that each gives the same
bits alone and in a batch.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterable
from ctypes import c_float, c_int32, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn

from serving.models.indextts2.config import S2MelConfig
from serving.models.indextts2.mel.cpu.toom_cook import minimal_filter
from serving.models.indextts2.mel.cpu.wide import WideMatrix, WideStruct
from serving.models.indextts2.mel.dit import NORM_EPS, Block, feed_forward_dim
from serving.models.indextts2.mel.estimator import FINAL_NORM_EPS, Estimator, merge_window
from serving.models.indextts2.mel.schedule import Schedule
from serving.models.indextts2.mel.wavenet import Layer
from serving.native import load_library
from serving.native.matrix import COLUMNS, Matrix, MatrixStruct
from serving.native.pages import Pages, large

WEIGHT_LEVELS = 4095
LONGEST_SUM = 512
"""Inputs of one exact sum: longer ones would leave the inputs too few levels."""
TAPS = 5
GROUP = 4
"""Frames of a convolution that share their products."""
POINTS = GROUP + TAPS - 1
MAX_CHANNELS, MAX_HIDDEN, MAX_DEPTH = 512, 1536, 31
"""FLOW_CHANNELS and FLOW_HIDDEN of estimator.h, and the layers for whose skips flow.c has room."""


class _Block(ctypes.Structure):
    _fields_ = tuple((name, WideStruct) for name in ("qkv", "out", "gate_up", "down", "skip"))


class _GatedLayer(ctypes.Structure):
    _fields_ = (("points", WideStruct * POINTS), ("residual_skip", WideStruct), ("bias", c_void_p))


_PARTS = ("merge_x", "join_hidden", "join_x", "wavenet_in", "wavenet_around", "final", "mel_out")


class _Estimator(ctypes.Structure):
    _fields_ = (
        ("blocks", c_void_p),
        ("gated", c_void_p),
        *((name, MatrixStruct) for name in _PARTS),
        *((name, c_void_p) for name in ("unconditioned", "cosines", "sines", "spread", "gather")),
        *((name, c_int32) for name in ("depth", "gated_count", "heads", "channels", "wave_channels")),
        *((name, c_int32) for name in ("hidden", "mels")),
        *((name, c_float) for name in ("norm_epsilon", "last_epsilon")),
    )


class _Segment(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("x", "constant", "norm_scale", "norm_shift", "condition")),
        *((name, c_void_p) for name in ("last_scale", "last_shift")),
        ("frames", c_int32),
        ("first", c_int32),
        ("guidance", c_float),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """flow.c, compiled if need be. Raises NativeError."""
    loaded = load_library(Path(__file__).with_name("flow.c"), openmp=True)
    loaded.scratch_size.argtypes, loaded.scratch_size.restype = (c_void_p, c_int32, c_int32), c_int64
    loaded.estimate.argtypes, loaded.estimate.restype = (
        (c_void_p, c_void_p, c_int32, c_void_p, c_void_p),
        None,
    )
    return loaded


class CpuEstimator:
    """The VelocityEstimator of a CPU, in float32. What runs once a window stays in torch."""

    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, estimator: Estimator) -> None:
        """Packs the weights of an iteration anew; those of `estimator` are not needed afterwards.

        Raises ValueError if the sizes are not such as flow.c has room for.
        """
        check_sizes(estimator.config)
        self.config = estimator.config
        self.reach = estimator.reach
        self._time = estimator.time
        self._window_merge = estimator.window_merge
        self._of_thread = threading.local()
        transformer = estimator.transformer
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        layers = [layer for layer in estimator.wavenet.layers if isinstance(layer, Layer)]
        self._pages = Pages()
        self._kept: list[Matrix | WideMatrix | Tensor] = []
        self._blocks = (_Block * len(blocks))(*(_Block(*self._matrices(block)) for block in blocks))
        gather, values, spread = minimal_filter(GROUP, TAPS)
        self._gated = (_GatedLayer * len(layers))(*(self._layer(layer, values) for layer in layers))
        tables = [
            self._table(t)
            for t in (estimator.unconditioned, transformer.cos, transformer.sin, spread, gather)
        ]
        channels = self.config.dit.hidden_dim
        self._net = _Estimator(
            ctypes.addressof(self._blocks),
            ctypes.addressof(self._gated),
            *(self._matrix(getattr(estimator, name)) for name in _PARTS),
            *tables,
            len(blocks),
            len(layers),
            self.config.dit.num_heads,
            channels,
            self.config.wavenet.hidden_dim,
            blocks[0].down.in_features,
            self.config.dit.in_channels,
            NORM_EPS,
            FINAL_NORM_EPS,
        )

    def schedule(self, iterations: int) -> Schedule:
        """As Estimator.schedule."""
        return self._time.schedule(iterations)

    def constant(self, prompt_mel: Tensor, mu: Tensor, style: Tensor) -> Tensor:
        """As Estimator.constant."""
        return merge_window(self._window_merge, prompt_mel, mu, style)

    def __call__(
        self,
        x: Tensor,
        constant: Tensor,
        modulation: Schedule,
        lengths: Tensor,
        kept: Tensor,
        kept_lengths: Tensor,
        *,
        guidance: float,
        ragged: bool,
    ) -> Tensor:
        """As Estimator.forward; frames of padding are zero in the result."""
        velocity = torch.zeros(len(x), kept.shape[1], x.shape[2])
        for row, (frames, first, count) in enumerate(
            zip(lengths.tolist(), kept[:, 0].tolist(), kept_lengths.tolist(), strict=True)
        ):
            inputs = [
                t[row].contiguous()
                for t in (
                    x,
                    constant,
                    modulation.norm_scale,
                    modulation.norm_shift,
                    modulation.condition,
                    modulation.final_scale,
                    modulation.final_shift,
                )
            ]
            assert all(t.dtype == torch.float32 for t in inputs)
            assert first + count == frames <= x.shape[1]
            segment = _Segment(*(t.data_ptr() for t in inputs), frames, first, guidance)
            threads, net = torch.get_num_threads(), ctypes.addressof(self._net)
            scratch = self._scratch(library().scratch_size(net, frames, threads))
            library().estimate(
                net, ctypes.addressof(segment), threads, scratch.data_ptr(), velocity[row].data_ptr()
            )
        return velocity

    def _scratch(self, floats: int) -> Tensor:
        """float32 [at least `floats`]: the calling thread's own, kept, for fresh pages cost time."""
        kept: Tensor | None = getattr(self._of_thread, "scratch", None)
        if kept is None or len(kept) < floats:
            kept = self._of_thread.scratch = large(floats, torch.float32)
        return kept

    def _matrices(self, block: Block) -> Iterable[WideStruct]:
        for layer in (block.qkv, block.out, block.gate_up, block.down):
            yield self._wide(layer.weight, layer.bias)
        if block.skip is not None:
            # Its inputs are two rows, each with a scale of its own.
            yield self._wide(block.skip.weight, block.skip.bias, 2)

    def _layer(self, layer: Layer, values: Tensor) -> _GatedLayer:
        """A layer of the WaveNet, its filter's values [POINTS, TAPS] at each point."""
        outputs, channels = layer.residual_skip.in_features * 2, layer.residual_skip.in_features
        taps = layer.conv.weight.detach().double().view(outputs, TAPS, channels)
        points = [self._wide(torch.einsum("t,ntc->nc", value, taps), None) for value in values]
        skip = layer.residual_skip
        return _GatedLayer(
            (WideStruct * POINTS)(*points),
            self._wide(skip.weight, skip.bias),
            self._table(layer.conv.bias),
        )

    def _matrix(self, layer: nn.Linear) -> MatrixStruct:
        packed = Matrix(layer.weight, layer.bias, weight_levels=WEIGHT_LEVELS, pages=self._pages)
        self._kept.append(packed)
        return packed.as_struct

    def _wide(self, weight: Tensor, bias: Tensor | None, parts: int = 0) -> WideStruct:
        parts = parts or -(-weight.shape[1] // LONGEST_SUM)
        packed = WideMatrix(weight, bias, self._pages, parts=parts)
        self._kept.append(packed)
        return packed.as_struct

    def _table(self, values: Tensor) -> int:
        table = values.detach().float().contiguous()
        self._kept.append(table)
        return table.data_ptr()


def check_sizes(config: S2MelConfig) -> None:
    """Raise ValueError if the sizes are not such as flow.c has room for."""
    dit, wavenet = config.dit, config.wavenet
    multiples = {
        dit.in_channels: COLUMNS,
        dit.hidden_dim // dit.num_heads: COLUMNS,
        dit.hidden_dim: 2 * COLUMNS,
        wavenet.hidden_dim: 2 * COLUMNS,
    }
    if wrong := [w for w, multiple in multiples.items() if w % multiple or w > MAX_CHANNELS]:
        raise ValueError(
            f"the kernels take widths of a multiple of {COLUMNS}, of layers of twice that, to {MAX_CHANNELS}, "
            f"not {wrong}"
        )
    if feed_forward_dim(dit.hidden_dim) > MAX_HIDDEN or dit.depth > MAX_DEPTH:
        raise ValueError(f"the kernels take no transformer of {dit.depth} layers of {dit.hidden_dim}")
    if wavenet.kernel_size != TAPS:
        raise ValueError(f"the kernels take convolutions of {TAPS} taps, not {wavenet.kernel_size}")
