"""Bucket choice and static buffers: all of the graph path but the capture, which needs CUDA."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.graphs import BucketMiss, StageGraphs, copy_in, pick_bucket
from serving.models.base import Bucket

BUCKETS = (Bucket(1, 8), Bucket(2, 8), Bucket(1, 32), Bucket(4, 8), Bucket(4, 32))


def test_the_smallest_bucket_that_fits() -> None:
    assert pick_bucket(BUCKETS, rows=1, length=8) == Bucket(1, 8)
    assert pick_bucket(BUCKETS, rows=1, length=9) == Bucket(1, 32), "of equal units, the one with fewer rows"
    assert pick_bucket(BUCKETS, rows=3, length=3) == Bucket(4, 8)
    assert pick_bucket(BUCKETS, rows=2, length=20) == Bucket(4, 32)
    assert pick_bucket(BUCKETS, rows=5, length=1) is None
    assert pick_bucket(BUCKETS, rows=1, length=33) is None


@given(
    st.lists(st.builds(Bucket, st.integers(1, 9), st.integers(1, 50))), st.integers(1, 9), st.integers(1, 50)
)
def test_pick_is_right_for_any_buckets(buckets: list[Bucket], rows: int, length: int) -> None:
    fitting = [b for b in buckets if b.rows >= rows and b.length >= length]
    picked = pick_bucket(buckets, rows, length)
    assert (picked is None) == (not fitting)
    assert picked is None or (picked in fitting and picked.units == min(b.units for b in fitting))


def test_copy_in_overwrites_in_place() -> None:
    buffers = (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    addresses = [buffer.data_ptr() for buffer in buffers]
    copy_in(buffers, (torch.full((2, 3), 5.0), torch.tensor([1, 2])))
    assert buffers[0].tolist() == [[5.0] * 3] * 2
    assert buffers[1].tolist() == [1, 2]
    assert [buffer.data_ptr() for buffer in buffers] == addresses


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((torch.zeros(1, 3),), "input 0 is torch.float32 \\[1, 3\\], captured as torch.float32 \\[2, 3\\]"),
        ((torch.zeros(2, 3, dtype=torch.float64),), "input 0 is torch.float64"),
        ((torch.zeros(2, 3), torch.zeros(1)), "2 inputs for 1 buffers"),
    ],
)
def test_copy_in_refuses_to_broadcast_or_cast(inputs: tuple[torch.Tensor, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        copy_in((torch.zeros(2, 3),), inputs)


def test_a_shape_that_was_not_captured_is_an_error() -> None:
    graphs = StageGraphs("decode", lambda *inputs: inputs, torch.device("cpu"))
    with pytest.raises(BucketMiss, match="stage decode"):
        graphs.run(Bucket(1, 8), ())
    assert graphs.replays == 0
