"""Energy of the NVIDIA GPUs of this machine, by NVML (package nvidia-ml-py, module pynvml), where both are there.

NVML counts millijoules of a whole device since the driver was loaded (nvmlDeviceGetTotalEnergyConsumption, since
Volta). Whatever else runs on the device is in the figure.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def energy_counter() -> Callable[[], float | None]:
    """A function that tells the joules of all devices so far; None if one of them does not count, or there is none."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return lambda: None
    return lambda: joules(library)


def joules(library: Any) -> float | None:
    """By a module with the functions of pynvml."""
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    try:
        devices = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]
        counts = [library.nvmlDeviceGetTotalEnergyConsumption(device) for device in devices]
    except library.NVMLError:
        return None
    finally:
        library.nvmlShutdown()
    return sum(counts) / 1000 if counts else None
