"""CUDA graphs of stages: one graph per bucket, captured once, replayed with new inputs copied in.

A replay launches every kernel of a forward by one call, where eager code pays the launch of each. The price
is fixed shapes and addresses: hence buckets, static input buffers and inert rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from serving.models.base import Bucket

Forward = Callable[..., tuple[torch.Tensor, ...]]

WARM_UP_RUNS = 3
"""Runs before a capture: they load kernels and settle autotuning, which a capture must not hold."""


class BucketMiss(RuntimeError):
    """No captured shape holds a step."""


def pick_bucket(buckets: Sequence[Bucket], rows: int, length: int) -> Bucket | None:
    """The bucket of fewest units that holds `rows` rows of `length` units; None if none does."""
    fitting = [bucket for bucket in buckets if bucket.rows >= rows and bucket.length >= length]
    return min(fitting, key=lambda bucket: (bucket.units, bucket.rows), default=None)


def copy_in(buffers: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]) -> None:
    """Overwrite static buffers with a step's inputs. Raises ValueError if a shape or dtype differs.

    A plain copy_ would broadcast or cast, and the graph would speak nonsense without an error.
    """
    if len(buffers) != len(inputs):
        raise ValueError(f"{len(inputs)} inputs for {len(buffers)} buffers")
    for number, (buffer, value) in enumerate(zip(buffers, inputs, strict=True)):
        if buffer.shape != value.shape or buffer.dtype != value.dtype:
            raise ValueError(
                f"input {number} is {value.dtype} {list(value.shape)}, "
                f"captured as {buffer.dtype} {list(buffer.shape)}"
            )
        buffer.copy_(value, non_blocking=True)


@dataclass(slots=True)
class Captured:
    """A graph with the buffers it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]


class StageGraphs:
    """The captured buckets of one stage. The stages of a lane share one memory pool."""

    def __init__(self, stage: str, forward: Forward, device: torch.device) -> None:
        self._stage = stage
        self._forward = forward
        self._device = device
        self._captured: dict[Bucket, Captured] = {}
        self.replays = 0

    def capture(
        self, bucket: Bucket, inputs: Sequence[torch.Tensor], pool: Any, stream: torch.cuda.Stream
    ) -> None:
        """Capture forward at one bucket, on the stream of its stage: what libraries keep for a stream is then its own.

        Largest first: the smaller ones then fit into its memory.
        """
        with torch.cuda.stream(stream):
            buffers = tuple(value.to(self._device, copy=True) for value in inputs)
            for _ in range(WARM_UP_RUNS):
                self._forward(*buffers)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            outputs = self._forward(*buffers)
        self._captured[bucket] = Captured(graph, buffers, outputs)

    def run(self, bucket: Bucket, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Replay a bucket. The outputs are the graph's own buffers: the next replay overwrites them.

        Raises BucketMiss if the bucket was not captured.
        """
        captured = self._captured.get(bucket)
        if captured is None:
            raise BucketMiss(f"stage {self._stage}: {bucket} was not captured")
        copy_in(captured.inputs, inputs)
        captured.graph.replay()
        self.replays += 1
        return captured.outputs
