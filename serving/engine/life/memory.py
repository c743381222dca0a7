"""How much memory this process may still take: less than the machine has free, where its control groups say so."""

from __future__ import annotations

import contextlib
from pathlib import Path

from serving.native.cores import GROUPS, OWN_GROUPS, control_groups

MEMINFO = Path("/proc/meminfo")
FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use, and what of the use the kernel gives back when it is asked, of version 2 and 1."""


def free_bytes(meminfo: Path = MEMINFO, groups: Path = GROUPS, own: Path = OWN_GROUPS) -> int | None:
    """The least that the machine and each of this process' control groups have left; None if nothing says."""
    free = [_of_group(folder) for folder in control_groups("memory", groups, own)]
    with contextlib.suppress(OSError, ValueError):
        for line in meminfo.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
    return min((found for found in free if found is not None), default=None)


def _of_group(folder: Path) -> int | None:
    """Of one group; None if it has no limit, or is none."""
    for limit, used, cached in FILES:
        with contextlib.suppress(OSError, ValueError):
            most = int((folder / limit).read_text(encoding="utf-8"))  # "max" is no number: no limit
            lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
            spare = sum(int(line.split()[1]) for line in lines if line.startswith(f"{cached} "))
            return max(0, most - int((folder / used).read_text(encoding="utf-8")) + spare)
    return None
