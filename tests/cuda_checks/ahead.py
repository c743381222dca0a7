"""The Triton kernels compiled ahead of time for GPUs that are not here; ptxas comes with triton."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from serving.models.indextts2.codes import attention_triton, linear_triton, sampling_triton
from serving.models.indextts2.mel import fused_triton, wavenet_triton
from serving.models.indextts2.noise import GOLDEN, MIX_1, MIX_2
from serving.models.indextts2.wave import snake_triton

ARCHITECTURES = (80, 90, 100)
"""A100, H100 and H200, B200."""


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel with the types and the constants that serving launches it with."""

    kernel: Any
    types: dict[str, str]
    """Of each argument that is not a constant: *bf16 is a pointer, i32 an integer."""
    constants: dict[str, Any] = field(default_factory=dict)
    warps: int = 4
    multiples: tuple[str, ...] = ()
    """Integers that are multiples of 16 at the official sizes, which a launch sees and compiles for."""


def cases() -> dict[str, Case]:
    """Every kernel, in the dtypes of the CUDA profiles."""
    return {
        "decode attention": Case(
            attention_triton._parts,
            dict.fromkeys(("q", "keys", "values", "out"), "*bf16")
            | dict.fromkeys(("slots", "lengths"), "*i64")
            | dict.fromkeys(("part_out", "part_max", "part_sum"), "*fp32")
            | {"arrived": "*i32", "scale": "fp32"}
            | dict.fromkeys(("slot_stride", "head_stride", "heads", "parts"), "i32"),
            {"CELLS": attention_triton.PART_CELLS, "BLOCK": 32, "WIDTH": 64, "WRITES": True},
            multiples=("slot_stride", "head_stride"),
        ),
        "decode product, 1 row": _product(16, 32),
        "decode product, 64 rows": _product(64, 32),
        "decode product, 64 rows, float32": _product(64, 32, "*fp32"),
        "decode embedding": Case(
            sampling_triton._embed,
            dict.fromkeys(("slots", "counts", "codes"), "*i64")
            | dict.fromkeys(("code_table", "position_table", "out"), "*bf16")
            | dict.fromkeys(("codes_stride", "width", "positions"), "i32"),
            {"AHEAD": 0, "BLOCK": 2048},
            multiples=("width",),
        ),
        "decode sampler": Case(
            sampling_triton._draw,
            dict.fromkeys(
                ("slots", "codes", "counts", "seeds", "top_ks", "min_codes", "code_limits", "out"), "*i64"
            )
            | dict.fromkeys(("temperatures", "top_ps", "penalties", "logits"), "*fp32")
            | {"seen": "*u8"}
            | dict.fromkeys(("codes_stride", "vocabulary", "max_codes", "stop"), "i32"),
            {"GOLDEN": GOLDEN % 2**64, "MIX_1": MIX_1 % 2**64, "MIX_2": MIX_2 % 2**64}
            | {"BLOCK": 16384, "CANDIDATES": sampling_triton.CANDIDATES},
            warps=8,
        ),
        "flow norm": Case(
            fused_triton._norm,
            dict.fromkeys(("x", "y", "scale", "shift", "summed", "out"), "*bf16")
            | dict.fromkeys(("rows", "frames", "modulation_stride", "width"), "i32")
            | {"eps": "fp32"},
            {"HAS_Y": True, "CENTRED": False, "ROWS": fused_triton.NORM_ROWS, "BLOCK": 512},
            multiples=("modulation_stride", "width"),
        ),
        "flow attention": _attention("*bf16", 2),
        "flow attention, float32": _attention("*fp32", 4),
        "flow swiglu": _swiglu("*bf16", 2),
        "flow swiglu, float32": _swiglu("*fp32", 4),
        "wavenet gate": Case(
            wavenet_triton._gate,
            dict.fromkeys(("x", "condition", "bias", "out"), "*bf16")
            | dict.fromkeys(("rows", "frames", "width", "condition_stride"), "i32"),
            {"HAS_BIAS": True, "ROWS": wavenet_triton.FRAMES, "BLOCK": 512},
            multiples=("width", "condition_stride"),
        ),
        "wavenet step": Case(
            wavenet_triton._step,
            dict.fromkeys(("x", "outputs", "total", "padded", "summed"), "*bf16")
            | {"lengths": "*i64", "frames": "i32", "width": "i32"},
            {"PAD": 2, "HAS_OUTPUTS": True, "HAS_TOTAL": True, "ROWS": wavenet_triton.FRAMES, "BLOCK": 512},
            multiples=("width",),
        ),
        "vocoder activation": _activation(),
        "vocoder sum": Case(
            snake_triton._join,
            dict.fromkeys((f"{name}_{branch}" for name in "ab" for branch in range(3)), "*bf16")
            | {"biases": "*fp32", "lengths": "*i64", "out": "*bf16"}
            | dict.fromkeys(("frames", "channels", "scale"), "i32"),
            {"COUNT": 3, "HAS_B": True, "HAS_LENGTHS": True, "BLOCK": snake_triton.JOINED},
            multiples=("channels",),
        ),
    }


