"""How many cores the engine believes that it has."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from serving.native import cores
from serving.native.cores import allowed_cores, usable_cores


def groups(folder: Path, own: str, files: dict[str, str]) -> float:
    for name, content in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    (folder / "own").write_text(own, encoding="utf-8")
    return allowed_cores(folder / "groups", folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "allowed"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "300000 100000"}, 3.0),
        # In a container: the host's path, which is not there, and the container's own limit at the root.
        ("0::/kubepods/pod1\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../..\n", {"cpu.max": "200000 100000"}, 2.0),
        ("3:cpuset:/\n1:cpu,cpuacct:/docker/x\n0::/\n",
         {"cpu/docker/x/cpu.cfs_quota_us": "50000", "cpu/docker/x/cpu.cfs_period_us": "100000"}, 0.5),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("0::/\n", {"cpu.max": "what is this"}, math.inf),
    ],
)  # fmt: skip
def test_control_groups_limit_the_cores(
    tmp_path: Path, own: str, files: dict[str, str], allowed: float
) -> None:
    assert groups(tmp_path, own, files) == allowed


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path, tmp_path / "nothing") == math.inf


def test_the_affinity_limits_the_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("allowed", "cores_given"), [(math.inf, 8), (1.5, 2), (0.2, 1), (99.0, 8)])
def test_a_quota_is_rounded_up(monkeypatch: pytest.MonkeyPatch, allowed: float, cores_given: int) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores_given
