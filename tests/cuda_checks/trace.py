"""A model of official size on a CUDA device that is not here: its steps run on tensors without values.

Every operation that a stage's forward would launch is seen, with its shapes and devices, so what a capture would
refuse and what a step would read and write are known without a GPU.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from serving.models import load_model
from serving.models.base import Bucket, Model, Stage
from serving.models.indextts2 import backend
from serving.models.indextts2 import model as indextts2
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.weights.checkpoint import COMPONENTS, NoInitialWeights
from serving.profile import load_profile

DEVICE = torch.device("cuda", 0)
LIVE_CELLS = 300
"""Live cells of each row of a decode step: a sentence of some five seconds."""

FREE = frozenset(
    """view _unsafe_view reshape transpose permute t expand unsqueeze squeeze select slice split split_with_sizes
    unbind unfold alias detach as_strided lift_fresh empty empty_strided empty_like new_empty scalar_tensor
    view_as_real view_as_complex device sym_size""".split()  # noqa: SIM905
)
"""Operations that launch nothing."""
LAUNCHES = {"topk": 2, "cumsum": 2, "sort": 2}
"""Kernels of the operations that are more than one."""
LOOK_UPS = frozenset(["index", "gather", "embedding", "index_select"])
"""They read as much as they give, not the whole table."""
FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "item", "unique")
"""Operations that make the host wait, or whose shape is not known before they ran."""


class Shapes:
    """serving.models.indextts2.weights.checkpoint.Weights of the official shapes, without values."""

    config = IndexTts2Config.official()

    def load(self, component: str, device: torch.device) -> Any:
        with NoInitialWeights(), torch.device(device):
            network = COMPONENTS[component](self.config)
        return network.eval()


def _apply(module: nn.Module, change: Any, recurse: bool = True) -> nn.Module:
    """nn.Module._apply for tensors without values, which the real one cannot swap."""
    for child in module.children():
        _apply(child, change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(change(parameter.data), requires_grad=False)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = change(buffer)
    return module


@torch.library.custom_op("cuda_checks::attention", mutates_args=())
def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    raise NotImplementedError


@_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


def _one_attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *, is_causal: bool = False
) -> Tensor:
    """One kernel, as on the device: where CUDA is not built in, torch would take attention apart."""
    y: Tensor = _attention(q, k, v, attn_mask)
    return y


@torch.library.custom_op("cuda_checks::convolution", mutates_args=())
def _convolution(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    raise NotImplementedError


@_convolution.register_fake
def _(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    size = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    last = any(value.is_contiguous(memory_format=torch.channels_last) for value in (x, weight))
    memory_format = torch.channels_last if last else torch.contiguous_format
    return torch.empty(
        x.shape[0], len(weight), *size, dtype=x.dtype, device=x.device, memory_format=memory_format
    )


def _one_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """One kernel whatever its groups, channels last if its input or filter is, as by cuDNN; and one more for a bias."""
    y: Tensor = _convolution(
        x, weight, *([one] * 2 if isinstance(one, int) else list(one) for one in (stride, padding, dilation))
    )
    return y if bias is None else y + bias[:, None, None]


@contextlib.contextmanager
def fake_device() -> Iterator[None]:
    """Tensors made here have no values, and may lie on cuda:0."""
    with (
        FakeTensorMode(),
        torch.no_grad(),
        mock.patch.object(nn.Module, "_apply", _apply),
        mock.patch.object(F, "scaled_dot_product_attention", _one_attention),
        mock.patch.object(F, "conv2d", _one_convolution),
        mock.patch.object(indextts2, "open_weights", return_value=Shapes()),
    ):
        yield


def model_of(profile_name: str, *overrides: str) -> Model:
    """The model of a CUDA profile, at its official shapes; call it and use it inside fake_device()."""
    shapes = (
        ["model.options.weights=random", "model.options.preload=none"] if "indextts2" in profile_name else []
    )
    profile = load_profile(profile_name, [*shapes, *overrides])
    # Values are what the check at the start compares, and there are none.
    with mock.patch.object(backend, "sound_parts", lambda parts, subjects: parts):
        return load_model(profile, DEVICE, getattr(torch, profile.engine.dtype))


@dataclass(slots=True)
class Seen:
    """What a step did."""

    kernels: int = 0
    bytes: int = 0
    names: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is launched, the bytes that it reads and writes, and what a capture would refuse."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = Seen()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func)
        self._look(name, [*_tensors(args), *_tensors(kwargs)], _tensors(result))
        return result

    def _look(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        seen = self.seen
        if name.startswith(FORBIDDEN):
            seen.faults.append(f"{name} makes the host wait")
        if name in FREE:
            return
        if not name.startswith("fill") and any(value.device.type == "cpu" for value in (*given, *made)):
            seen.faults.append(f"{name} takes or makes a tensor of the CPU: {[list(t.shape) for t in given]}")
        seen.names[name] += 1
        seen.kernels += LAUNCHES.get(name, 1)
        seen.bytes += _bytes(name, given, made)


def _bytes(name: str, given: Sequence[Tensor], made: Sequence[Tensor]) -> int:
    if name in ("decode_attention", "attend_and_write"):
        q, keys, _, slots = given[:4]
        cells = 2 * len(slots) * LIVE_CELLS * keys.shape[1] * keys.shape[3] * keys.element_size()
        return cells + _size(q) + sum(map(_size, made))
    if name == "embed":
        return 3 * sum(map(_size, made))
    if name in LOOK_UPS:
        return sum(map(_size, given[1:])) + 2 * sum(map(_size, made))
    if name.startswith("index_put"):
        return sum(map(_size, given[1:])) + _size(given[-1])
    written = made or given[:1]
    return sum(map(_size, given)) + sum(map(_size, written))


def _size(value: Tensor) -> int:
    """Bytes of a tensor; what is expanded is read once."""
    elements = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        elements *= size if stride else 1
    return min(elements * value.element_size(), value.untyped_storage().nbytes())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in _tensors(item)]


def watch(stage: Stage, bucket: Bucket) -> Seen:
    """A step of a stage with inert rows alone, inside fake_device(). An exception is a fault."""
    inputs = tuple(value.to(DEVICE) for value in stage.collate([], bucket))
    looking = Watch()
    with looking:
        try:
            stage.forward(*inputs)
        except Exception as error:
            looking.seen.faults.append(f"{type(error).__name__}: {error}")
    return looking.seen
