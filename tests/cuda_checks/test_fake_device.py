"""Every stage on a CUDA device that is not here: nothing a capture would refuse, no more kernels and bytes than before.

python -m tests.cuda_checks.ratchet     # writes ratchet.json anew, where a step has become cheaper
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from serving.models.base import Bucket
from tests.cuda_checks.ratchet import STEPS, load, measure_steps
from tests.cuda_checks.trace import DEVICE, Watch, fake_device, model_of, watch

pytestmark = pytest.mark.slow

PROFILES = {
    "indextts2-throughput": (),
    "indextts2-low-latency": (),
    "indextts2-throughput, official positions": ("model.options.positions=official",),
    "cuda-graph": (),
}


@pytest.mark.parametrize("name", PROFILES)
def test_no_stage_does_what_a_capture_refuses(name: str) -> None:
    """At its smallest and its largest shape."""
    found: dict[str, list[str]] = {}
    with fake_device():
        model = model_of(name.partition(",")[0], *PROFILES[name])
        stages = [stage for stage in model.stages.values() if stage.buckets]
        assert len(stages) >= 3
        for stage in stages:
            for bucket in (stage.buckets[0], stage.buckets[-1]):
                seen = watch(stage, bucket)
                assert seen.kernels > 3
                if seen.faults:
                    found[f"{stage.name} {bucket.rows}x{bucket.length}"] = seen.faults
    assert not found


def test_plain_torch_runs_no_kernel_of_ours() -> None:
    """What takes the place of a kernel that fails its check must itself be fit for a capture."""
    with fake_device():
        model = model_of("indextts2-throughput", "model.options.fused=[]")
        for name in ("decode", "flow", "vocode"):
            seen = watch(model.stages[name], model.stages[name].buckets[0])
            assert seen.faults == []
            assert not [operation for operation in seen.names if hasattr(torch.ops.indextts2, operation)]
    assert getattr(model, "kernels", "") == "torch"


def test_a_host_copy_and_a_wait_are_seen() -> None:
    """The first capture of an earlier prefill died of these."""

    class Faulty:
        name = "faulty"
        next_stages: tuple[str, ...] = ()
        max_rows = max_units = 1
        buckets: tuple[Bucket, ...] = (Bucket(1, 1),)
        to_host: tuple[int, ...] = ()
        lookahead = False

        def collate(self, states: object, bucket: Bucket) -> tuple[torch.Tensor, ...]:
            return (torch.zeros(4, dtype=torch.int64),)

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            seen = torch.zeros(4, 4, dtype=torch.bool, device=DEVICE)
            seen[inputs[0], inputs[0]] = True
            return (seen[: int(inputs[0].sum())],)

        def scatter(self, states: object, outputs: tuple[torch.Tensor, ...]) -> list[Any]:
            return []

    with fake_device():
        faults = watch(Faulty(), Bucket(1, 1)).faults
    assert any("of the CPU" in fault for fault in faults)
    assert any("wait" in fault or "DataDependent" in fault for fault in faults)


def test_a_fill_is_no_copy() -> None:
    with fake_device():
        values = torch.zeros(4, 4, device=DEVICE)
        with Watch() as looking:
            values[:, 1] = 1.0
    assert looking.seen.faults == []
    assert looking.seen.kernels == 1


def test_steps_cost_no_more_than_the_ratchet_says() -> None:
    ratchet, now = load()["steps"], measure_steps()
    assert ratchet.keys() == set(STEPS) == now.keys()
    worse = {
        f"{step}, {what}": (ratchet[step][what], value)
        for step, cost in now.items()
        for what, value in cost.items()
        if value > ratchet[step][what]
    }
    assert not worse, "(before, now)"
