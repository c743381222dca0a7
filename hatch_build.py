"""A step of the wheel's build: with TTS_WHEEL_KERNELS=1 the CPU kernels are compiled into it, in every tier.

Without the variable the wheel is pure Python, and the kernels are compiled where it runs.
"""

from __future__ import annotations

import atexit
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_GLIBC = 17
"""Minor version that the oldest tag of today's pip names."""


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling (pyproject.toml, tool.hatch.build.targets.wheel.hooks.custom)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the platform in the wheel's tag. Raises NativeError if a kernel does not compile."""
        if version == "editable" or os.environ.get("TTS_WHEEL_KERNELS") != "1":
            return
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)  # after the wheel is written
        built = build_kernels(Path(self.root), Path(folder.name))
        build_data["force_include"] |= {str(path): f"serving/native/built/{path.name}" for path in built}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(built)}"


def build_kernels(root: Path, folder: Path) -> list[Path]:
    """Every source in every tier; with threads and without where it knows both."""
    sys.path.insert(0, str(root))
    from serving.native.build import FLAGS, OPENMP, built_name, compile_to, find_compiler
    from serving.native.tiers import TIER_FLAGS, TIERS, X86

    compiler = find_compiler()
    built: list[Path] = []
    for source in sorted((root / "serving").rglob("*.c")):
        alone = source.name == "cpu.c"  # it is what finds the tier
        threads = ([], [OPENMP]) if "_OPENMP" in source.read_text(encoding="utf-8") else ([],)
        for tier in TIERS[:1] if alone or not X86 else TIERS:
            for extra in threads:
                flags = [*FLAGS, *TIER_FLAGS[tier], *extra]
                built.append(folder / built_name(source, flags))
                compile_to(built[-1], source, [*compiler, *flags])
    return built


def platform_tag(libraries: list[Path]) -> str:
    """The newest version of the C library that one of them asks for, and the machine."""
    if platform.system() != "Linux":
        raise RuntimeError(f"kernels are not brought to {platform.system()}: build without TTS_WHEEL_KERNELS")
    asked = [int(minor) for path in libraries for minor in re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes())]
    return f"manylinux_2_{max(OLDEST_GLIBC, *asked)}_{platform.machine()}"
