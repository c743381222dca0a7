"""The Triton kernels compile for three architectures, and take no more registers, spills, memory and barriers."""

from __future__ import annotations

import pytest

from tests.cuda_checks.ahead import ARCHITECTURES, cases, measure_kernels
from tests.cuda_checks.ratchet import load

pytestmark = pytest.mark.slow


def test_kernels_compile_and_take_no_more_than_the_ratchet_says() -> None:
    ratchet, now = load()["kernels"], measure_kernels()
    assert ratchet.keys() == now.keys() == {f"{name}, sm_{a}" for name in cases() for a in ARCHITECTURES}
    worse = {
        f"{kernel}, {what}": (ratchet[kernel][what], value)
        for kernel, cost in now.items()
        for what, value in cost.items()
        if value > ratchet[kernel][what]
    }
    assert not worse, "(before, now)"
    assert all(cost["shared_bytes"] <= 163 * 1024 for cost in now.values()), "what an A100 has"
