"""A second core for a step that is alone: the engine says so by the count of torch's threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def has_second_core() -> bool:
    """Whether the step of this thread may use one."""
    return torch.get_num_threads() > 1


def begin_aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Begin a part of a step on the second core. What is begun later runs after it."""

    def run() -> T:
        with torch.inference_mode():  # a thread's own
            return work(*args, **kwargs)

    return _thread().submit(run)


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "aside")
