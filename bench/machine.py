"""What a figure depends on besides the program: machine, versions, commit. No host name and no path."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from serving.native.cores import usable_cores

INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "sve",
)
"""Flags of /proc/cpuinfo that decide how fast a speech model runs on a CPU."""

FAMILY_MARK = "TTS_BENCH_SERVER"
"""The environment variable that every process of a server under test inherits, with a value of its own."""

_PACKAGES = (
    "torch", "numpy", "litestar", "granian", "uvicorn", "uvloop", "httptools", "fastapi", "hibari-tts",
    "onnxruntime", "scipy", "msgspec", "pyzmq", "faster-whisper", "ctranslate2", "locust",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """CPU (name, family, model, stepping, instruction sets), usable cores, memory, kernel, Python, GPUs, versions."""
    return {
        **_cpu(),
        "cores": usable_cores(),
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


def tree_cpu_s(pid: int) -> float:
    """CPU seconds that the processes of family(pid) have used so far, the ended ones below them included."""
    import psutil

    total = 0.0
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += sum(process.cpu_times()[:4])
    return total


def tree_peak_rss_bytes(pid: int) -> int | None:
    """Resident memory of the processes of family(pid), each at its own peak (VmHWM), summed up; None if nothing tells.

    No less than the peak of the sum, and pages that several of them share are counted in each.
    """
    peaks = []
    for process in family(pid):
        with contextlib.suppress(OSError, IndexError, ValueError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peaks.append(1024 * int(status.partition("VmHWM:")[2].split()[0]))
    return sum(peaks) if peaks else None


def family(pid: int) -> list[Any]:
    """The process (psutil), all below it, and those that left them behind but carry the same FAMILY_MARK.

    A daemon that a server starts is no child of it, and works for it all the same.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        found = [root, *root.children(recursive=True)]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    known = {process.pid for process in found}
    return found + [process for process in marked(_mark_of(pid)) if process.pid not in known]


def marked(mark: str | None) -> list[Any]:
    """The processes (psutil) of this machine whose environment has that FAMILY_MARK; none for None."""
    import psutil

    if mark is None:
        return []
    found = []
    for pid in psutil.pids():
        if _mark_of(pid) == mark:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
    return found


def _mark_of(pid: int) -> str | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    begins = f"{FAMILY_MARK}=".encode()
    return next(
        (word[len(begins) :].decode() for word in environ.split(b"\0") if word.startswith(begins)), None
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine_name(facts: dict[str, Any]) -> str:
    """A machine in words, from what machine() told: one name stands for processors that differ a lot."""
    said = str(facts.get("cpu") or "an unknown processor")
    numbers = [
        f"{name} {facts[key]}"
        for name, key in (("family", "cpu_family"), ("model", "cpu_model"), ("stepping", "cpu_stepping"))
        if facts.get(key) is not None
    ]
    sets = facts.get("instruction_sets")
    known = [*numbers, *([", ".join(sets) or "no AVX2"] if sets is not None else [])]
    cores = facts.get("cores")
    said += f" ({'; '.join(known)})" if known else ""
    said += f", {cores} core{'' if cores == 1 else 's'}" if cores else ""
    return "; ".join([said, *facts.get("gpus", [])])


def _cpu() -> dict[str, Any]:
    """Of the first processor in /proc/cpuinfo; elsewhere its name alone."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines() if path.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    found: dict[str, Any] = {"cpu": told.get("model name") or platform.processor() or platform.machine()}
    for name, key in (("cpu_family", "cpu family"), ("cpu_model", "model"), ("cpu_stepping", "stepping")):
        if told.get(key, "").isdecimal():
            found[name] = int(told[key])
    flags = told.get("flags", told.get("Features"))
    if flags is not None:
        found["instruction_sets"] = [name for name in INSTRUCTION_SETS if name in flags.split()]
    return found


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
