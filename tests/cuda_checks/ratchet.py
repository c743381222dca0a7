"""The committed costs of steps and of Triton kernels: lower is written anew, higher fails the checks.

python -m tests.cuda_checks.ratchet
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving.models.base import Bucket
from tests.cuda_checks.ahead import measure_kernels
from tests.cuda_checks.trace import fake_device, model_of, watch

FILE = Path(__file__).with_name("ratchet.json")

STEPS: dict[str, tuple[str, str, Bucket]] = {
    "decode 1 row": ("indextts2-throughput", "decode", Bucket(1, 1)),
    "decode 32 rows": ("indextts2-throughput", "decode", Bucket(32, 1)),
    "decode 64 rows": ("indextts2-throughput", "decode", Bucket(64, 1)),
    "prefill 1 x 32": ("indextts2-throughput", "prefill", Bucket(1, 32)),
    "prefill 32 x 32": ("indextts2-throughput", "prefill", Bucket(32, 32)),
    "prepare 1 x 527": ("indextts2-throughput", "prepare", Bucket(1, 527)),
    "flow 1 x 220": ("indextts2-low-latency", "flow", Bucket(1, 220)),
    "flow 16 x 220": ("indextts2-low-latency", "flow", Bucket(16, 220)),
    "flow 32 x 943": ("indextts2-throughput", "flow", Bucket(32, 943)),
    "vocode 1 x 96": ("indextts2-throughput", "vocode", Bucket(1, 96)),
    "vocode 32 x 594": ("indextts2-throughput", "vocode", Bucket(32, 594)),
}
"""Step to its profile, stage and shape: those of the modelled table in docs/decisions/judged-without-a-gpu.md."""


def load() -> dict[str, Any]:
    """The committed table."""
    table: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return table


def measure_steps() -> dict[str, dict[str, float]]:
    """Kernels and megabytes of each step, from a trace without values."""
    costs: dict[str, dict[str, float]] = {}
    with fake_device():
        models = {name: model_of(name) for name in {profile for profile, _, _ in STEPS.values()}}
        for step, (profile, stage, bucket) in STEPS.items():
            seen = watch(models[profile].stages[stage], bucket)
            if seen.faults:
                raise RuntimeError(f"{step}: {seen.faults}")
            costs[step] = {"kernels": seen.kernels, "megabytes": round(seen.bytes / 1e6, 1)}
    return costs


def main() -> None:
    """Write the table as it is now, and print what changed."""
    before = load() if FILE.exists() else {}
    now: dict[str, Any] = {"steps": measure_steps(), "kernels": measure_kernels()}
    for group, costs in now.items():
        for name, cost in costs.items():
            if (old := before.get(group, {}).get(name)) != cost:
                print(f"{name}: {old} -> {cost}")
    FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
