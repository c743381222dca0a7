"""A report names the CPU so that two that share a name can be told apart."""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine import machine


def test_the_cpu_is_named_with_what_decides_its_speed() -> None:
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    made = machine()
    for name in ("cpu family", "model"):
        found = re.search(rf"^{name}\s*: (\d+)$", cpuinfo, re.MULTILINE)
        assert found is None or re.search(rf"{name.split()[-1]} {found[1]}\b", made["cpu"])
    for name in ("avx2", "avx512_vnni", "i8mm"):
        assert (name in made["instructions"]) == (f" {name} " in cpuinfo.replace("\n", " "))
