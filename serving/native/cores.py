"""How many cores this process was given: fewer than the machine has, where somebody shares it out."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may use, one at least.

    Its affinity tells (taskset, docker --cpuset-cpus, AllowedCPUs) and, rounded up, the time that its control groups
    allow (docker --cpus, a pod's limit, CPUQuota).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(allowed_cores(), cores))))


def allowed_cores(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> float:
    """CPU seconds a second that this process' control groups allow, of either version; infinite if none limits it."""
    return min(map(_limit, control_groups("cpu", groups, own)), default=math.inf)


def control_groups(controller: str, groups: Path = GROUPS, own: Path = OWN_GROUPS) -> list[Path]:
    """The folders of this process' groups that limit what `controller` shares out, each with all above it.

    Some may not be there: within a container the path may be the host's, and what limits it lies at the root.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = groups / controller if controllers else groups
        folder = root.joinpath(*(part for part in Path(path).parts[1:] if part != ".."))
        folders += [folder, *(above for above in folder.parents if above.is_relative_to(root))]
    return folders


def _limit(folder: Path) -> float:
    """Of one group; infinite if it has none, or is none."""
    with contextlib.suppress(OSError, ValueError):
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period")
            )
        if quota != "max" and int(quota) > 0:
            return int(quota) / int(period)
    return math.inf
