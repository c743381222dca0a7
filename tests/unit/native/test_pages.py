"""Memory in large pages: what is put there stays, apart from its neighbours."""

from __future__ import annotations

import errno
import mmap

import pytest
import torch

from serving.native.pages import ALIGNMENT, REGION_BYTES, Pages, large


def test_values_are_kept_apart_and_aligned() -> None:
    pages = Pages()
    values = [
        torch.arange(n, dtype=dtype) for n, dtype in ((3, torch.int16), (70, torch.float32), (9, torch.int8))
    ]
    kept = [pages.keep(value) for value in values]
    for one, value in zip(kept, values, strict=True):
        assert torch.equal(one, value)
        assert one.data_ptr() % ALIGNMENT == 0
    kept[0].fill_(7)
    assert torch.equal(kept[1], values[1])


def test_a_region_that_is_full_is_followed_by_another() -> None:
    pages = Pages()
    first, second = pages.take(REGION_BYTES - ALIGNMENT), pages.take(2 * REGION_BYTES + 1)
    third = pages.take(ALIGNMENT)
    assert [len(place) for place in (first, second, third)] == [
        REGION_BYTES - ALIGNMENT,
        2 * REGION_BYTES + 1,
        ALIGNMENT,
    ]
    first.fill_(1), second.fill_(2), third.fill_(3)
    assert (int(first.max()), int(second.min()), int(third.min())) == (1, 2, 3)


def test_a_tensor_of_its_own_is_zero() -> None:
    assert torch.equal(large(5, torch.float32), torch.zeros(5))
    assert len(large(0, torch.int64)) == 0


def test_a_kernel_without_large_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Small)
    assert torch.equal(large(5, torch.float32), torch.zeros(5))
