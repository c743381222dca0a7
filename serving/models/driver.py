"""Speak without an engine: one step after another, everything that waits for a stage in one batch.

For tests, micro benchmarks and the porting of models. It knows base.py alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from serving.models.base import Bucket, Model, Stage
from serving.protocol import Segment, SpeechParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def speak(
    model: Model, requests: Sequence[tuple[SpeechParams, Segment]], *, urgent: bool = False
) -> list[list[NDArray[np.float32]]]:
    """Speak the segments together, each in its own slot. Returns each segment's chunks, in order.

    Needs as many slots as there are segments. Raises what the model's open() raises.
    """
    states = [
        model.open(_with_fields(model, params), segment, slot, urgent=urgent)
        for slot, (params, segment) in enumerate(requests)
    ]
    chunks: list[list[NDArray[np.float32]]] = [[] for _ in states]
    while any(state.stage for state in states):
        for name, stage in model.stages.items():
            waiting = [row for row, state in enumerate(states) if state.stage == name]
            while waiting:
                batch, waiting = take_batch(stage, states, waiting)
                for row, samples in zip(batch, step(stage, [states[row] for row in batch]), strict=True):
                    if samples is not None:
                        chunks[row].append(samples)
    for state in states:
        model.close(state)
    return chunks


def _with_fields(model: Model, params: SpeechParams) -> SpeechParams:
    """As the engine's loop does: the model's own fields as the struct that it reads."""
    fields = msgspec.convert(params.fields, model.spec.fields)
    return msgspec.structs.replace(params, fields=fields)


def take_batch(stage: Stage, states: Sequence[Any], waiting: list[int]) -> tuple[list[int], list[int]]:
    """Split the waiting rows into those of the next step, within the stage's limits, and the rest."""
    count, longest = 0, 0
    for row in waiting:
        longest = max(longest, states[row].length)
        if count and (count == stage.max_rows or (count + 1) * longest > stage.max_units):
            break
        count += 1
    return waiting[:count], waiting[count:]


@torch.inference_mode()
def step(
    stage: Stage, states: Sequence[Any], bucket: Bucket | None = None
) -> list[NDArray[np.float32] | None]:
    """One step of a stage over `states`, in the smallest shape that holds them unless a bucket is given."""
    if bucket is None:
        bucket = Bucket(len(states), max(state.length for state in states))
    outputs = stage.forward(*stage.collate(states, bucket))
    on_host = tuple(
        output.cpu() if index in stage.to_host else output for index, output in enumerate(outputs)
    )
    return stage.scatter(states, on_host)
