"""A report names the CPU so that two that share a name can be told apart."""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine import machine, machine_name


def test_the_cpu_is_named_with_what_decides_its_speed() -> None:
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    made = machine()
    for name, key in (("cpu family", "cpu_family"), ("model", "cpu_model"), ("stepping", "cpu_stepping")):
        found = re.search(rf"^{name}\s*: (\d+)$", cpuinfo, re.MULTILINE)
        assert found is None or made[key] == int(found[1])
    for name in ("avx2", "avx512_vnni", "i8mm"):
        assert (name in made["instruction_sets"]) == (f" {name} " in cpuinfo.replace("\n", " "))
        assert (name in made["instruction_sets"]) == (name in machine_name(made))
