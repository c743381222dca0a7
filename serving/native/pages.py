"""Memory in large pages where the system has them: what is read from end to end then crosses few of them."""

from __future__ import annotations

import contextlib
import mmap

import torch
from torch import Tensor

LARGE_BYTES = 2**21
REGION_BYTES = 2**25
ALIGNMENT = 64


class Pages:
    """Regions of large pages that tensors are put into, one after the other; a region lives as long as any of them."""

    def __init__(self) -> None:
        self._free = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """uint8 [size], zero, at a multiple of ALIGNMENT bytes."""
        room = -(-size // ALIGNMENT) * ALIGNMENT
        if room > len(self._free):
            self._free = _region(max(room, REGION_BYTES))
        place, self._free = self._free[:size], self._free[room:]
        return place

    def keep(self, values: Tensor) -> Tensor:
        """A contiguous copy of `values`."""
        return self.take(values.nbytes).view(values.dtype).view(values.shape).copy_(values)


def large(count: int, dtype: torch.dtype) -> Tensor:
    """[count], zero, in pages of its own: for memory that is given back."""
    return _region(max(1, count * dtype.itemsize)).view(dtype)[:count]


def _region(size: int) -> Tensor:
    size = -(-size // LARGE_BYTES) * LARGE_BYTES
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(size, dtype=torch.uint8)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them; they only make it quicker
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)
