"""Every forward is one graph to torch.compile: nothing in it breaks the trace or returns to Python."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch

from serving.models.indextts2.codes import gpt
from serving.profile import EngineProfile
from tests.unit.indextts2.support import make, plain_attention

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
]


@pytest.mark.parametrize("positions", ["aligned", "official"])
def test_each_forward_is_one_graph(positions: str) -> None:
    settings: dict[str, Any] = {"threads": 1, "workers": 1, "max_slots": 2, "max_step_units": 512}
    # Static shapes, as a compiling or capturing profile has them.
    engine = EngineProfile(device="cpu", compile=True, **settings)
    _, model = make(engine, positions=positions, kernels="torch")
    stages = [stage for stage in model.stages.values() if stage.buckets]
    assert len(stages) == (6 if positions == "official" else 5)
    with torch.inference_mode(), mock.patch.object(gpt, "decode_attention", plain_attention):
        for stage in stages:
            torch._dynamo.reset()
            bucket = stage.buckets[0]
            inputs = stage.collate([], bucket)
            eager = stage.forward(*inputs)
            traced = torch.compile(stage.forward, fullgraph=True, backend="eager")(*stage.collate([], bucket))
            assert [value.shape for value in traced] == [value.shape for value in eager]
