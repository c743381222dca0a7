"""A linear layer whose weights may be stored narrower than its activations.

Decoding on a CPU is bound by reading weights. CPUs without bfloat16 arithmetic gain nothing from torch's
bfloat16 products, so there the weights alone are narrow: store_narrow() keeps them in bfloat16, and few rows
of float32 go through a kernel of our own (narrow_linear.cpp) that reads each weight once for four rows and
sums in float32. More rows are bound by arithmetic, and widen the weights first.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL_MAX_ROWS = 16
"""Rows up to which the kernel serves."""


class Linear(nn.Linear):
    """y = x W' + b, in the dtype of x. Weights stored in another dtype are widened to it."""

    def forward(self, x: Tensor) -> Tensor:
        """x [.., K] to [.., N]."""
        if self.weight.dtype == x.dtype:
            return F.linear(x, self.weight, self.bias)
        rows = x.numel() // x.shape[-1]
        if x.is_cpu and rows <= KERNEL_MAX_ROWS and x.shape[-1] % 8 == 0:
            y: Tensor = narrow_linear(x.reshape(rows, -1), self.weight, self.bias)
            return y.view(*x.shape[:-1], -1)
        return F.linear(x, self.weight.to(x.dtype), self.bias)


def store_narrow(module: nn.Module) -> None:
    """Store the weight of every Linear in `module` as bfloat16; biases and activations stay as they are."""
    for layer in module.modules():
        if isinstance(layer, Linear):
            layer.weight.data = layer.weight.data.bfloat16()


@torch.library.custom_op("indextts2::narrow_linear", mutates_args=())
def narrow_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x float32 [R, K] times weight bfloat16 [N, K] transposed, plus bias float32 [N]; K a multiple of 8.

    The first call compiles the kernel with the machine's C++ compiler and ninja, about a minute, and keeps
    the result in torch's extension folder. Raises RuntimeError if it does not compile.
    """
    y: Tensor = _extension().narrow_linear(x.contiguous(), weight, bias)
    return y


@narrow_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@functools.cache
def _extension() -> Any:
    from torch.utils.cpp_extension import load

    # -fopenmp at compile time only: the symbols then come from the OpenMP runtime that torch itself loads.
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp"]
    source = Path(__file__).with_name("narrow_linear.cpp")
    load("indextts2_cpu", [str(source)], extra_cflags=flags, is_python_module=False)
    return torch.ops.indextts2_cpu
