"""A CUDA device on the CPU: streams and events that do nothing, and graphs that replay what they recorded.

The real runner warms, captures, launches and finishes with it. A graph holds the operations of a forward with the
tensors that they took and made; a replay runs the operations again on these same tensors and writes what they make
where it was before, as on the device. Python code does not run again, so what a forward decides on the host is frozen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda_checks.trace import _tensors


class StandInGraph:
    """torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.stream: object = None
        self.pool: object = None

    def replay(self) -> None:
        assert torch.cuda.current_stream() is self.stream, "what a library keeps for a stream is in the graph"
        for func, args, kwargs, made in self.recorded:
            again = _tensors(func(*args, **kwargs))
            given = {value.untyped_storage().data_ptr() for value in (*_tensors(args), *_tensors(kwargs))}
            for old, new in zip(_tensors(made), again, strict=True):
                if old.untyped_storage().data_ptr() not in given:
                    old.copy_(new)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch.cuda.graph: what runs inside is recorded."""

    def __init__(self, graph: StandInGraph, pool: object = None, stream: object = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph
        graph.stream, graph.pool = stream, pool

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self._graph.recorded.append((func, args, kwargs or {}, made))
        return made


class StandInEvent:
    """torch.cuda.Event: all work is done when it is recorded."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self._moment_s = 0.0

    def record(self) -> None:
        self._moment_s = time.perf_counter()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        """Nothing is under way."""

    def elapsed_time(self, end: StandInEvent) -> float:
        return 1e3 * (end._moment_s - self._moment_s)


class StandInStream:
    """torch.cuda.Stream."""

    def __init__(self, *_: object) -> None:
        pass

    def wait_stream(self, other: StandInStream) -> None:
        """There is one order of work alone."""


class Current(threading.local):
    """The stream that a thread works on."""

    def __init__(self) -> None:
        self.stream = StandInStream()

    @contextlib.contextmanager
    def on(self, stream: StandInStream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        yield
        self.stream = before


class OnTheCpu(TorchFunctionMode):
    """What is meant for a CUDA device lies on the CPU; pinned memory is memory."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.pin_memory:
            return args[0]
        kwargs = {name: _moved(value) for name, value in (kwargs or {}).items() if name != "pin_memory"}
        return func(*map(_moved, args), **kwargs)


def _moved(value: Any) -> Any:
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == "cuda" else value


@contextlib.contextmanager
def stand_in_cuda() -> Iterator[None]:
    """torch.cuda is the stand-in inside."""
    current = Current()
    with contextlib.ExitStack() as stack:
        for name, value in {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "set_device": lambda _: None,
            "get_device_name": lambda _=None: "stand-in",
            "synchronize": lambda _=None: None,
            "graph_pool_handle": object,
            "current_stream": lambda _=None: current.stream,
            "stream": current.on,
            "Stream": StandInStream,
            "Event": StandInEvent,
            "CUDAGraph": StandInGraph,
            "graph": Recording,
        }.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(OnTheCpu())
        yield