def _attention(number: str, size_bytes: int) -> Case:
    queries, keys = fused_triton.ATTENTION_TILES[size_bytes]
    return Case(
        fused_triton._attention,
        dict.fromkeys(("qkv", "out"), number)
        | dict.fromkeys(("cos", "sin"), "*fp32")
        | dict.fromkeys(("lengths", "kept"), "*i64")
        | dict.fromkeys(("frames", "wanted", "heads"), "i32")
        | {"scale": "fp32"},
        {"HAS_KEPT": False, "QUERIES": queries, "KEYS": keys, "HALF": 32},
    )


def _swiglu(number: str, size_bytes: int) -> Case:
    rows, columns, depth = fused_triton.SWIGLU_TILES[size_bytes]
    return Case(
        fused_triton._swiglu,
        dict.fromkeys(("x", "weight", "out"), number) | dict.fromkeys(("rows", "hidden", "depth"), "i32"),
        {"ROWS": rows, "COLUMNS": columns, "DEPTH": depth},
        warps=8,
        multiples=("rows", "hidden", "depth"),
    )


def _product(rows: int, columns: int, number: str = "*bf16") -> Case:
    """With a norm before it and all that may follow."""
    return Case(
        linear_triton._linear,
        dict.fromkeys(("x", "weight", "bias", "gain", "offset", "residual", "out"), number)
        | dict.fromkeys(("rows", "width", "depth"), "i32")
        | {"eps": "fp32"},
        {"NORM": True, "GELU": True, "RESIDUAL": True}
        | {"ROWS": rows, "COLUMNS": columns, "DEPTH": linear_triton.DEPTH},
        multiples=("width", "depth"),
    )


def _activation() -> Case:
    """Of at least 128 channels; those of fewer have the same lanes, spread over more stretches of time."""
    columns = 128
    return Case(
        snake_triton._activate,
        dict.fromkeys((f"{name}_{branch}" for name in ("a", "b", "sum", "y") for branch in range(3)), "*bf16")
        | dict.fromkeys(("biases", "frequency", "amplitude"), "*fp32")
        | {"lengths": "*i64"}
        | dict.fromkeys(("frames", "channels", "branches", "scale"), "i32"),
        {"HAS_B": True, "HAS_LENGTHS": True, "STEPS": snake_triton.STEPS, "UNROLLED": snake_triton.UNROLLED}
        | {"ROWS": snake_triton.LANES // columns, "COLUMNS": columns},
        multiples=("channels",),
    )


def compile_for(case: Case, architecture: int) -> dict[str, int]:
    """Registers, spilled bytes, shared bytes and barriers of a kernel. Raises what triton or ptxas says."""
    names = case.kernel.arg_names
    signature = {name: case.types.get(name, "constexpr") for name in names}
    aligned: Any = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if signature[name].startswith("*") or name in case.multiples
    }
    compiled = triton.compile(
        ASTSource(case.kernel, signature, constexprs=case.constants, attrs=aligned),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": case.warps},
    )
    usage = _resources(compiled.asm["cubin"])
    return usage | {
        "shared_bytes": int(compiled.metadata.shared),
        "barriers": len(re.findall(r"\bbar\.sync|\bbarrier\.sync", compiled.asm["ptx"])),
    }


def _resources(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    found = {key: int(value) for key, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}
    return {"registers": found["REG"], "spilled_bytes": found["STACK"] + found["LOCAL"]}


def measure_kernels() -> dict[str, dict[str, int]]:
    """Each kernel on each architecture."""
    return {
        f"{name}, sm_{architecture}": compile_for(case, architecture)
        for name, case in cases().items()
        for architecture in ARCHITECTURES
    }
