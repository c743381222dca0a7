"""What a figure depends on besides the program: machine, versions, commit. No host name and no path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "torch", "numpy", "litestar", "granian", "uvicorn", "uvloop", "httptools", "fastapi", "hibari-tts",
    "onnxruntime", "scipy", "msgspec", "pyzmq", "faster-whisper", "ctranslate2", "locust",
)  # fmt: skip
_INSTRUCTIONS = (
    "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm",
)  # fmt: skip
"""Instruction sets that decide how fast matrices are multiplied, as Linux names them."""


def machine() -> dict[str, Any]:
    """CPU model, its instruction sets, usable cores, memory, kernel, Python, GPUs and the versions of what matters."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "instructions": _instructions(),
        "cores": usable,
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gpus": _gpus(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def commit() -> tuple[str | None, bool]:
    """The checked-out commit and whether tracked files differ from it; (None, False) outside a checkout."""
    head = _output("git", "rev-parse", "HEAD")
    return head, bool(head and _output("git", "status", "--porcelain", "--untracked-files=no"))


def cpu_s() -> tuple[float, float]:
    """Busy and total CPU seconds of all cores since boot. Time that the hypervisor took counts as busy."""
    # Imported late: the GPU bench needs machine() alone, where there may be little else than torch.
    import psutil

    times = psutil.cpu_times()
    total = sum(times)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """The name that the CPU gives itself; family and model tell generations apart that share a name."""
    lines = _cpu_lines()
    name = lines.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in lines and "model" in lines:
        return f"{name} (family {lines['cpu family']}, model {lines['model']})"
    return name


def _instructions() -> list[str]:
    lines = _cpu_lines()
    told = (lines.get("flags") or lines.get("Features", "")).split()  # of x86, of ARM
    return [name for name in _INSTRUCTIONS if name in told]


def _cpu_lines() -> dict[str, str]:
    """What Linux says of the first CPU."""
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpus() -> list[str]:
    names = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return names.splitlines() if names else []


def _output(*command: str) -> str | None:
    """Standard output of a program; None if it is missing or fails, or says nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
