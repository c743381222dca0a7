"""C kernels: one source file, with the headers beside it and here, to one shared library of the machine's tier."""

from __future__ import annotations

import ctypes
from pathlib import Path

from serving.native.build import NativeError, load
from serving.native.tiers import TIER_FLAGS, chosen_tier

__all__ = ["NativeError", "load_functions", "load_library"]


def load_library(source: Path, *, openmp: bool = False) -> ctypes.CDLL:
    """The library of `source` in the chosen tier, built if need be: build.py, tiers.py. Raises NativeError."""
    return load(source, TIER_FLAGS[chosen_tier()], openmp=openmp)


def load_functions(source: Path, *, openmp: bool = False, **arguments: tuple[type, ...]) -> ctypes.CDLL:
    """load_library, with the argument types of its functions, which all return nothing. Raises NativeError."""
    library = load_library(source, openmp=openmp)
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, None
    return library
